"""Small test structures of one or two elements: crystals, slab, and molecules."""

from collections.abc import Sequence

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.data import atomic_numbers, chemical_symbols, covalent_radii

from gnnpot.errors import ConfigError


def default_structures(elements: Sequence[str], seed: int = 0) -> dict[str, Atoms]:
    """Rattled, strained crystal; one-atom cell; left-handed cell; slab; and molecule without a cell.

    They consist of the first two `elements` (or the only one), with bond lengths equal to the sum of covalent radii.
    """
    if not elements:
        raise ConfigError("contract: there are no structures to check; give structures or elements")
    for element in elements:
        if element not in chemical_symbols[1:]:
            raise ConfigError(f"'{element}' is no chemical element; give symbols, as Na,Cl")
    a, b = elements[0], elements[min(1, len(elements) - 1)]
    rng = np.random.default_rng(seed)
    crystal = bulk(f"{a}{b}", "rocksalt", a=2 * bond(a, b), cubic=True)
    strain = np.eye(3) + 0.05 * rng.uniform(-1, 1, (3, 3))
    crystal.set_cell(crystal.cell @ strain, scale_atoms=True)
    crystal.positions += 0.05 * rng.standard_normal(crystal.positions.shape)
    left = crystal[:4]
    left.set_cell(crystal.cell[[1, 0, 2]])
    single = bulk(a, "fcc", a=np.sqrt(2) * bond(a, a))
    single.set_cell(single.cell @ strain, scale_atoms=True)
    slab = crystal.copy()
    slab.pbc = (True, True, False)
    slab.cell[2] = 0
    return {
        "crystal": crystal,
        "one-atom cell": single,
        "left-handed cell": left,
        "slab": slab,
        "molecule": cluster(a, b, 1.1 * bond(a, b)),
    }


def bond(a: str, b: str) -> float:
    """Bond length as the sum of covalent radii, Å."""
    return float(covalent_radii[atomic_numbers[a]] + covalent_radii[atomic_numbers[b]])


def dimer(a: str, b: str, distance: float) -> Atoms:
    """Two atoms at a distance (Å) along a general direction; no cell."""
    return Atoms([a, b], [np.zeros(3), distance * np.array([0.48, 0.6, 0.64])])


def cluster(a: str, b: str, distance: float) -> Atoms:
    """Three atoms in an irregular triangle, and a fourth at `distance` (Å) from the first; no cell."""
    d = bond(a, b)
    base = [[0, 0, 0], [1.05 * d, 0.1, -0.05], [0.35 * d, 0.98 * d, 0.1]]
    return Atoms([a, b, a, b], [*base, np.array([-0.31, -0.42, 0.853]) * distance])
