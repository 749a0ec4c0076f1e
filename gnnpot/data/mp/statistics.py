"""Statistics of frames for a manifest: histograms and elements, before and after curation."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from ase.data import chemical_symbols

from gnnpot.data.mp.batch import FrameBatch
from gnnpot.units import GPA

#: bin edges of each quantity; values outside the range are counted in the outermost bins
EDGES: dict[str, np.ndarray] = {
    "energy per atom, eV": np.linspace(-20, 5, 101),
    "energy above the final one, eV/atom": np.linspace(-0.2, 1.2, 113),
    "largest force, eV/Å": np.geomspace(1e-3, 1e3, 97),
    "pressure, GPa": np.linspace(-60, 60, 121),
}


@dataclass(eq=False)
class Statistics:
    """Cumulative statistics of batches."""

    frames: int = 0
    elements: np.ndarray = field(default_factory=lambda: np.zeros(119, dtype=np.int64))  #: [119] atoms
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
        """Convert to JSON values; the inverse is `from_mapping`."""
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
