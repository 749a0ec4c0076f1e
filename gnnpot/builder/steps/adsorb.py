"""Adsorbates: their sites, number, distances and heights."""

from itertools import product

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from ase.geometry import find_mic
from scipy.spatial import Delaunay, cKDTree

from gnnpot.builder.recipe import Adsorb
from gnnpot.builder.state import State
from gnnpot.builder.steps import molecule
from gnnpot.builder.steps.crystal import is_metal

#: shortest distance as a fraction of the sum of covalent radii: of two bonded atoms, and of two atoms without a bond
BOND, APART = 0.92, 0.95
#: smallest distance between periodic images of an adsorbate, Å
IMAGES = 6.0
#: atoms at most this far below the highest atom belong to the top layer of the surface, Å
TOP_LAYER = 0.45


def adsorb(step: Adsorb, state: State) -> None:
    """Add adsorbates to the surface."""
    if not state.is_surface:
        raise state.error("adsorb_on_what", species=step.species)
    species = molecule.make(step.species, state)
    if not state.surface.repeated:
        _enlarge(step, species, state)
    sides = ["top", "bottom"] if step.side == "both" else [step.side]
    for side in sides:
        _one_side(step, species, side == "bottom", len(sides), state)


def _enlarge(step: Adsorb, species: Atoms, state: State) -> None:
    """Enlarge the surface cell for the coverage, or until periodic images are apart."""
    layer = len(_surface_layer(state.atoms))
    width = float(np.ptp(species.positions, axis=0).max()) + IMAGES
    lengths = [float(np.linalg.norm(v)) for v in state.atoms.cell[:2]]
    if step.coverage is not None:
        sizes = [(n, m) for n in range(1, 7) for m in range(1, 7)]
        fitting = [s for s in sizes if _is_whole(step.coverage * layer * s[0] * s[1])]
        if not fitting:
            raise state.error("coverage", coverage=f"{step.coverage:g}", atoms=layer)
        repeat = min(fitting, key=lambda s: (s[0] * s[1], abs(s[0] * lengths[0] - s[1] * lengths[1])))
    else:
        first, second = (max(1, int(np.ceil(width / length - 0.05))) for length in lengths)
        repeat = (first, second)
    state.check_size(len(state.atoms) * repeat[0] * repeat[1])
    state.surface.repeated = True
    if repeat != (1, 1):
        constraints = state.atoms.constraints
        state.atoms.set_constraint()
        state.atoms = state.atoms.repeat((*repeat, 1))
        if constraints:
            raise state.error("fix_before_place")
        state.note("surface_repeat", repeat="×".join(map(str, repeat)))


def _is_whole(value: float) -> bool:
    return round(value) >= 1 and abs(value - round(value)) < 0.02


def _one_side(step: Adsorb, species: Atoms, below: bool, sides: int, state: State) -> None:
    """Add adsorbates on one side. For the lower side, the slab is turned over."""
    atoms = state.atoms
    top = atoms.cell[2, 2]
    work = atoms.copy()
    work.set_constraint()
    if below:
        work.positions[:, 2] = top - work.positions[:, 2]
    layer = _surface_layer(work)
    number = _how_many(step, len(layer), sides, state)
    state.check_size(len(atoms) + number * len(species))
    places = _site_positions(step, work, layer, species, state)
    if number > len(places):
        raise state.error("not_enough_sites", number=number, there=len(places), site=step.site or "-")
    chosen = _choose_sites(places, number, step, work, state)
    for place in chosen:
        added = _oriented(step, species, place, work, layer, state)
        work += added
        if below:
            added.positions[:, 2] = top - added.positions[:, 2]
        state.atoms += added
        if "part" in state.atoms.arrays:
            state.atoms.arrays["part"][-len(added) :] = 0


def _how_many(step: Adsorb, surface_atoms: int, sides: int, state: State) -> int:
    if step.coverage is None:
        if step.number is None:
            return 1
        if sides == 2 and step.number > 1:
            if step.number % 2:
                raise state.error("odd_on_both", number=step.number)
            return step.number // 2
        return step.number
    exact = step.coverage * surface_atoms
    number = round(exact)
    if step.number is not None and step.number != number:
        raise state.error("coverage_and_number", coverage=f"{step.coverage:g}", number=step.number, atoms=surface_atoms)
    if number == 0 or abs(exact - number) > 0.2:
        raise state.error("coverage", coverage=f"{step.coverage:g}", atoms=surface_atoms)
    return number


def _surface_layer(atoms: Atoms) -> np.ndarray:
    """The highest atoms of the slab, without adsorbates and particles."""
    slab = atoms.get_tags() > 0
    if "part" in atoms.arrays:
        slab &= atoms.arrays["part"] == 0
    indices = np.nonzero(slab)[0]
    heights = atoms.positions[indices, 2]
    return indices[heights > heights.max() - TOP_LAYER]


def _site_positions(step: Adsorb, atoms: Atoms, layer: np.ndarray, species: Atoms, state: State) -> np.ndarray:
    """Positions where an adsorbate may bind: x, y, and the height of the atoms of the site."""
    near = _near(step, state)
    if near is not None and step.site is None and step.near == "vacancy":
        return near[None, :]
    element, anchors = _anchors(step, atoms, layer, state)
    if step.site is None or step.site == "top":
        if step.site is None:
            state.note("site", species=step.species, site=f"top ({element})" if element else "top")
        found = atoms.positions[anchors]
    else:
        found = _between(step.site, atoms, anchors, state)
    if near is not None:
        order = np.argsort(_lateral(found, near, atoms), kind="stable")
        found = found[order[:1]]
    return found


def _near(step: Adsorb, state: State) -> np.ndarray | None:
    if step.near is None:
        return None
    known = state.vacancies if step.near == "vacancy" else state.dopants
    if not known:
        raise state.error("no_defect")
    return known[-1]


def _anchors(step: Adsorb, atoms: Atoms, layer: np.ndarray, state: State) -> tuple[str, np.ndarray]:
    """Atoms that an adsorbate binds to: of the requested element, otherwise exposed metal atoms, or the top layer."""
    symbols = np.array(atoms.get_chemical_symbols())
    exposed = _exposed(atoms, layer)
    if step.on is not None:
        chosen = exposed[symbols[exposed] == step.on]
        if len(chosen) == 0:
            raise state.error("no_surface_element", element=step.on, known=", ".join(sorted(set(symbols[exposed]))))
        return step.on, chosen
    there = sorted(set(symbols[layer]))
    metals = [s for s in set(symbols[exposed]) if is_metal(s)]
    if step.site in (None, "top") and metals and not all(is_metal(s) for s in there):
        chosen = exposed[np.isin(symbols[exposed], metals)]
        return "/".join(sorted(metals)), chosen
    return "/".join(there), layer


def _exposed(atoms: Atoms, layer: np.ndarray) -> np.ndarray:
    """Slab atoms near the top that are not covered: no higher atom is within a lateral distance of 1.1 Å."""
    slab = np.nonzero(atoms.get_tags() > 0)[0]
    top = atoms.positions[layer, 2].max()
    near = slab[atoms.positions[slab, 2] > top - 2.6]
    found = []
    for index in near:
        higher = near[atoms.positions[near, 2] > atoms.positions[index, 2] + 0.3]
        if len(higher) == 0 or _lateral(atoms.positions[higher], atoms.positions[index], atoms).min() > 1.1:
            found.append(index)
    return np.array(found)


def _lateral(positions: np.ndarray, origin: np.ndarray, atoms: Atoms) -> np.ndarray:
    vectors = positions - origin
    vectors[:, 2] = 0.0
    return np.round(find_mic(vectors, atoms.cell, [True, True, False])[1], 3)


def _nearest(positions: np.ndarray, origin: np.ndarray, atoms: Atoms) -> np.ndarray:
    """Lateral distances to all periodic images of positions, shortest first."""
    shifts = np.array(list(product((-1, 0, 1), repeat=2))) @ atoms.cell[:2]
    vectors = (positions[None] + shifts[:, None]).reshape(-1, 3) - origin
    return np.sort(np.linalg.norm(vectors[:, :2], axis=1))


def _between(site: str, atoms: Atoms, layer: np.ndarray, state: State) -> np.ndarray:
    """Bridge and hollow sites of a layer: edge midpoints and circumcentres of its Delaunay triangulation."""
    if len(layer) == 0:
        raise state.error("no_site", site=site)
    shifts = np.array(list(product(range(-3, 4), repeat=2))) @ atoms.cell[:2]
    points = (atoms.positions[layer][None] + shifts[:, None]).reshape(-1, 3)
    middle = atoms.cell[:2].sum(axis=0) / 2
    reach = np.linalg.norm(atoms.cell[:2], axis=1).sum() / 2 + 8.0
    points = points[np.linalg.norm(points[:, :2] - middle[:2], axis=1) < reach]
    if len(points) < 4:
        raise state.error("no_site", site=site)
    triangles = Delaunay(points[:, :2], qhull_options="QJ Pp").simplices
    if site == "bridge":
        edges = {tuple(sorted(pair)) for t in triangles for pair in ((t[0], t[1]), (t[1], t[2]), (t[0], t[2]))}
        pairs = np.array(sorted(edges))
        lengths = np.linalg.norm(points[pairs[:, 0]] - points[pairs[:, 1]], axis=1)
        pairs = pairs[lengths < 1.1 * lengths.min()]
        found = points[pairs].mean(axis=1)
    else:
        found = _circumcentres(points, triangles)
    found = _inside(found, atoms)
    if site in ("fcc", "hcp"):
        found = _stacked(site, found, atoms, layer, state)
    if len(found) == 0:
        raise state.error("no_site", site=site)
    return found


def _circumcentres(points: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Circumcentres of the triangles; the two triangles of a square have the same one."""
    corners = points[triangles]
    a, b, c = corners[:, 0, :2], corners[:, 1, :2], corners[:, 2, :2]
    d = 2 * (a[:, 0] * (b[:, 1] - c[:, 1]) + b[:, 0] * (c[:, 1] - a[:, 1]) + c[:, 0] * (a[:, 1] - b[:, 1]))
    good = np.abs(d) > 0.5
    a, b, c, d, corners = a[good], b[good], c[good], d[good], corners[good]
    aa, bb, cc = (a**2).sum(1), (b**2).sum(1), (c**2).sum(1)
    x = (aa * (b[:, 1] - c[:, 1]) + bb * (c[:, 1] - a[:, 1]) + cc * (a[:, 1] - b[:, 1])) / d
    y = (aa * (c[:, 0] - b[:, 0]) + bb * (a[:, 0] - c[:, 0]) + cc * (b[:, 0] - a[:, 0])) / d
    centres = np.stack([x, y, corners[:, :, 2].mean(axis=1)], axis=1)
    radii = np.linalg.norm(centres[:, :2] - a, axis=1)
    return centres[radii < radii.min() * 1.3]


def _inside(found: np.ndarray, atoms: Atoms) -> np.ndarray:
    """One periodic image of each position, inside the cell."""
    scaled = np.linalg.solve(atoms.cell[:].T, found.T).T
    scaled[:, :2] -= np.floor(scaled[:, :2] + 1e-4)
    unique: list[np.ndarray] = []
    for place in scaled @ atoms.cell[:]:
        if not unique or _lateral(np.array(unique), place, atoms).min() > 0.3:
            unique.append(place)
    return np.array(unique)


def _stacked(site: str, found: np.ndarray, atoms: Atoms, layer: np.ndarray, state: State) -> np.ndarray:
    """Threefold hollow sites with (hcp) or without (fcc) an atom of the second layer below."""
    slab = np.nonzero(atoms.get_tags() > 0)[0]
    depth = atoms.positions[layer, 2].min() - atoms.positions[slab, 2]
    beneath = slab[(depth > 0.8) & (depth < 3.2)]
    if len(beneath) == 0 or len(found) == 0:
        raise state.error("no_site", site=site)
    first = beneath[atoms.positions[beneath, 2] > atoms.positions[beneath, 2].max() - 0.3]
    close = np.array([_lateral(atoms.positions[first], place, atoms).min() for place in found])
    kept = found[close < 0.6] if site == "hcp" else found[close > 0.9]
    three = []
    for centre in kept:
        distances = _nearest(atoms.positions[layer], centre, atoms)
        if distances[2] - distances[0] < 0.2 and distances[3] - distances[0] > 0.3:
            three.append(centre)
    if not three:
        raise state.error("no_site", site=site)
    return np.array(three)


def _choose_sites(places: np.ndarray, number: int, step: Adsorb, atoms: Atoms, state: State) -> np.ndarray:
    """Choose places that are far apart.

    A single adsorbate takes the place nearest to the centre of the cell. Several adsorbates take the first place, and
    then always the place farthest from those taken.
    """
    middle = atoms.cell[:2].sum(axis=0) / 2
    if number == 1:
        away = np.round(np.linalg.norm(places[:, :2] - middle[:2], axis=1), 3)
        highest = places[:, 2] > places[:, 2].max() - 0.3 if step.on else np.ones(len(places), bool)
        candidates = np.nonzero(highest)[0]
        return places[[candidates[int(np.argmin(away[candidates]))]]]
    taken = [0]
    nearest = _lateral(places, places[0], atoms)
    while len(taken) < number:
        following = int(np.argmax(nearest))
        taken.append(following)
        nearest = np.minimum(nearest, _lateral(places, places[following], atoms))
    return places[taken]


def _oriented(step: Adsorb, species: Atoms, place: np.ndarray, atoms: Atoms, layer: np.ndarray, state: State) -> Atoms:
    """The adsorbate above its place, with its orientation and height, not in contact with other atoms."""
    lying = step.orientation == "flat" or (
        step.orientation is None and step.binding is None and molecule.is_flat(step.species)
    )
    if lying:
        posed = molecule.flat(species)
        binding = int(np.argmin(posed.positions[:, 2]))
        posed.positions -= [*posed.positions[:, :2].mean(axis=0), posed.positions[binding, 2]]
        shift = np.array([place[0], place[1], 0.0])
    else:
        binding = molecule.binding_atom(step.species, species, step.binding, state)
        posed = molecule.upright(species, binding)
        posed.positions -= posed.positions[binding]
        shift = np.array([place[0], place[1], 0.0])
    posed.positions += shift
    top = float(atoms.positions[layer, 2].max())
    if step.height is not None:
        posed.positions[:, 2] += top + step.height
    else:
        posed.positions[:, 2] += _lowest_height(posed, binding, place, atoms, lying or _closed_shell(posed))
    posed.set_tags(0)
    if step.height is None:
        height = posed.positions[binding, 2] - top
        state.note("height", species=step.species, height=f"{height:.2f}")
    return posed


def _closed_shell(species: Atoms) -> bool:
    """Whether a molecule is saturated and does not bind to surfaces: CH4, CF4, SF6 and similar molecules."""
    symbols = species.get_chemical_symbols()
    return (
        len(symbols) >= 5
        and set(symbols) <= {"C", "H", "F", "Si", "S"}
        and symbols.count("H") + symbols.count("F") >= 4
    )


def _lowest_height(posed: Atoms, binding: int, place: np.ndarray, atoms: Atoms, loose: bool) -> float:
    """The lowest height (Å) at which the binding atom has the length of a bond and no other atom is too close."""
    tree = cKDTree(atoms.positions[:, :2])
    radii = covalent_radii[atoms.numbers]
    factor = 1.0 if not loose else 1.25
    lowest = place[2] + 0.8
    shifts = np.array(list(product((-1, 0, 1), repeat=2))) @ atoms.cell[:2]
    for index, position in enumerate(posed.positions):
        own = covalent_radii[posed.numbers[index]]
        scale = (BOND if index == binding and not loose else APART + 0.15) * factor
        for shift in shifts:
            for other in tree.query_ball_point(position[:2] - shift[:2], 4.0):
                limit = scale * (own + radii[other])
                lateral = np.linalg.norm(position[:2] - shift[:2] - atoms.positions[other, :2])
                if lateral < limit:
                    needed = atoms.positions[other, 2] + np.sqrt(limit**2 - lateral**2) - position[2]
                    lowest = max(lowest, needed)
    return float(lowest)
