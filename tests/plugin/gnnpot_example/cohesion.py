"""Cohesive energy: what it takes to pull a structure apart into free atoms, E_coh = (Σ_i E(atom i) - E) / N.

A potential gives a measured number only if its free atoms are right, which few are trained on.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ase import Atoms
from ase.calculators.calculator import Calculator

from gnnpot.runs.pages import COLORS, new_figure, tidy


@dataclass(frozen=True)
class Cohesion:
    """The result."""

    energy: float  #: eV/atom, positive if bound
    structure: float  #: eV/atom, of the structure
    atoms: dict[str, float]  #: eV, of each element's free atom

    def to_json(self) -> dict[str, Any]:
        """All of it, with units in the names."""
        return {
            "cohesive_energy_eV_atom": self.energy,
            "energy_eV_atom": self.structure,
            "free_atoms_eV": self.atoms,
        }

    def plot(self, path: Path) -> None:
        """Energies of the free atoms and of the structure, as PNG."""
        figure = new_figure(width=4.2)
        axes = figure.add_subplot()
        names = [*self.atoms, "structure"]
        axes.plot(names, [*self.atoms.values(), self.structure], "_", color=COLORS[0], markersize=40, markeredgewidth=3)
        axes.set_xlim(-0.6, len(names) - 0.4)
        axes.set_ylabel("energy, eV per atom")
        axes.set_title(f"cohesive energy {self.energy:.3f} eV/atom", fontsize=10)
        tidy(axes)
        figure.savefig(path)


def calc(atoms: Atoms, calculator: Calculator) -> Cohesion:
    """The cohesive energy of a structure."""

    def energy(structure: Atoms) -> float:
        structure = structure.copy()
        structure.calc = calculator
        return float(structure.get_potential_energy())

    free = {symbol: energy(Atoms(symbol)) for symbol in sorted(set(atoms.symbols))}
    whole = energy(atoms)
    return Cohesion(
        energy=(sum(free[symbol] for symbol in atoms.symbols) - whole) / len(atoms),
        structure=whole / len(atoms),
        atoms=free,
    )
