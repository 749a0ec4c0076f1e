"""A particle on a support: its facet, its distance, and the width of the support."""

from itertools import product

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from scipy.spatial import ConvexHull

from gnnpot.builder.recipe import Place
from gnnpot.builder.state import State
from gnnpot.builder.steps.crystal import is_metal
from gnnpot.builder.steps.particle import make
from gnnpot.builder.steps.slab import add_vacuum, surface_cell, tag_layers

#: smallest distance of a particle to metal atoms and to other atoms of a support, as a fraction of the sum of covalent
#: radii
BOND_METAL, BOND_OTHER = 0.85, 1.0


#: smallest distance between periodic images of a particle on a support, Å
IMAGES = 6.0


def place(step: Place, state: State) -> None:
    """Put a particle on the slab with one of its facets; the slab is enlarged until periodic images are apart."""
    if not state.is_surface:
        raise state.error("place_on_what")
    particle = make(step.particle, state)
    particle = _on_facet(particle, step.facet, state)
    support = _wide_enough(particle, step, state)
    state.check_size(len(support) + len(particle))
    high = float(support.positions[:, 2].max())
    middle = support.cell[:2].sum(axis=0) / 2
    particle.positions[:, :2] += middle[:2] - particle.positions[:, :2].mean(axis=0)
    particle.positions[:, 2] += high - particle.positions[:, 2].min()
    particle.positions[:, 2] += _lift(particle, support, step.distance)
    if step.distance is None:
        state.note("contact", distance=f"{_closest(particle, support):.2f}")
    part = np.concatenate([np.zeros(len(support), int), np.ones(len(particle), int)])
    layer = np.concatenate([support.arrays.get("layer", np.zeros(len(support), int)), np.full(len(particle), 10_000)])
    particle.set_tags(0)
    constraints = state.atoms.constraints if len(support) == len(state.atoms) else []
    support.set_constraint()
    joined = Atoms(
        np.concatenate([support.numbers, particle.numbers]),
        positions=np.concatenate([support.positions, particle.positions]),
        cell=support.cell,
        pbc=True,
        tags=np.concatenate([support.get_tags(), np.full(len(particle), int(support.get_tags().max()) + 1)]),
    )
    joined.set_array("part", part)
    joined.set_array("layer", layer)
    state.atoms = add_vacuum(joined, state.surface.vacuum)
    state.atoms.set_constraint(constraints)


def _on_facet(particle: Atoms, facet: tuple[int, ...] | None, state: State) -> Atoms:
    """The particle, rotated so that a facet (by default its largest one) points down."""
    if len(particle) < 4 or np.linalg.matrix_rank(particle.positions - particle.positions[0], tol=0.1) < 3:
        return particle
    if facet is not None:
        normal = np.array(facet, float)
        if not normal.any():
            raise state.error("no_facet")
    else:
        normal = _largest_facet(particle.positions)
    particle.rotate(normal, (0, 0, -1))
    return particle


def _largest_facet(positions: np.ndarray) -> np.ndarray:
    hull = ConvexHull(positions)
    groups: list[list] = []
    for corners, equation in zip(hull.simplices, hull.equations, strict=True):
        a, b, c = positions[corners]
        area = np.linalg.norm(np.cross(b - a, c - a)) / 2
        for group in groups:
            if group[0] @ equation[:3] > 0.999:
                group[1] += area
                break
        else:
            groups.append([equation[:3], area])
    return max(groups, key=lambda g: (round(g[1], 3), tuple(np.round(g[0], 3))))[0]


def _wide_enough(particle: Atoms, step: Place, state: State) -> Atoms:
    """The support, repeated until periodic images of the particle are apart, unless the sentence gives its size."""
    support = state.atoms.copy()
    width = float(np.ptp(particle.positions[:, :2], axis=0).max())
    if state.surface.repeated or step.keep_cell:
        if _width(support) < width + 2.0:
            raise state.error("support_small", width=f"{_width(support):.1f}", particle=f"{width:.1f}")
        return support
    unit = support
    matrix = _square_matrix(unit, width + IMAGES)
    count = abs(round(float(np.linalg.det(matrix))))
    state.check_size(len(unit) * count + len(particle))
    if count == 1:
        return support
    state.note("support_repeat", area=count, width=f"{width + IMAGES:.1f}")
    support = surface_cell(unit, matrix)
    state.surface.repeated = True
    if state.atoms.constraints:
        raise state.error("fix_before_place")
    return support if "layer" in support.arrays else tag_layers(support)


def _width(atoms: Atoms) -> float:
    """The smaller of the two distances between opposite sides of the surface cell."""
    area = abs(np.cross(atoms.cell[0], atoms.cell[1])[2])
    return float(area / max(np.linalg.norm(atoms.cell[0]), np.linalg.norm(atoms.cell[1])))


def _square_matrix(unit: Atoms, width: float) -> np.ndarray:
    """Matrix of the smallest n × m supercell with both heights at least `width`.

    The supercell repeats the cell itself, or a rectangular or square form of it.
    """
    best = None
    for base in (np.eye(2, dtype=int), np.array([[1, 0], [1, 2]]), np.array([[1, 1], [-1, 1]])):
        vectors = base @ unit.cell[:2, :2]
        area = abs(np.linalg.det(vectors))
        n = int(np.ceil(width * np.linalg.norm(vectors[1]) / area))
        m = int(np.ceil(width * np.linalg.norm(vectors[0]) / area))
        matrix = np.diag([n, m]) @ base
        rank = (round(abs(float(np.linalg.det(matrix)))), int(not np.array_equal(base, np.eye(2))))
        if best is None or rank < best[0]:
            best = (rank, matrix)
    assert best is not None
    return best[1]


def _closest(particle: Atoms, support: Atoms) -> float:
    images = np.array(list(product((-1, 0, 1), repeat=2))) @ support.cell[:2]
    return min(
        float(np.linalg.norm(particle.positions[:, None] - (support.positions + shift)[None], axis=2).min())
        for shift in images
    )


def _lift(particle: Atoms, support: Atoms, distance: float | None) -> float:
    """Height by which the particle is raised from the plane of the highest atom, so that no two atoms are too close."""
    if distance is None:
        metal = np.array([is_metal(s) for s in support.get_chemical_symbols()])
        factor = np.where(metal, BOND_METAL, BOND_OTHER)
        limits = factor * (covalent_radii[particle.numbers][:, None] + covalent_radii[support.numbers][None])
    else:
        limits = np.full((len(particle), len(support)), distance)
    images = np.array(list(product((-1, 0, 1), repeat=2))) @ support.cell[:2]
    lift = -np.inf
    for shift in images:
        difference = (support.positions + shift)[None] - particle.positions[:, None]
        lateral2 = (difference[..., :2] ** 2).sum(axis=2)
        touching = lateral2 < limits**2
        needed = difference[..., 2] + np.sqrt(np.clip(limits**2 - lateral2, 0, None))
        lift = max(lift, float(needed[touching].max(initial=-np.inf)))
    return lift if np.isfinite(lift) else 2.0
