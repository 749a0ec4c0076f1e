"""Structures with energies that a potential must give, wherever it runs.

    deviations = energy_deviations(potential, card.reference_structures)
    max(deviations) < TOLERANCE

The card of a published potential carries two, with the energies that its authors' package gives.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ase import Atoms

    from gnnpot.potential import Potential

#: eV/atom; what two packages that calculate in float32 may differ by
TOLERANCE = 1e-5


@dataclass(frozen=True, slots=True)
class ReferenceStructure:
    """A periodic structure and its energy."""

    numbers: tuple[int, ...]
    positions: tuple[tuple[float, float, float], ...]  #: Å
    cell: tuple[tuple[float, float, float], ...]  #: Å
    energy: float  #: eV

    @classmethod
    def from_atoms(cls, atoms: "Atoms", energy: float) -> "ReferenceStructure":
        """Positions and cell as they are."""
        positions, cell = (tuple(map(tuple, x.tolist())) for x in (atoms.positions, atoms.cell.array))
        return cls(tuple(atoms.numbers.tolist()), positions, cell, energy)

    def to_atoms(self) -> "Atoms":
        from ase import Atoms

        return Atoms(self.numbers, positions=self.positions, cell=self.cell, pbc=True)


def energy_deviations(potential: "Potential", structures: Iterable[ReferenceStructure]) -> list[float]:
    """E - E_reference of each structure, eV/atom, as calculated here and now, in the potential's own precision."""
    deviations = []
    for structure in structures:
        graph = potential.graph(structure.to_atoms()).to(potential.device)
        deviations.append((float(potential(graph).energy) - structure.energy) / len(structure.numbers))
    return deviations
