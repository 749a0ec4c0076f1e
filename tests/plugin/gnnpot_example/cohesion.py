"""Cohesive energy: what it takes to pull a structure apart into free atoms, E_coh = (Σ_i E(atom i) - E) / N."""

from dataclasses import dataclass

from ase import Atoms
from ase.calculators.calculator import Calculator


@dataclass(frozen=True)
class Cohesion:
    """The result."""

    energy: float  #: eV/atom, positive if bound
    atoms: dict[str, float]  #: eV, energies of the free atoms


def calc(atoms: Atoms, calculator: Calculator) -> Cohesion:
    """The cohesive energy of a structure."""

    def energy(structure: Atoms) -> float:
        structure = structure.copy()
        structure.calc = calculator
        return float(structure.get_potential_energy())

    free = {symbol: energy(Atoms(symbol)) for symbol in sorted(set(atoms.symbols))}
    return Cohesion((sum(free[symbol] for symbol in atoms.symbols) - energy(atoms)) / len(atoms), free)
