"""Crystals of elements with local pseudopotentials, and their distortions, for training data and tests.

Example::

    zincblende("GaAs"), diamond(), hexagonal_diamond(), beta_tin(), ...
    strained(atoms, tetragonal(0.04)), displaced(atoms, 0.02)
"""

from collections.abc import Sequence

import numpy as np
from ase import Atoms
from ase.build import bulk

#: experimental lattice constants (Å) of ten cubic semiconductors
LATTICE_CONSTANTS = {
    "Si": 5.43, "AlP": 5.46, "AlAs": 5.66, "AlSb": 6.14, "GaP": 5.45, "GaAs": 5.65, "GaSb": 6.10,
    "InP": 5.87, "InAs": 6.06, "InSb": 6.48,
}  # fmt: skip
SEMICONDUCTORS = tuple(LATTICE_CONSTANTS)


def zincblende(name: str, scale: float = 1.0) -> Atoms:
    """Primitive cell of one of the ten semiconductors; `scale` multiplies the lattice constant."""
    if name == "Si":
        return diamond(scale * LATTICE_CONSTANTS["Si"])
    return bulk(name, "zincblende", a=scale * LATTICE_CONSTANTS[name])


def diamond(a: float = LATTICE_CONSTANTS["Si"]) -> Atoms:
    """Silicon in the diamond structure, primitive cell, with a centre of inversion at the origin."""
    atoms = bulk("Si", "diamond", a=a)
    atoms.set_scaled_positions([[-0.125] * 3, [0.125] * 3])
    return atoms


def hexagonal_diamond(a: float = 3.84, c: float = 6.334, u: float = 0.0625) -> Atoms:
    """Lonsdaleite silicon, four atoms at ±(1/3, 2/3, u), ±(1/3, 2/3, 1/2 - u); the origin is a centre of inversion."""
    places = [[1 / 3, 2 / 3, u], [2 / 3, 1 / 3, -u], [1 / 3, 2 / 3, 0.5 - u], [2 / 3, 1 / 3, 0.5 + u]]
    return Atoms("Si4", scaled_positions=places, cell=_hexagonal(a, c), pbc=True)


def beta_tin(a: float = 4.81, ratio: float = 0.552) -> Atoms:
    """β-tin silicon, primitive cell of two atoms; `ratio` is c/a."""
    c = ratio * a
    cell = 0.5 * np.array([[-a, a, c], [a, -a, c], [a, a, -c]])
    return Atoms("Si2", positions=[[0, -a / 4, -c / 8], [0, a / 4, c / 8]], cell=cell, pbc=True)


def simple_cubic(a: float = 2.53) -> Atoms:
    """Simple cubic silicon; `a` in Å."""
    return bulk("Si", "sc", a=a)


def face_centred_cubic(a: float = 3.885) -> Atoms:
    """Face-centred cubic silicon; `a` in Å."""
    return bulk("Si", "fcc", a=a)


def body_centred_cubic(scale: float = 1.0) -> Atoms:
    """Body-centred cubic silicon at about its equilibrium volume."""
    return bulk("Si", "bcc", a=3.09 * scale)


def simple_hexagonal(scale: float = 1.0) -> Atoms:
    """Simple hexagonal silicon, one atom, at about its equilibrium volume."""
    a = 2.64 * scale
    return Atoms("Si", cell=_hexagonal(a, 0.94 * a), pbc=True)


def rocksalt(name: str, scale: float = 1.0) -> Atoms:
    """One of the nine III-V compounds in the NaCl structure, at 0.8 of the volume of its zincblende crystal."""
    return bulk(name, "rocksalt", a=0.8 ** (1 / 3) * scale * LATTICE_CONSTANTS[name])


def caesium_chloride(name: str, scale: float = 1.0) -> Atoms:
    """One of the nine III-V compounds in the CsCl structure, at 0.76 of the volume of its zincblende crystal."""
    return bulk(name, "cesiumchloride", a=(0.76 / 4) ** (1 / 3) * scale * LATTICE_CONSTANTS[name])


def nickel_arsenide(name: str, scale: float = 1.0) -> Atoms:
    """One of the nine III-V compounds in the NiAs structure, c/a = 1.6, at 0.8 of the volume of its zincblende."""
    a, c = _hexagonal_constants(0.8 * (scale * LATTICE_CONSTANTS[name]) ** 3 / 2, 1.6)
    return _four(name, [[0, 0, 0], [0, 0, 0.5], [1 / 3, 2 / 3, 0.25], [2 / 3, 1 / 3, 0.75]], a, c)


def flat_hexagonal(name: str, scale: float = 1.0) -> Atoms:
    """One of the nine III-V compounds in flat hexagonal layers, each atom above one of the other element, c/a = 1.25.

    This is the structure of hexagonal BN with layers so close that each atom has five neighbours, at 0.92 of the volume
    of the zincblende crystal.
    """
    a, c = _hexagonal_constants(0.92 * (scale * LATTICE_CONSTANTS[name]) ** 3 / 2, 1.25)
    return _four(name, [[1 / 3, 2 / 3, 0.25], [2 / 3, 1 / 3, 0.75], [1 / 3, 2 / 3, 0.75], [2 / 3, 1 / 3, 0.25]], a, c)


def polytype_4h(name: str, scale: float = 1.0) -> Atoms:
    """One of the nine III-V compounds in the ideal 4H structure, layers ABCB.

    The nearest-neighbour distance is that of the zincblende crystal. Layers A and C are stacked as in zincblende, the
    two layers B as in wurtzite. The screw axis passes through the origin.
    """
    a = scale * LATTICE_CONSTANTS[name] / np.sqrt(2)
    first, second = zincblende(name).get_chemical_symbols()
    lateral = {"A": (1 / 3, 2 / 3), "B": (0.0, 0.0), "C": (2 / 3, 1 / 3)}
    layers = [(*lateral[layer], number / 4) for number, layer in enumerate("ABCB")]
    places = layers + [(x, y, z + 3 / 16) for x, y, z in layers]
    cell = _hexagonal(a, 4 * np.sqrt(2 / 3) * a)
    return Atoms([first] * 4 + [second] * 4, scaled_positions=places, cell=cell, pbc=True)


def body_centred_tetragonal(scale: float = 1.0) -> Atoms:
    """Silicon in the bct-C4 structure (I4/mmm): four-fold coordinated atoms in squares, bonded along the diagonals."""
    a, c, x = 6.59 * scale, 3.78 * scale, 0.1804
    cell = 0.5 * np.array([[-a, a, c], [a, -a, c], [a, a, -c]])
    places = a * np.array([[x, x, 0], [-x, -x, 0], [-x, x, 0], [x, -x, 0]])
    return Atoms("Si4", positions=places, cell=cell, pbc=True)


def cubic(name: str, scale: float = 1.0) -> Atoms:
    """Cubic cell, with eight atoms, of one of the ten semiconductors."""
    kind = "diamond" if name == "Si" else "zincblende"
    return bulk(name, kind, a=scale * LATTICE_CONSTANTS[name], cubic=True)


def vacancy(name: str, element: str, scale: float = 1.0) -> Atoms:
    """Cubic cell of one of the ten semiconductors with a vacancy of `element` at the origin."""
    atoms = cubic(name, scale)
    missing = atoms.get_chemical_symbols().index(element)
    atoms.positions -= atoms.positions[missing]
    atoms.wrap()
    del atoms[missing]
    return atoms


def dilute_vacancy(name: str, scale: float = 1.0) -> Atoms:
    """Eight primitive cells of one of the ten semiconductors with a vacancy of the first element at the origin."""
    atoms = zincblende(name, scale) * (2, 2, 2)
    atoms.positions -= atoms.positions[0]
    atoms.wrap()
    return atoms[1:]


def random_strain(size: float, seed: int) -> np.ndarray:
    """Symmetric strain `[3, 3]` with components of standard deviation `size`."""
    strain = size * np.random.default_rng([3, seed]).normal(size=(3, 3))
    return 0.5 * (strain + strain.T)


def random_cell(elements: Sequence[str], seed: int) -> Atoms:
    """Four atoms at random positions in a cell of random shape, at 0.75 to 1.1 of the volume of the elements' crystal.

    All distances are above 0.85 of the nearest-neighbour distance of the crystal.
    """
    random = np.random.default_rng([4, seed])
    symbols = [elements[number % len(elements)] for number in range(4)]
    name = next(
        name for name in SEMICONDUCTORS if sorted(set(zincblende(name).get_chemical_symbols())) == sorted(set(elements))
    )
    constant = LATTICE_CONSTANTS[name]
    volume, least = 0.5 * constant**3 * random.uniform(0.75, 1.1), 0.85 * constant * 3**0.5 / 4
    while True:
        cell = np.eye(3) + 0.25 * random.normal(size=(3, 3))
        if np.linalg.det(cell) < 0.5:
            continue
        cell *= (volume / np.linalg.det(cell)) ** (1 / 3)
        atoms = Atoms(symbols, scaled_positions=random.uniform(size=(4, 3)), cell=cell, pbc=True)
        # distances between periodic images of an atom count, too
        repeated = atoms * (2, 2, 2)
        distances = repeated.get_all_distances(mic=True)
        if distances[~np.eye(len(distances), dtype=bool)].min() > least:
            return atoms


def wurtzite(name: str, scale: float = 1.0) -> Atoms:
    """Ideal wurtzite with the nearest-neighbour distance of the zincblende crystal; the polar axis is at the origin."""
    a = scale * LATTICE_CONSTANTS[name] / np.sqrt(2)
    c = a * np.sqrt(8 / 3)
    symbols = bulk(name, "zincblende", a=5.0).get_chemical_symbols()
    places = [[1 / 3, 2 / 3, 0.0], [2 / 3, 1 / 3, 0.5], [1 / 3, 2 / 3, 0.375], [2 / 3, 1 / 3, 0.875]]
    return Atoms([symbols[0]] * 2 + [symbols[1]] * 2, scaled_positions=places, cell=_hexagonal(a, c), pbc=True)


def tetragonal(size: float) -> np.ndarray:
    """Strain `[3, 3]` along [001] that keeps the volume to first order."""
    return np.diag([-0.5 * size, -0.5 * size, size])


def trigonal(size: float) -> np.ndarray:
    """Strain `[3, 3]` along [111] that keeps the volume to first order."""
    return 0.5 * size * (np.ones((3, 3)) - np.eye(3))


def strained(atoms: Atoms, strain: np.ndarray) -> Atoms:
    """Crystal with a homogeneous strain of cell and positions."""
    result = atoms.copy()
    result.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
    return result


def displaced(atoms: Atoms, size: float) -> Atoms:
    """Displace the two atoms of a primitive cell in opposite directions along [111], by `size` of each cell vector."""
    result = atoms.copy()
    fractional = atoms.get_scaled_positions(wrap=False)
    fractional[0] -= size
    fractional[1] += size
    result.set_scaled_positions(fractional)
    return result


def rattled(atoms: Atoms, size: float, seed: int) -> Atoms:
    """Displace the atoms at random, with standard deviation `size` (Å)."""
    result = atoms.copy()
    result.positions += size * np.random.default_rng(seed).normal(size=atoms.positions.shape)
    return result


def _four(name: str, places: list[list[float]], a: float, c: float) -> Atoms:
    """Hexagonal cell with two atoms of each element of a III-V compound."""
    first, second = zincblende(name).get_chemical_symbols()
    return Atoms([first] * 2 + [second] * 2, scaled_positions=places, cell=_hexagonal(a, c), pbc=True)


def _hexagonal_constants(volume: float, ratio: float) -> tuple[float, float]:
    """Lattice constants a and c = `ratio` a of a hexagonal cell with the given volume."""
    a = (volume / (ratio * np.sqrt(3) / 2)) ** (1 / 3)
    return a, ratio * a


def _hexagonal(a: float, c: float) -> np.ndarray:
    return np.array([[a, 0, 0], [-a / 2, a * np.sqrt(3) / 2, 0], [0, 0, c]])
