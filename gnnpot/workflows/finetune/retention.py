"""Last step of a fine-tuning: compare the errors on new and earlier systems with those of the starting model.

    probes = probe(start, tuned, probe_elements(start.elements, new=("Si",)))
    probes.metrics()["equations_of_state"]["Cu"]["bulk_modulus_finetuned"]
    retention_rows(card.metrics["finetune"])          # the table, from any card

Equations of state (energy per atom of an element's crystal as a function of volume) show changes for elements that do
not occur in the new frames. Dimers (energy as a function of distance) show changes of the repulsion at short range.
Both are independent of the element references.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.data import atomic_numbers, covalent_radii, reference_states
from matplotlib.figure import Figure

from gnnpot.engines.calculator import Calculator
from gnnpot.potential import Potential
from gnnpot.properties.dimers import dimer_energies, hole_depths
from gnnpot.properties.equation_of_state import fit_birch_murnaghan, scaled_energies
from gnnpot.runs.pages import COLORS, new_figure, tidy
from gnnpot.training.report import Section
from gnnpot.units import GPA

#: preferred elements: metals, covalent solids, alkali metals
PREFERRED = ("Al", "Cu", "Si", "Na", "W", "Mg", "C", "Ni", "Mo", "Ag", "Ti", "Fe")
CRYSTALS = ("fcc", "bcc", "hcp", "diamond")
#: volumes relative to the experimental one
VOLUMES = np.linspace(0.84, 1.16, 13)
#: relative changes above which a value is marked; errors of starting models are 1 to 3 % and 10 to 40 %, respectively
MAX_RELATIVE_CHANGE = {"volume": 0.03, "bulk_modulus": 0.2}
#: eV; a dimer is marked if a hole in its curve is deeper by more than this
MAX_HOLE_INCREASE = 0.05
#: distances relative to the sum of the covalent radii
DISTANCES = np.linspace(0.7, 2.0, 27)


@dataclass(frozen=True, eq=False)
class Curve:
    """Energies of an element with the starting and the fine-tuned model."""

    x: np.ndarray  #: volumes (crystals, Å³ per atom) or distances (dimers, Å)
    start: np.ndarray  #: energies of the starting model, eV per atom (crystals) or eV (dimers)
    tuned: np.ndarray  #: energies of the fine-tuned model

    @property
    def change(self) -> float:
        """Root mean square difference (eV) of the curves after subtracting their means."""
        difference = self.tuned - self.start
        return float(np.sqrt(np.mean((difference - difference.mean()) ** 2)))


@dataclass(frozen=True, eq=False)
class Probes:
    """Equations of state and dimers by symbol."""

    crystals: dict[str, Curve]
    dimers: dict[str, Curve]

    def metrics(self) -> dict[str, Any]:
        """Return plain values for a card: volumes (Å³ per atom), bulk moduli (GPa), energies (eV). None: no minimum."""
        states = {}
        for element, curve in self.crystals.items():
            row: dict[str, float | None] = {"curve_change": curve.change}
            for name, energies in (("start", curve.start), ("finetuned", curve.tuned)):
                row[f"volume_{name}"], row[f"bulk_modulus_{name}"] = minimum(curve.x, energies)
            states[element] = row
        dimers = {}
        for element, curve in self.dimers.items():
            holes = hole_depths(np.stack([curve.start, curve.tuned]), DISTANCES).tolist()
            dimers[element] = {"curve_change": curve.change, "hole_start": holes[0], "hole_finetuned": holes[1]}
        return {"equations_of_state": states, "dimers": dimers}


def probe_elements(known: Iterable[str], new: Iterable[str], count: int = 5) -> tuple[str, ...]:
    """Choose `count` elements with a simple crystal among `known`, preferably ones that are not in `new`."""
    every, held = list(known), set(new)
    simple = [e for e in (*PREFERRED, *every) if e in every and _crystal(e) is not None]
    return tuple(dict.fromkeys(sorted(simple, key=lambda e: e in held)))[:count]


def probe(start: Potential, tuned: Potential, elements: Sequence[str]) -> Probes:
    """Calculate equations of state and dimers of elements with both models."""
    crystals, dimers = {}, {}
    calculators = Calculator(start), Calculator(tuned)
    for element in elements:
        cell, number = _crystal(element), atomic_numbers[element]
        if cell is not None:
            volumes = cell.get_volume() * VOLUMES
            before, after = (scaled_energies(cell, c, volumes) / len(cell) for c in calculators)
            crystals[element] = Curve(volumes / len(cell), before, after)
        distances = 2 * float(covalent_radii[number]) * DISTANCES
        pair = np.array([[number, number]])
        before, after = (dimer_energies(pair, distances[None], c)[0] for c in calculators)
        dimers[element] = Curve(distances, before, after)
    return Probes(crystals, dimers)


def minimum(volumes: np.ndarray, energies: np.ndarray) -> tuple[float | None, float | None]:
    """Volume (Å³) and bulk modulus (GPa) at the minimum of the Birch-Murnaghan equation of state.

    Both are `None` if there is no minimum within the range of `volumes`.
    """
    state = fit_birch_murnaghan(volumes, energies)
    if state is None or not volumes.min() <= state.volume <= volumes.max():
        return None, None
    return state.volume, state.bulk_modulus / GPA


def _crystal(element: str) -> Atoms | None:
    state = reference_states[atomic_numbers[element]]
    if state is None or state["symmetry"] not in CRYSTALS:
        return None
    try:
        return bulk(element)
    except (ValueError, RuntimeError):
        # ASE lists the lattice of the element, but not all data to build the crystal
        return None


def retention_rows(metrics: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Table of the comparison with the starting model, from `card.metrics["finetune"]`.

    Returns:
        Rows of strings; the first row is the header. The last column marks what became worse: larger errors, crystals
        with a large change or without a minimum, dimers with a deeper hole.
    """
    rows: list[tuple[str, ...]] = [("", "unit", "starting model", "fine-tuned", "change")]
    new, names = metrics["new"], {"energy_mae": ("energy MAE", "meV/atom", 1e3), "forces_mae": ("force MAE", "eV/Å", 1)}
    names["stress_mae"] = ("stress MAE", "GPa", 1 / GPA)
    for key, (name, unit, factor) in names.items():
        start, refitted, tuned = (new[model].get(key) for model in ("start", "refitted", "finetuned"))
        if key == "energy_mae" and refitted is not None:
            rows.append((f"new frames: {name}, unchanged references", unit, _number(start, factor), "", ""))
            rows.append((f"new frames: {name}, references refitted", unit, *_pair(refitted, tuned, factor)))
        elif start is not None:
            rows.append((f"new frames: {name}", unit, *_pair(start, tuned, factor)))
    earlier = metrics.get("earlier", {})
    for key, (name, unit, factor) in names.items():
        if earlier and earlier["start"].get(key) is not None:
            start, tuned = (earlier[model][key] for model in ("start", "finetuned"))
            rows.append((f"earlier frames: {name}", unit, *_pair(start, tuned, factor)))
    for element, row in metrics["equations_of_state"].items():
        for key, what, unit in (("volume", "volume", "Å³/atom"), ("bulk_modulus", "bulk modulus", "GPa")):
            start, tuned = (row[f"{key}_{model}"] for model in ("start", "finetuned"))
            rows.append((f"{element} crystal: {what}", unit, *map(_number, (start, tuned)), _moved(start, tuned, key)))
    for element, row in metrics["dimers"].items():
        # cards of version 0.1 have no holes
        deeper = row.get("hole_finetuned", 0.0) - row.get("hole_start", 0.0)
        mark = f"WORSE, a hole {deeper:.2g} eV deeper" if deeper > MAX_HOLE_INCREASE else ""
        rows.append((f"{element} dimer: curve moved by", "eV", "0", _number(row["curve_change"]), mark))
    return rows


def _moved(start: float | None, tuned: float | None, key: str) -> str:
    """Relative change of a crystal's volume or bulk modulus; marked if it exceeds `MAX_RELATIVE_CHANGE`."""
    if start is None or tuned is None:
        return "WORSE, no minimum" if start is not None else ""
    change = tuned / start - 1
    return f"{'WORSE, ' if abs(change) > MAX_RELATIVE_CHANGE[key] else ''}{100 * change:+.1f} %"


def _pair(start: float, tuned: float | None, factor: float) -> tuple[str, str, str]:
    """Errors of the starting and the fine-tuned model, and their ratio."""
    change = ""
    if tuned is not None and max(start, tuned) > 0:
        ratio = tuned / start if start > 0 else math.inf
        # if the starting model made the labels, its errors are rounding errors
        times = f"{ratio:.2g} times" if ratio < 100 else "from none"
        change = f"WORSE, {times}" if ratio > 1.005 else times
    return _number(start, factor), _number(tuned, factor), change


def _number(value: float | None, factor: float = 1.0) -> str:
    return "none" if value is None else f"{factor * value:.4g}"


def retention_section(metrics: Mapping[str, Any], probes: Probes) -> Section:
    """Section of the report with the table and the figure."""
    note = metrics["earlier"]["meaning"] if "earlier" in metrics else ""
    rows = tuple(retention_rows(metrics))
    return Section("What was won, what was lost", rows, retention_figure(probes), note, name="retention")


def retention_figure(probes: Probes) -> Figure | None:
    """Plot equations of state (top) and dimers (bottom): starting model dashed, fine-tuned model solid."""
    columns = max(len(probes.crystals), len(probes.dimers))
    if not columns:
        return None
    figure = new_figure(width=2.6 * columns + 0.6, height=5.2)
    panels = ((probes.crystals, "V, Å³/atom", "E - E(min), eV/atom"), (probes.dimers, "r, Å", "E - E(far), eV"))
    for row, (curves, x_label, y_label) in enumerate(panels):
        for k, (element, curve) in enumerate(curves.items()):
            axes = figure.add_subplot(2, columns, row * columns + k + 1)
            for values, style, label, color in (
                (curve.start, "--", "starting model", "#8593a1"), (curve.tuned, "-", "fine-tuned", COLORS[0]),
            ):  # fmt: skip
                zero = values.min() if row == 0 else values[-1]
                axes.plot(curve.x, values - zero, style, color=color, linewidth=1.4, label=label)
            axes.set(xlabel=x_label, title=f"{element} {'crystal' if row == 0 else 'dimer'}")
            if row == 1:
                # the repulsive wall may be a hundred times higher than the depth of the well
                both = np.concatenate([curve.start - curve.start[-1], curve.tuned - curve.tuned[-1]])
                well = float(min(both.min(), 0.0))
                axes.set_ylim(1.2 * well - 0.3, min(float(both.max()), 2 * abs(well) + 3) + 0.3)
            if k == 0:
                axes.set_ylabel(y_label)
                axes.legend(frameon=False, fontsize=7)
            tidy(axes)
    return figure
