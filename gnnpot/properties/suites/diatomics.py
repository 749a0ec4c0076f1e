"""Energy curves of diatomic molecules: repulsion at short distances for all pairs, and DFT for homonuclear pairs.

Holes and walls are defined in `gnnpot.properties.dimers`. Three quantities are compared with DFT at the distances of
its curves, with the energy V relative to the minimum of each curve: the bond length (minimum of V, from a parabola
through three points), the mean absolute error of V where V is at most `WELL` eV in DFT, and the mean relative error of
V on the repulsive wall, where V is from `WELL` to `TOP` eV in DFT at distances shorter than the bond.

The curves are those of matbench-discovery: VASP, PBE_64 potentials, the lowest spin state at each distance.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ase.calculators.calculator import BaseCalculator
from ase.data import atomic_numbers, chemical_symbols

from gnnpot.errors import DataError
from gnnpot.properties.dimers import WALL, dimer_energies, scan_dimers
from gnnpot.properties.suites.base import Figure, Item, Overlap, Result, Results, Suite, mean, measured, median
from gnnpot.properties.suites.data import DataFile, data_file, read_json, sha256_of
from gnnpot.runs.pages import new_figure, styles_of, tidy

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Picture

CURVES = DataFile("diatomics-pbe.json.gz", "matbench-discovery's DFT curves of diatomic molecules")
#: elements of the suite: those in calculations of the Materials Project
ELEMENTS = tuple(chemical_symbols[z] for z in (*range(1, 84), *range(89, 95)))
#: eV, depth above which a hole is counted
HOLE = 0.05
#: eV, upper limits of V in DFT for the well and for the wall
WELL, TOP = 5.0, 50.0
#: elements whose homonuclear curves are plotted
_DRAWN = ("H", "N", "Na", "Al", "Cl", "Cu")
#: upper limit of plots: this multiple of the energy of DFT at the largest distance, and at least so many eV
_SHOWN, _LEAST = 2.0, 1.5


class DiatomicsSuite(Suite):
    """Holes and walls of all pairs, and comparison with 46 curves of DFT."""

    name = "diatomics"
    title = "curves of two atoms: holes, walls, and DFT's curves for one element"
    source = "matbench-discovery, site/src/lib/diatomics-dft.json.gz (MIT), --data"
    overlaps = (Overlap("pairs of atoms", "pairs of atoms are in its training set, with labels of other potentials"),)

    def all_items(self) -> Sequence[Item]:
        """Homonuclear pairs, then for each element its pairs with all following elements."""
        curves = self._curves()
        items = [
            Item(f"{e}-{e}", (atomic_numbers[e],), {"curve": curves.get(f"{e}-{e}"), "others": []}) for e in ELEMENTS
        ]
        for k, e in enumerate(ELEMENTS[:-1]):
            items.append(Item(f"{e}-*", (atomic_numbers[e],), {"curve": None, "others": list(ELEMENTS[k + 1 :])}))
        return items

    def identity(self) -> dict[str, Any]:
        """The file of DFT curves, if given, and the range of the wall."""
        given = self.options.data is not None
        return {"data": sha256_of(data_file(CURVES, self.options.data)) if given else "", "wall": WALL}

    def items(self) -> list[Item]:
        """The first `options.count` items; the first 89 are homonuclear pairs."""
        return list(self.all_items()[: self.options.count])

    def measure(self, item: Item, calculator: BaseCalculator, folder: Path) -> Result:
        """Holes and walls, and the comparison with the curve of DFT, if there is one."""
        first = item.numbers[0]
        known = getattr(calculator, "elements", None) or ELEMENTS
        others = [atomic_numbers[e] for e in item.content["others"] if e in known]
        pairs = np.array([[first, z] for z in (others if item.content["others"] else [first])])
        if not len(pairs):
            return {"pairs": [], "holes": [], "walls": []}
        scan = scan_dimers(pairs, calculator)
        result: Result = {
            "pairs": [[chemical_symbols[z] for z in pair] for pair in pairs],
            "holes": [round(float(h), 4) if np.isfinite(h) else None for h in scan.holes],
            "walls": [round(float(w), 3) if np.isfinite(w) else None for w in scan.walls],
        }
        if (curve := item.content["curve"]) is not None:
            distances = np.array(curve["distances"])
            energies = dimer_energies(pairs, distances[None], calculator)[0]
            if np.isfinite(energies).all():
                result |= compare(distances, energies, np.array(curve["energies"]))
        return result

    def summary(self, results: Results) -> dict[str, Figure]:
        """Number of pairs with a hole, lowest wall, and errors relative to DFT."""
        found = measured(results).values()
        holes = [h for r in found for h in r["holes"]]
        walls = [(w, pair) for r in found for w, pair in zip(r["walls"], r["pairs"], strict=True) if w is not None]
        weakest, pair = min(walls, default=(None, ()))
        with_dft = [r for r in found if "bond" in r]
        return {
            "pairs with a hole": Figure(sum(h is None or h > HOLE for h in holes), note=f"of {len(holes)}"),
            "weakest wall": Figure(weakest, "eV", "-".join(pair)),
            "bond length, median error": median([abs(r["bond"] - r["bond_dft"]) for r in with_dft], "Å"),
            "well, MAE": mean([r["well_error"] for r in with_dft], "eV"),
            "wall, median relative error": median([100 * r["wall_error"] for r in with_dft if r["wall_error"]], "%"),
        }

    def picture(self, results: Mapping[str, Results]) -> "Picture":
        """Wells of six molecules, with DFT in black."""
        figure = new_figure(width=11.0, height=5.4)
        axes = figure.subplots(2, 3).ravel()
        styles = styles_of(results)
        for number, (ax, element) in enumerate(zip(axes, _DRAWN, strict=True)):
            curves = {name: measured(found).get(f"{element}-{element}", {}) for name, found in results.items()}
            curves = {name: curve for name, curve in curves.items() if "curve" in curve}
            for curve in list(curves.values())[:1]:
                ax.plot(curve["distances"], curve["curve_dft"], "k", linewidth=2.4, alpha=0.7, label="DFT")
                # shows the well; the wall exceeds the limits of the axes
                top = max(_SHOWN * curve["curve_dft"][-1], _LEAST)
                ax.set_ylim(-0.05 * top, top)
            for name, curve in curves.items():
                style = styles[name]
                ax.plot(curve["distances"], curve["curve"], style.line, color=style.color, linewidth=1.2, label=name)
            ax.set(title=f"{element}$_2$", xlabel="distance, Å")
            ax.set_ylabel("$E - E_{\\mathrm{min}}$, eV" if number % 3 == 0 else "")
            tidy(ax)
        axes[2].legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
        return figure

    def _curves(self) -> dict[str, Any]:
        if self.options.data is None:
            return {}
        path = data_file(CURVES, self.options.data)
        content = read_json(CURVES, self.options.data)
        # the published file has curves of both PBE and r2SCAN
        curves = content.get("PBE", content) if isinstance(content, dict) else {}
        if not any(f"{e}-{e}" in curves for e in ELEMENTS):
            raise DataError(f"{path}: has no curve of a pair of one element, as 'H-H'; give {CURVES.what}")
        return curves


def compare(distances: np.ndarray, energies: np.ndarray, expected: np.ndarray) -> Result:
    """Compare a curve with `expected`, that of DFT: energies (eV) at ascending distances (Å)."""
    curve, dft = energies - energies.min(), expected - expected.min()
    bond_dft = bond_length(distances, dft)
    well, wall = dft <= WELL, (dft > WELL) & (dft <= TOP) & (distances < bond_dft)
    wall_error = float(np.mean(np.abs(curve[wall] / dft[wall] - 1))) if wall.any() else None
    return {
        "bond": bond_length(distances, curve),
        "bond_dft": bond_dft,
        "well_error": float(np.abs(curve - dft)[well].mean()),
        "wall_error": wall_error,
        "distances": np.round(distances, 3).tolist(),
        "curve": np.round(curve, 3).tolist(),
        "curve_dft": np.round(dft, 3).tolist(),
    }


def bond_length(distances: np.ndarray, energies: np.ndarray) -> float:
    """Minimum of a curve (Å): the vertex of the parabola through the lowest point and its two neighbours."""
    k = int(np.argmin(energies))
    if k in (0, len(energies) - 1):
        return float(distances[k])
    a, b, _ = np.polyfit(distances[k - 1 : k + 2], energies[k - 1 : k + 2], 2)
    return float(-b / (2 * a))
