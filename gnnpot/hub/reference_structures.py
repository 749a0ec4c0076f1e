"""Structures with energies that a potential must reproduce on every machine.

    deviations = energy_deviations(potential, card.reference_structures)
    max(deviations) < TOLERANCE

The card of a published potential has two reference structures, with energies calculated by its authors' package.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ase import Atoms

    from gnnpot.potential import Potential

#: eV/atom; largest deviation of two packages that calculate in float32
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
        """Create a reference structure from ASE atoms; positions are not wrapped."""
        positions, cell = (tuple(map(tuple, x.tolist())) for x in (atoms.positions, atoms.cell.array))
        return cls(tuple(atoms.numbers.tolist()), positions, cell, energy)

    def to_atoms(self) -> "Atoms":
        from ase import Atoms

        return Atoms(self.numbers, positions=self.positions, cell=self.cell, pbc=True)


def energy_deviations(potential: "Potential", structures: Iterable[ReferenceStructure]) -> list[float]:
    """Calculate E - E_reference of each structure, eV/atom, in the precision of the potential."""
    deviations = []
    for structure in structures:
        graph = potential.graph(structure.to_atoms()).to(potential.device)
        deviations.append((float(potential(graph).energy) - structure.energy) / len(structure.numbers))
    return deviations
