"""The default potential: `nequix-oam-1` or `nequix-oam-1-pft`, by what was measured of both, gnnpot-1 and 7net-0.

    python scripts/studies/accuracy/choice.py            # docs/accuracy/choice.md, of the results there

Quantities are in five classes: energies, forces, equations of state, elasticity, phonons. The ratio of a class is the
geometric mean of the ratios of its errors, that of all the geometric mean of the five.
"""

import json
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from gnnpot.runs.files import write_text

FIRST, SECOND = "nequix-oam-1", "nequix-oam-1-pft"
BESIDE = ("gnnpot-1", "7net-0")
SETS = ("Si", "Mo", "Cu", "Ni", "LGPS")
#: suite, figure of merit, class, words, unit
MERITS = (
    ("frames.held-out-highest-stress", "energy, MAE", "energies", "high stress", "meV/atom"),
    ("frames.held-out-highest-stress", "force, mean length of the error", "forces", "high stress, length", "eV/Å"),
    ("frames.held-out-random", "energy, MAE", "energies", "random frames", "meV/atom"),
    ("frames.held-out-random", "force, mean length of the error", "forces", "random frames, length", "eV/Å"),
    ("equations-of-state", "volume, median relative error", "equations of state", "volume", "%"),
    ("equations-of-state", "bulk modulus, median relative error", "equations of state", "bulk modulus", "%"),
    ("elasticity", "bulk modulus, median error", "elasticity", "bulk modulus", "GPa"),
    ("elasticity", "shear modulus, median error", "elasticity", "shear modulus", "GPa"),
    ("phonons", "highest frequency, MAE", "phonons", "highest frequency", "THz"),
    ("phonons", "all frequencies, MAE", "phonons", "all frequencies", "THz"),
)
TEXT = Path(__file__).with_name("choice.txt")


def main(folder: Annotated[Path, typer.Option(help="Of the results and the page.")] = Path("docs/accuracy")) -> None:
    """Write the page."""
    rows = measured(folder)
    ratios = {kind: ratio(rows, kind) for kind in dict.fromkeys(row["class"] for row in rows)}
    names = (FIRST, SECOND, *BESIDE)
    lines = [f"| | | unit | {' | '.join(names)} | {SECOND} / {FIRST} |", "|" + "---|" * (4 + len(names))]
    for row in rows:
        cells = [f"{row[name]:.3g}" if name in row else "" for name in names]
        quotient = f"{row[SECOND] / row[FIRST]:.2f}"
        lines.append(f"| {row['class']} | {row['what']} | {row['unit']} | {' | '.join(cells)} | {quotient} |")
    summary = [f"| {kind} | {value:.2f} |" for kind, value in ratios.items()]
    without = [value for kind, value in ratios.items() if kind != "phonons"]
    summary += [
        f"| all five | {geometric(list(ratios.values())):.2f} |",
        f"| all but phonons | {geometric(without):.2f} |",
    ]
    table = "\n".join(["| class | ratio |", "|---|---|", *summary])
    text = TEXT.read_text("utf-8").replace("{ratios}", table).replace("{measured}", "\n".join(lines))
    write_text(folder / "choice.md", text)


def measured(folder: Path) -> list[dict[str, Any]]:
    """Errors by potential, a row for each quantity that was measured for both candidates."""
    rows: dict[tuple[str, str], dict[str, Any]] = {}

    def add(kind: str, what: str, unit: str, name: str, value: float | None) -> None:
        if value is not None and name in (FIRST, SECOND, *BESIDE):
            rows.setdefault((kind, what), {"class": kind, "what": what, "unit": unit})[name] = value

    for line in (folder / "published.jsonl").read_text().splitlines():
        row = json.loads(line)
        if row["set"] in SETS:
            add("energies", row["set"], "meV/atom", row["potential"], row["energy_mae_mev_per_atom"])
            add("forces", row["set"], "eV/Å", row["potential"], row["forces_mae_ev_per_angstrom"])
    merits = json.loads((folder / "suites" / "table.json").read_text())
    for suite, figure, kind, what, unit in MERITS:
        for name, figures in merits.get(suite, {}).items():
            add(kind, what, unit, name, figures[figure]["value"])
    both = [row for row in rows.values() if FIRST in row and SECOND in row]
    return sorted(both, key=lambda row: list(dict.fromkeys(r["class"] for r in both)).index(row["class"]))


def ratio(rows: list[dict[str, Any]], kind: str) -> float:
    """Geometric mean of the ratios of a class."""
    return geometric([row[SECOND] / row[FIRST] for row in rows if row["class"] == kind])


def geometric(values: list[float]) -> float:
    return float(np.exp(np.mean(np.log(values))))


if __name__ == "__main__":
    typer.run(main)
