"""Nanoparticles, free and on a support.

A faceted particle consists of the atoms of a crystal whose largest n·r/γ over all facets (n: normal, γ: surface energy)
is below a limit: the Wulff construction. The limit determines the number of atoms. Of several centres (on an atom, in a
hole), the one that comes closest to the requested number is used. Icosahedra and decahedra are built with ASE.
"""

from itertools import permutations, product

import numpy as np
from ase import Atoms
from ase.cluster import Decahedron, Icosahedron
from ase.neighborlist import neighbor_list

from gnnpot.builder.library import library
from gnnpot.builder.recipe import Nanoparticle
from gnnpot.builder.state import State
from gnnpot.builder.steps.crystal import atomic_size, is_metal, whole_counts
from gnnpot.builder.steps.molecule import put_in_cell

DEFAULT_ATOMS, DEFAULT_VACUUM = 100, 10.0
#: facets of the shapes of cubic crystals, with the relative distance of each from the centre
SHAPES = {
    "octahedron": {"111": 1.0}, "cube": {"100": 1.0}, "cuboctahedron": {"111": 2 / 3**0.5, "100": 1.0},
    "truncated octahedron": {"111": 1.0, "100": 2 / 3**0.5}, "tetrahedron": {"111": 1.0},
}  # fmt: skip
#: relative surface energies of facets, used if the library has no surface energies
USUAL = {"fcc": {"111": 1.0, "100": 1.15, "110": 1.2}, "bcc": {"110": 1.0, "100": 1.1, "211": 1.12}}
HEXAGONAL = {"0001": 1.0, "10-10": 1.1, "10-11": 1.12}
#: up to this number of atoms, a particle without a given shape has exactly the requested number
SMALL = 20
#: centres of particles that are tried, in fractional coordinates
CENTRES = {
    "fcc": ((0, 0, 0), (0.5, 0.5, 0.5), (0.25, 0.25, 0.25), (0.25, 0.25, 0)),
    "bcc": ((0, 0, 0), (0.5, 0.5, 0), (0.5, 0.25, 0)),
    "hcp": ((1 / 3, 2 / 3, 0.25), (0, 0, 0), (1 / 3, 2 / 3, 0.5)),
}


def nanoparticle(step: Nanoparticle, state: State) -> None:
    """Create a particle in a box."""
    state.atoms = make(step, state)
    vacuum = step.vacuum or DEFAULT_VACUUM
    if step.vacuum is None and step.box is None:
        state.note("particle_box", vacuum=f"{vacuum:g}")
    put_in_cell(state, vacuum, step.box)


def make(step: Nanoparticle, state: State) -> Atoms:
    """Return a particle centred at the origin, without a cell."""
    composition = dict(step.composition)
    if step.arrangement == "core-shell":
        composition = {str(step.core): 1.0, str(step.shell): 1.0}
    for symbol in composition:
        if not is_metal(symbol):
            raise state.error("particle_element", element=symbol)
    structure = step.lattice or _structure(composition, state)
    constant = _constant(composition, structure)
    wanted = step.atoms
    if wanted is None and step.diameter is None:
        wanted = DEFAULT_ATOMS
        state.note("particle_size", atoms=wanted)
    if wanted is None:
        wanted_estimate = np.pi / 6 * (step.diameter or 0.0) ** 3 / _volume(structure, constant)
        state.check_size(wanted_estimate)
        if wanted_estimate < 4:
            raise state.error("particle_small", diameter=f"{step.diameter:g}")
    state.check_size(wanted or 0)
    shape = step.shape or ("sphere" if step.diameter is not None else "wulff")
    if step.shape is None:
        state.note("particle_shape", shape=shape)
    if shape in ("icosahedron", "decahedron"):
        positions = _multiply_twinned(shape, wanted, step.diameter, constant * (1 if structure == "fcc" else 1.26))
    else:
        positions = _positions(
            step, shape, structure, constant, wanted, _facets(step, shape, structure, composition, state)
        )
    state.check_size(len(positions))
    atoms = Atoms("X" * len(positions), positions=positions - positions.mean(axis=0))
    if wanted is not None and len(atoms) != wanted:
        state.note("particle_atoms", atoms=len(atoms), wanted=wanted, shape=shape)
    atoms.set_chemical_symbols(_symbols(step, atoms, composition, state))
    return atoms


def _structure(composition: dict[str, float], state: State) -> str:
    """The crystal structure of the most frequent element; fcc if its structure is not fcc, bcc or hcp."""
    host = max(composition, key=lambda s: composition[s])
    names = library().polymorphs(host)
    entry = library().find(host, None)
    prototype = entry.get("prototype") if entry and names else None
    if prototype in CENTRES:
        return str(prototype)
    state.note("particle_structure", element=host)
    return "fcc"


def _constant(composition: dict[str, float], structure: str) -> float:
    """Lattice constant a from the mean size of the elements, Å."""
    total = sum(composition.values())
    edge = sum(x / total * atomic_size(symbol) for symbol, x in composition.items())
    factor = {"fcc": 4 ** (1 / 3), "bcc": 2 ** (1 / 3), "hcp": (2 / (3**0.5 / 2 * 1.633)) ** (1 / 3)}
    return float(edge * factor[structure])


def _volume(structure: str, a: float) -> float:
    return {"fcc": a**3 / 4, "bcc": a**3 / 2, "hcp": a**3 * 1.633 * 3**0.5 / 4}[structure]


def _cell(structure: str, a: float) -> Atoms:
    lattice = {"a": a, "c": 1.633 * a} if structure == "hcp" else {"a": a}
    crystal = library().prototype("X", structure, lattice)
    assert crystal is not None
    return crystal.atoms


def _positions(
    step: Nanoparticle, shape: str, structure: str, a: float, wanted: int | None, energies: dict[str, float] | None
) -> np.ndarray:
    """Positions of a particle cut from a crystal. `energies`: relative surface energies of facets; `None`: a sphere."""
    cell = _cell(structure, a)
    normals = None if energies is None else _normals(energies, cell, shape == "tetrahedron")
    reach = (
        (3 * wanted * _volume(structure, a) / (4 * np.pi)) ** (1 / 3)
        if wanted is not None
        else (step.diameter or 0) / 2
    )
    radius = 3.2 * reach + 4.0 if shape == "tetrahedron" else 2.0 * reach + 4.0
    best: tuple[tuple[float, float], np.ndarray] | None = None
    for centre in CENTRES[structure]:
        points = _points(cell, centre, radius)
        ranks = np.linalg.norm(points, axis=1) if normals is None else np.max(points @ normals.T, axis=1)
        if wanted is not None and wanted <= SMALL and step.shape is None:
            # clusters of so few atoms have no facets, so they get exactly the requested number of atoms
            chosen, misfit = points[np.lexsort((np.linalg.norm(points, axis=1), np.round(ranks, 4)))[:wanted]], 0.0
        else:
            chosen, misfit = _cut(points, np.round(ranks, 4), wanted, step.diameter)
        rank = (round(misfit, 4), -_roundness(chosen))
        if best is None or rank < best[0]:
            best = (rank, chosen)
    assert best is not None
    return best[1]


def _points(cell: Atoms, centre: tuple[float, float, float], radius: float) -> np.ndarray:
    """Positions of the atoms of a crystal within a radius of a centre."""
    heights = 1 / np.linalg.norm(cell.cell.reciprocal(), axis=1)
    reach = np.ceil(radius / heights).astype(int) + 1
    shifts = np.array(list(product(*(range(-n, n + 1) for n in reach)))) @ cell.cell[:]
    points = (cell.positions[None] + shifts[:, None]).reshape(-1, 3) - np.array(centre) @ cell.cell[:]
    return points[np.linalg.norm(points, axis=1) < radius]


def _cut(points: np.ndarray, ranks: np.ndarray, wanted: int | None, diameter: float | None) -> tuple[np.ndarray, float]:
    """Complete shells closest to the number of atoms or the diameter: (positions, relative deviation)."""
    order = np.argsort(ranks, kind="stable")
    ends = np.nonzero(np.diff(ranks[order]) > 1e-3)[0] + 1
    if wanted is not None:
        end = int(ends[np.argmin(np.abs(ends - wanted))])
        return points[order[:end]], abs(end - wanted) / wanted
    radii = np.maximum.accumulate(np.linalg.norm(points[order], axis=1))[ends - 1]
    best = int(np.argmin(np.abs(2 * radii - diameter)))
    return points[order[: ends[best]]], float(abs(2 * radii[best] - diameter) / diameter)


def _roundness(points: np.ndarray) -> float:
    return round(-float(np.linalg.norm(points - points.mean(axis=0), axis=1).max()), 3)


def _normals(distances: dict[str, float], cell: Atoms, half: bool) -> np.ndarray:
    """Outward normals of all equivalent facets, divided by their distance from the centre."""
    rows = []
    hexagonal = cell.cell.angles()[2] > 91
    for text, distance in distances.items():
        for indices in _family(text, hexagonal):
            normal = cell.cell.reciprocal().T @ indices
            if half and np.prod(indices) < 0:
                continue
            rows.append(normal / np.linalg.norm(normal) / distance)
    return np.array(rows)


def _family(text: str, hexagonal: bool) -> list[np.ndarray]:
    """All planes equivalent to one by symmetry (m-3m; 6/mmm for hexagonal cells)."""
    digits = [int(x) for x in text.replace("-", " -").split()] if " " in text else _digits(text)
    found: set[tuple[int, ...]] = set()
    if hexagonal:
        h, k, i, l = digits if len(digits) == 4 else (digits[0], digits[1], -digits[0] - digits[1], digits[2])
        for p in permutations((h, k, i)):
            for sign, up in product((1, -1), repeat=2):
                found.add((sign * p[0], sign * p[1], up * l))
    else:
        for p in permutations(digits):
            for signs in product((1, -1), repeat=3):
                found.add(tuple(s * x for s, x in zip(signs, p, strict=True)))
    return [np.array(f, float) for f in sorted(found)]


def _digits(text: str) -> list[int]:
    digits, sign = [], 1
    for character in text:
        if character == "-":
            sign = -1
        else:
            digits.append(sign * int(character))
            sign = 1
    return digits


def _facets(
    step: Nanoparticle, shape: str, structure: str, composition: dict[str, float], state: State
) -> dict[str, float] | None:
    """Relative distances of the facets from the centre; `None` for a sphere."""
    if shape == "sphere":
        return None
    if shape == "wulff":
        return _energies(step, structure, composition, state)
    if structure == "hcp":
        raise state.error("shape_cubic", shape=shape)
    return SHAPES[shape]


def _energies(step: Nanoparticle, structure: str, composition: dict[str, float], state: State) -> dict[str, float]:
    """Surface energies: the given ones, those of the library averaged over the composition, or typical ratios."""
    if step.surface_energies:
        return dict(step.surface_energies)
    if structure == "hcp":
        state.note("wulff_usual", ratios=", ".join(f"({k}) {v}" for k, v in HEXAGONAL.items()))
        return HEXAGONAL
    table = library().surface_energies
    usual = USUAL[structure]
    total = sum(composition.values())
    if all(set(usual) <= set(table.get(symbol, ())) for symbol in composition):
        mean = {f: sum(x / total * table[s][f] for s, x in composition.items()) for f in usual}
        state.note("wulff_library", energies=", ".join(f"({k}) {v:.2f}" for k, v in mean.items()))
        return mean
    state.note("wulff_usual", ratios=", ".join(f"({k}) {v}" for k, v in usual.items()))
    return usual


def _multiply_twinned(shape: str, wanted: int | None, diameter: float | None, a: float) -> np.ndarray:
    """Positions of the icosahedron or decahedron of ASE that is closest to the requested size."""
    if shape == "icosahedron":
        found = [Icosahedron("Au", shells, latticeconstant=a) for shells in range(2, 14)]
    else:
        found = [
            Decahedron("Au", p, q, r, latticeconstant=a)
            for p, q, r in product(range(2, 6), range(1, 5), range(3))
            if r < p
        ]

    def misfit(atoms: Atoms) -> float:
        if wanted is not None:
            return abs(len(atoms) - wanted) / wanted
        centred = atoms.positions - atoms.positions.mean(axis=0)
        return abs(2 * float(np.linalg.norm(centred, axis=1).max()) - (diameter or 0)) / (diameter or 1)

    best = min(found, key=misfit)
    return best.positions


def _symbols(step: Nanoparticle, atoms: Atoms, composition: dict[str, float], state: State) -> list[str]:
    if step.arrangement == "core-shell":
        return _core_and_shell(step, atoms, state)
    counts = whole_counts(composition, len(atoms))
    if min(counts.values()) == 0:
        raise state.error("composition_small", atoms=len(atoms))
    elements = np.repeat(list(counts), list(counts.values()))
    if len(counts) > 1:
        state.note("random_seed", seed=step.seed, counts=", ".join(f"{s} {n}" for s, n in counts.items()))
    return [str(s) for s in np.random.default_rng(step.seed).permutation(elements)]


def _core_and_shell(step: Nanoparticle, atoms: Atoms, state: State) -> list[str]:
    """Assign core and shell: atoms with fewer than 11 neighbours form the outermost shell layer, and so on inwards."""
    from scipy.spatial.distance import pdist

    nearest = float(pdist(atoms.positions).min())
    symbols = np.array([step.core] * len(atoms), object)
    inside = np.arange(len(atoms))
    for _ in range(step.shell_layers):
        part = Atoms("X" * len(inside), positions=atoms.positions[inside])
        neighbours = np.bincount(neighbor_list("i", part, 1.2 * nearest), minlength=len(part))
        outer = neighbours < 11
        symbols[inside[outer]] = step.shell
        inside = inside[~outer]
    if len(inside) == 0:
        raise state.error("no_core", layers=step.shell_layers, atoms=len(atoms))
    state.note(
        "core_shell", core=step.core, core_atoms=len(inside), shell=step.shell, shell_atoms=len(atoms) - len(inside)
    )
    return [str(s) for s in symbols]
