"""Apply rules 5 and 6 of docs/lgps/conductivity.md to the rows of conductivity.json: controls, repeats, aim.

controls(rows, {"step": "size-400"})      # do intervals of the tracer diffusion coefficient overlap?
repeated(rows)                            # independent runs: Haven ratio, scatter relative to intervals
aim(fits)                                 # main result compared with experiment
"""

from typing import Any

import numpy as np
from scipy.stats import t as student_t

Row = dict[str, Any]

#: eV and mS/cm: within 0.05 eV of 0.22 to 0.25 eV, within a factor of 2 of 12 mS/cm (Kamaya et al. 2011)
ENERGIES, CONDUCTIVITIES = (0.17, 0.30), (6.0, 24.0)
#: maximum relative difference of the times of two compared runs
SAME_TIME = 0.1
SAMPLES = 20_000


def is_part(row: Row) -> bool:
    """Whether a row is the first part of a longer run."""
    return row["left_out"].startswith("a part of")


def controls(rows: list[Row], references: dict[str, str]) -> list[Row]:
    """A row for each run of a control whose reference has finished.

    Args:
        rows: Rows of all runs.
        references: {name of a control set: name of its reference set}.

    Returns:
        The diffusion coefficients of both, at one temperature and over about one time, and whether their intervals
        overlap.
    """
    found = []
    for row in rows:
        if is_part(row) or row["set"] not in references:
            continue
        same = [
            other
            for other in rows
            if other["set"] == references[row["set"]]
            and other["temperature_K"] == row["temperature_K"]
            and abs(other["time_ps"] / row["time_ps"] - 1) < SAME_TIME
        ]
        for other in same:
            (_, low, high), (_, other_low, other_high) = row["D_cm2_s"], other["D_cm2_s"]
            found.append({
                "set": row["set"], "reference": other["set"], "temperature_K": row["temperature_K"],
                "time_ps": row["time_ps"], "D_cm2_s": row["D_cm2_s"], "D_reference_cm2_s": other["D_cm2_s"],
                "agree": bool(low <= other_high and other_low <= high),
            })  # fmt: skip
    return found


def repeated(rows: list[Row], name: str = "repeat-") -> list[Row]:
    """A row for each temperature with several independent runs.

    Args:
        rows: Rows of all runs.
        name: Start of the names of the repeated sets.

    Returns:
        Means of the coefficients with Student's 95 % intervals, the Haven ratio of the means, and the scatter of the
        runs divided by the scatter expected from their intervals, which is 1 if the intervals are correct.
    """
    found = []
    repeats = [row for row in rows if row["set"].startswith(name) and not is_part(row)]
    for temperature in sorted({row["temperature_K"] for row in repeats}):
        group = [row for row in repeats if row["temperature_K"] == temperature]
        if len(group) < 2:
            continue
        row: Row = {"temperature_K": temperature, "runs": len(group)}
        draws = {}
        rng = np.random.default_rng(0)
        for key in ("D_cm2_s", "D_collective_cm2_s"):
            values = np.array([one[key] for one in group])
            middle, scatter = values[:, 0].mean(), values[:, 0].std(ddof=1)
            error, freedom = scatter / np.sqrt(len(group)), len(group) - 1
            half = student_t.ppf(0.975, freedom) * error
            row[key] = [middle, middle - half, middle + half]
            row[f"scatter_{key.removesuffix('_cm2_s')}"] = scatter / ((values[:, 2] - values[:, 1]).mean() / 3.92)
            draws[key] = middle + error * rng.standard_t(freedom, SAMPLES)
        positive = draws["D_collective_cm2_s"] > 0
        ratios = draws["D_cm2_s"][positive] / draws["D_collective_cm2_s"][positive]
        low, high = np.quantile(ratios, (0.025, 0.975))
        row["haven_ratio"] = [row["D_cm2_s"][0] / row["D_collective_cm2_s"][0], low, high]
        found.append({key: np.asarray(value).tolist() for key, value in row.items()})
    return found


def aim(fits: list[Row]) -> Row | None:
    """Whether the main result meets the aim; `None` if it is not finished."""
    headline = next((fit for fit in fits if fit["headline"]), None)
    if headline is None:
        return None
    met = {
        "Ea": bool(ENERGIES[0] <= headline["Ea_eV"][0] <= ENERGIES[1]),
        "sigma_300K": bool(CONDUCTIVITIES[0] <= headline["sigma_300K_mS_cm"][0] <= CONDUCTIVITIES[1]),
    }
    return {"Ea_eV": headline["Ea_eV"], "sigma_300K_mS_cm": headline["sigma_300K_mS_cm"], "met": met}
