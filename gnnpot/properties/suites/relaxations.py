"""Stability of crystals in relaxations and in molecular dynamics at 1000 K.

The criteria are those of `gnnpot.properties.stability`. The crystals are the first ones of a shuffled pool (`--data`),
the same for all potentials with the same elements.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from ase.calculators.calculator import BaseCalculator

from gnnpot.data.bundled import resolve_bundled
from gnnpot.data.readers import read_frames
from gnnpot.errors import DataError
from gnnpot.properties.stability import (
    CLOSEST,
    EXPANSION_STEP,
    HOTTEST,
    MOST_EXPANDED,
    VOLUME_RATIOS,
    dynamics_outcome,
    near_cubic_supercell,
    relaxation_outcome,
)
from gnnpot.properties.suites.base import (
    Figure,
    Item,
    Overlap,
    Result,
    Results,
    Suite,
    counted,
    measured,
    median,
    numbers_of,
)
from gnnpot.properties.suites.data import sha256_of
from gnnpot.runs.pages import new_figure, styles_of, tidy

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Picture

#: fs, time steps with and without hydrogen, whose bonds vibrate with periods from 8 fs, all others from 14 fs
SHORT_STEP, LONG_STEP = 1.0, 2.0
#: largest number of atoms of crystals for molecular dynamics
MOST_ATOMS_HOT = 60
#: K
TEMPERATURE = 1000.0
#: criteria for explosions
CRITERIA = [CLOSEST, HOTTEST, *VOLUME_RATIOS, MOST_EXPANDED, EXPANSION_STEP]
_SHARED = "crystals of the pool that the Materials Project has too may be in its training set"


class RelaxationsSuite(Suite):
    """Relaxation of positions and cells of crystals."""

    name = "relaxations"
    title = "crystals of a pool, positions and cells relaxed: do they hold together?"
    source = "any file of crystals, --data; the published figures are of open packages' crystals"
    overlaps = (
        Overlap("MPtrj", _SHARED),
        Overlap("Materials Project", _SHARED),
        Overlap(
            "crystals of open packages", "crystals of the pool may be in its training set, if open packages have them"
        ),
    )
    #: default number of crystals
    default_count: ClassVar[int] = 200
    most_atoms: ClassVar[int | None] = None

    @property
    def _pool(self) -> Path:
        given = self.options.data
        path = None if given is None else resolve_bundled(given)
        if path is None or not path.is_file():
            raise DataError(f"{self.name}: give a file of crystals with --data" + (f", not {path}" if path else ""))
        return path

    def all_items(self) -> Sequence[Item]:
        """The crystals of the pool, shuffled with the seed."""
        frames = list(read_frames(self._pool))
        order = np.random.default_rng(self.options.seed).permutation(len(frames))
        items = []
        for k in order:
            atoms = frames[k].to_atoms()
            if self.most_atoms is None or len(atoms) <= self.most_atoms:
                items.append(Item(f"{k} {atoms.get_chemical_formula()}", numbers_of(atoms), atoms))
        return items

    def items(self) -> list[Item]:
        """The first `options.count` (default: `default_count`) items."""
        return list(self.all_items()[: self.options.count or self.default_count])

    def identity(self) -> dict[str, Any]:
        """The data file, the seed, and the criteria for explosions."""
        return {"data": sha256_of(self._pool), "seed": self.options.seed, "criteria": CRITERIA}

    def measure(self, item: Item, calculator: BaseCalculator, folder: Path) -> Result:
        """Outcome of the relaxation."""
        return asdict(relaxation_outcome(item.content, calculator)[0])

    def summary(self, results: Results) -> dict[str, Figure]:
        """Numbers of exploded and converged crystals, and medians of volume changes and steps."""
        found = list(measured(results).values())
        ratios = [100 * abs(r["volume_ratio"] - 1) for r in found if r["volume_ratio"] is not None]
        return {
            "crystals": counted(results),
            "exploded": Figure(sum(r["exploded"] for r in found)),
            "converged": Figure(sum(r["converged"] for r in found)),
            "change of volume, median": median(ratios, "%"),
            "steps, median": median([r["steps"] for r in found]),
        }

    def picture(self, results: Mapping[str, Results]) -> "Picture":
        """Cumulative distribution of volume changes."""
        figure = new_figure(width=6.4, height=3.6)
        ax = figure.subplots()
        for name, style in styles_of(results).items():
            found = results[name]
            ratios = [100 * (r["volume_ratio"] - 1) for r in measured(found).values() if r["volume_ratio"] is not None]
            share = np.arange(1, len(ratios) + 1) / max(len(ratios), 1)
            (line,) = ax.step(np.sort(ratios), 100 * share, where="post", linewidth=1.4, label=name)
            line.set(color=style.color, linestyle=style.line)
        ax.set(xlabel="change of volume, %", ylabel="crystals below it, %", xlim=(-30, 30))
        ax.legend(frameon=False, fontsize=7)
        tidy(ax)
        return figure


class DynamicsSuite(RelaxationsSuite):
    """Molecular dynamics at 1000 K of supercells of relaxed crystals with at most 60 atoms."""

    name = "dynamics"
    title = "crystals of a pool at 1000 K (NVT): do they hold together?"
    default_count = 20
    most_atoms = MOST_ATOMS_HOT

    def identity(self) -> dict[str, Any]:
        """As for relaxations, with the length and temperature of molecular dynamics."""
        return {**super().identity(), "picoseconds": self.options.picoseconds, "temperature": TEMPERATURE}

    def measure(self, item: Item, calculator: BaseCalculator, folder: Path) -> Result:
        """Outcome of molecular dynamics, or of the relaxation if the crystal explodes in it."""
        outcome, relaxed = relaxation_outcome(item.content, calculator)
        if relaxed is None:
            return {**asdict(outcome), "heated": False}
        timestep = SHORT_STEP if "H" in relaxed.symbols else LONG_STEP
        hot = dynamics_outcome(
            near_cubic_supercell(relaxed),
            calculator,
            folder / item.key.split()[0],
            temperature=TEMPERATURE,
            steps=round(1000 * self.options.picoseconds / timestep),
            timestep=timestep,
            seed=self.options.seed,
        )
        return {**asdict(hot), "heated": True, "timestep": timestep}

    def summary(self, results: Results) -> dict[str, Figure]:
        """Number of exploded crystals, and smallest distance."""
        found = list(measured(results).values())
        closest = [r["closest"] for r in found if r["closest"] is not None]
        return {
            "crystals": counted(results),
            "exploded": Figure(sum(r["exploded"] for r in found), note=f"in {self.options.picoseconds:g} ps"),
            "closest approach, of the sum of radii": Figure(min(closest, default=None)),
        }

    def picture(self, results: Mapping[str, Results]) -> "Picture":
        """Smallest distance in each crystal, in ascending order."""
        figure = new_figure(width=6.4, height=3.6)
        ax = figure.subplots()
        for name, style in styles_of(results).items():
            closest = np.sort([r["closest"] for r in measured(results[name]).values() if r["closest"] is not None])
            ax.plot(closest, style.line, marker=style.marker, color=style.color, markersize=3, linewidth=1, label=name)
        ax.axhline(CLOSEST, color="#555555", linewidth=0.8, linestyle="--")
        ax.set(xlabel="crystals, by closest approach", ylabel="closest approach over the sum of radii")
        ax.legend(frameon=False, fontsize=7)
        tidy(ax)
        return figure
