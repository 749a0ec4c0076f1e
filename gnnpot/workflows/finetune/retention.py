"""The last step: what was won on the new frames, and what was lost elsewhere, against the starting model.

    probes = probe(start, tuned, probe_elements(start.elements, new=("Si",)))
    probes.metrics()["equations_of_state"]["Cu"]["bulk_modulus_finetuned"]
    retention_rows(card.metrics["finetune"])          # the table, from any card

Equations of state, energy per atom of an element's crystal against its volume, tell what became of elements that the
new frames do not hold; dimers, energy against distance, what became of the repulsion at short range. Element references
have no part in either.
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

#: asked first: metals, covalent solids, alkali metals
PREFERRED = ("Al", "Cu", "Si", "Na", "W", "Mg", "C", "Ni", "Mo", "Ag", "Ti", "Fe")
CRYSTALS = ("fcc", "bcc", "hcp", "diamond")
#: volumes over the experimental one; distances over the sum of the covalent radii
VOLUMES = np.linspace(0.84, 1.16, 13)
#: relative changes that are marked: starting models themselves err by one to three, and by ten to forty per cent
FORGOTTEN = {"volume": 0.03, "bulk_modulus": 0.2}
#: eV, by which a dimer's hole may deepen unmarked
HOLE = 0.05
DISTANCES = np.linspace(0.7, 2.0, 27)


@dataclass(frozen=True, eq=False)
class Curve:
    """An element's energies, as the starting and the fine-tuned model have them."""

    x: np.ndarray  #: Å³ per atom, or Å
    start: np.ndarray  #: eV per atom (crystals) or eV (dimers)
    tuned: np.ndarray

    @property
    def change(self) -> float:
        """Root mean square difference, eV, of the curves moved to the same mean."""
        difference = self.tuned - self.start
        return float(np.sqrt(np.mean((difference - difference.mean()) ** 2)))


@dataclass(frozen=True, eq=False)
class Probes:
    """Equations of state and dimers by symbol."""

    crystals: dict[str, Curve]
    dimers: dict[str, Curve]

    def metrics(self) -> dict[str, Any]:
        """Plain values for a card; volumes in Å³ per atom, moduli in GPa, energies in eV. None: no minimum."""
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
    """Elements with a simple crystal that a model knows, those first that the new frames do not hold."""
    every, held = list(known), set(new)
    simple = [e for e in (*PREFERRED, *every) if e in every and _crystal(e) is not None]
    return tuple(dict.fromkeys(sorted(simple, key=lambda e: e in held)))[:count]


def probe(start: Potential, tuned: Potential, elements: Sequence[str]) -> Probes:
    """Equations of state and dimers of elements, by both models."""
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
    """Volume (Å³) and bulk modulus (GPa) at the minimum of Birch and Murnaghan's equation; None if there is none within
    the volumes."""
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
        # listed with a lattice, but not with all that it takes to build the crystal
        return None


def retention_rows(metrics: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """The table of what was won and lost, from `card.metrics["finetune"]`.

    Returns:
        Rows of texts; the first one is the head. The last column marks what became worse: errors, crystals that moved
        far or lost their minimum, dimers with a deeper hole.
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
        mark = f"WORSE, a hole {deeper:.2g} eV deeper" if deeper > HOLE else ""
        rows.append((f"{element} dimer: curve moved by", "eV", "0", _number(row["curve_change"]), mark))
    return rows


def _moved(start: float | None, tuned: float | None, key: str) -> str:
    """How far a crystal's volume or bulk modulus has moved; it is marked beyond what starting models err by."""
    if start is None or tuned is None:
        return "WORSE, no minimum" if start is not None else ""
    change = tuned / start - 1
    return f"{'WORSE, ' if abs(change) > FORGOTTEN[key] else ''}{100 * change:+.1f} %"


def _pair(start: float, tuned: float | None, factor: float) -> tuple[str, str, str]:
    """Two errors, and how the second one compares with the first."""
    change = ""
    if tuned is not None and max(start, tuned) > 0:
        ratio = tuned / start if start > 0 else math.inf
        # where the labels are the starting model's own, its error is rounding only
        times = f"{ratio:.2g} times" if ratio < 100 else "from none"
        change = f"WORSE, {times}" if ratio > 1.005 else times
    return _number(start, factor), _number(tuned, factor), change


def _number(value: float | None, factor: float = 1.0) -> str:
    return "none" if value is None else f"{factor * value:.4g}"


def retention_section(metrics: Mapping[str, Any], probes: Probes) -> Section:
    """The table and the plot for the report."""
    note = metrics["earlier"]["meaning"] if "earlier" in metrics else ""
    rows = tuple(retention_rows(metrics))
    return Section("What was won, what was lost", rows, retention_figure(probes), note, name="retention")


def retention_figure(probes: Probes) -> Figure | None:
    """Equations of state above, dimers below: the starting model's dashed, the fine-tuned one's as a line."""
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
                # the wall may be a hundred times as high as the well is deep
                both = np.concatenate([curve.start - curve.start[-1], curve.tuned - curve.tuned[-1]])
                well = float(min(both.min(), 0.0))
                axes.set_ylim(1.2 * well - 0.3, min(float(both.max()), 2 * abs(well) + 3) + 0.3)
            if k == 0:
                axes.set_ylabel(y_label)
                axes.legend(frameon=False, fontsize=7)
            tidy(axes)
    return figure
