"""What frames look like in sum: histograms and elements, before and after curation, small enough for a manifest."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from ase.data import chemical_symbols

from gnnpot.data.mp.batch import FrameBatch
from gnnpot.units import GPA

#: edges of the bins of each quantity; what lies beyond them is counted in the outermost bins
EDGES: dict[str, np.ndarray] = {
    "energy per atom, eV": np.linspace(-20, 5, 101),
    "energy above the final one, eV/atom": np.linspace(-0.2, 1.2, 113),
    "largest force, eV/Å": np.geomspace(1e-3, 1e3, 97),
    "pressure, GPa": np.linspace(-60, 60, 121),
}


@dataclass(eq=False)
class Statistics:
    """Counts that grow with every batch."""

    frames: int = 0
    elements: np.ndarray = field(default_factory=lambda: np.zeros(119, dtype=np.int64))  #: [119] atoms of each
    histograms: dict[str, np.ndarray] = field(
        default_factory=lambda: {name: np.zeros(len(edges) - 1, dtype=np.int64) for name, edges in EDGES.items()}
    )

    def add(self, batch: FrameBatch) -> None:
        self.frames += len(batch)
        self.elements += batch.element_counts()
        values = (
            batch.energy_per_atom,
            batch.energy_per_atom - batch.final_energy,
            batch.largest_force,
            -batch.stress[:, :3].mean(axis=1) / GPA,
        )
        for (name, edges), numbers in zip(EDGES.items(), values, strict=True):
            inside = np.clip(numbers[~np.isnan(numbers)], edges[0], edges[-1])
            self.histograms[name] += np.histogram(inside, edges)[0]

    def to_mapping(self) -> dict:
        """As JSON holds it; `from_mapping` reads it back."""
        return {
            "frames": self.frames,
            "elements": {chemical_symbols[z]: int(self.elements[z]) for z in np.flatnonzero(self.elements)},
            "histograms": {name: counts.tolist() for name, counts in self.histograms.items()},
        }

    @classmethod
    def from_mapping(cls, mapping: Mapping) -> "Statistics":
        statistics = cls(frames=mapping["frames"])
        for symbol, count in mapping["elements"].items():
            statistics.elements[chemical_symbols.index(symbol)] = count
        for name, counts in mapping["histograms"].items():
            statistics.histograms[name] = np.array(counts, dtype=np.int64)
        return statistics
