"""Substitutions, vacancies and interstitials."""

from collections.abc import Iterable

import numpy as np
from ase import Atoms
from ase.geometry import find_mic
from scipy.spatial import Voronoi

from gnnpot.builder.recipe import Interstitial, Substitute, Vacancy
from gnnpot.builder.state import State, planes
from gnnpot.builder.steps.crystal import is_metal

#: fractional coordinates of a hole in the conventional cell, by structure of the element and kind of hole
HOLES = {
    ("fcc", "octahedral"): (0.5, 0.5, 0.5), ("fcc", "tetrahedral"): (0.25, 0.25, 0.25),
    ("bcc", "octahedral"): (0.5, 0.5, 0.0), ("bcc", "tetrahedral"): (0.5, 0.25, 0.0),
    ("hcp", "octahedral"): (0.0, 0.0, 0.0), ("hcp", "tetrahedral"): (1 / 3, 2 / 3, 0.625),
    ("diamond", "tetrahedral"): (0.5, 0.5, 0.5), ("diamond", "octahedral"): (0.625, 0.625, 0.625),
}  # fmt: skip


def substitute(step: Substitute, state: State) -> None:
    """Replace atoms of an element by another element."""
    element = step.element or _only_host(step.by, state)
    sites = _sites(element, step.where, state)
    number = _number(step.number, step.fraction, len(sites), element, state)
    chosen = _choose(sites, number, step.where, step.seed, state)
    symbols = state.atoms.get_chemical_symbols()
    for index in chosen:
        symbols[index] = step.by
        state.dopants.append(state.atoms.positions[index].copy())
    state.atoms.set_chemical_symbols(symbols)


def host_of(dopant: str, elements: Iterable[str]) -> str | None:
    """Return the element that a dopant replaces if the sentence does not say which.

    This is the only other element; or else the only other metal for a metal, the only other nonmetal for a nonmetal.
    `None` if there are several.
    """
    there = sorted(set(elements) - {dopant})
    alike = [symbol for symbol in there if is_metal(symbol) == is_metal(dopant)]
    for choice in (there, alike):
        if len(choice) == 1:
            return choice[0]
    return None


def _only_host(by: str, state: State) -> str:
    if not state.elements:
        state.elements = frozenset(np.array(state.atoms.get_chemical_symbols())[~state.adsorbed])
    there = sorted(state.elements - {by})
    host = host_of(by, there)
    if host is None:
        raise state.error("which_element", by=by, known=", ".join(there))
    if len(there) > 1:
        state.note("host_element", by=by, element=host)
    return host


def vacancy(step: Vacancy, state: State) -> None:
    """Remove atoms."""
    there = sorted(set(state.atoms.get_chemical_symbols()))
    if step.element is None and len(there) > 1:
        raise state.error("vacancy_of_what", known=", ".join(there))
    element = step.element or there[0]
    sites = _sites(element, step.where, state)
    number = _number(step.number, step.fraction, len(sites), element, state)
    if number == len(state.atoms):
        raise state.error("nothing_left")
    chosen = _choose(sites, number, step.where, step.seed, state)
    state.vacancies += [state.atoms.positions[i].copy() for i in chosen]
    del state.atoms[[int(i) for i in chosen]]


def _sites(element: str, where: str, state: State) -> np.ndarray:
    """Atoms of an element in a region."""
    symbols = np.array(state.atoms.get_chemical_symbols())
    region = state.adsorbed if where == "adsorbate" else ~state.adsorbed
    if "part" in state.atoms.arrays and where in ("top", "bottom", "surface", "bulk"):
        region &= state.atoms.arrays["part"] == 0
    sites = np.nonzero((symbols == element) & region)[0]
    if len(sites) == 0:
        raise state.error("no_element", element=element, formula=state.atoms.get_chemical_formula(empirical=True))
    if where in ("top", "bottom", "surface", "bulk") and not state.is_surface:
        raise state.error("no_surface")
    if where in ("anywhere", "adsorbate", "vacancy", "dopant"):
        return sites
    groups = [sites[g] for g in planes(state.atoms.positions[sites, 2], 0.5)]
    if where == "bulk":
        return np.concatenate(groups[1:-1]) if len(groups) > 2 else sites
    if where == "surface":
        return np.concatenate([groups[0], groups[-1]]) if len(groups) > 1 else groups[0]
    return groups[-1] if where == "top" else groups[0]


def _number(number: int | None, fraction: float | None, there: int, element: str, state: State) -> int:
    if fraction is not None:
        number = round(fraction * there + 1e-9)
        if number == 0:
            raise state.error("fraction_small", percent=f"{100 * fraction:g}", there=there, element=element)
        state.note("fraction", number=number, there=there, element=element, percent=f"{100 * number / there:.1f}")
    number = number or 1
    if number > there:
        raise state.error("not_enough", number=number, there=there, element=element)
    return number


def _choose(sites: np.ndarray, number: int, where: str, seed: int, state: State) -> np.ndarray:
    """Choose sites: next to a defect if requested; one site in the middle of the surface or cell; several at random."""
    origins = {"vacancy": state.vacancies, "dopant": state.dopants}.get(where)
    if origins is not None and not origins:
        raise state.error("no_defect")
    positions = state.atoms.positions[sites]
    if origins:
        return sites[np.argsort(_distances(positions, origins[-1], state.atoms), kind="stable")[:number]]
    if number == len(sites):
        return sites
    if number == 1:
        if state.is_surface and where == "anywhere":
            highest = positions[:, 2] > positions[:, 2].max() - 0.5
            sites, positions = sites[highest], positions[highest]
            state.note("chosen_top")
        middle = state.atoms.cell[:].sum(axis=0) / 2 if state.atoms.pbc.any() else state.atoms.positions.mean(axis=0)
        if state.is_surface:
            # within a slab, half way between the outermost of the sites
            middle[2] = (
                (positions[:, 2].max() + positions[:, 2].min()) / 2 if where == "bulk" else positions[:, 2].max()
            )
        return sites[[int(np.argmin(np.round(np.linalg.norm(positions - middle, axis=1), 4)))]]
    state.note("seed", seed=seed)
    return np.sort(np.random.default_rng(seed).choice(sites, number, replace=False))


def _distances(positions: np.ndarray, origin: np.ndarray, atoms: Atoms) -> np.ndarray:
    return np.round(find_mic(positions - origin, atoms.cell, atoms.pbc)[1], 3)


def interstitial(step: Interstitial, state: State) -> None:
    """Insert atoms into holes."""
    if not state.atoms.pbc.all():
        raise state.error("needs_cell", what="interstitial")
    state.check_size(len(state.atoms) + step.number)
    holes = _holes(step.site or "largest", state)
    if step.number > len(holes):
        raise state.error("not_enough_holes", number=step.number, there=len(holes))
    if step.number == 1:
        middle = state.atoms.cell[:].sum(axis=0) / 2
        chosen = holes[[int(np.argmin(np.round(np.linalg.norm(holes - middle, axis=1), 4)))]]
    else:
        chosen = holes[np.sort(np.random.default_rng(step.seed).choice(len(holes), step.number, replace=False))]
        state.note("seed", seed=step.seed)
    state.atoms += Atoms(
        [step.element] * step.number, positions=chosen, tags=[1 if state.is_surface else 0] * step.number
    )


def _holes(site: str, state: State) -> np.ndarray:
    """Positions of the holes of a kind in the cell."""
    if site == "largest" or state.crystal is None or len(set(state.crystal.get_chemical_symbols())) > 1:
        if site != "largest":
            state.note("largest_hole", site=site)
        return _largest_holes(state.atoms)
    import spglib

    dataset = spglib.get_symmetry_dataset(
        (state.crystal.cell[:], state.crystal.get_scaled_positions(), state.crystal.numbers), symprec=1e-3
    )
    number = dataset.number if dataset is not None else 0
    structure = {225: "fcc", 229: "bcc", 194: "hcp", 227: "diamond"}.get(number, "")
    if (structure, site) not in HOLES or state.is_surface:
        state.note("largest_hole", site=site)
        return _largest_holes(state.atoms)
    offset = np.array(HOLES[structure, site]) @ state.crystal.cell[:]
    first = state.crystal.positions[0] - (
        np.array([1 / 3, 2 / 3, 0.25]) @ state.crystal.cell[:] if structure == "hcp" else 0
    )
    lattice = state.crystal.positions - state.crystal.positions[0] if structure != "hcp" else np.zeros((1, 3))
    unit = Atoms("X" * len(lattice), positions=lattice + first + offset, cell=state.crystal.cell, pbc=True)
    repeat = np.maximum(1, np.round(state.atoms.cell.lengths() / state.crystal.cell.lengths()).astype(int))
    positions = unit.repeat(tuple(repeat)).positions
    scale = state.atoms.cell[:] / repeat[:, None]
    positions = np.linalg.solve(state.crystal.cell[:].T, positions.T).T @ scale
    return Atoms("X" * len(positions), positions=positions, cell=state.atoms.cell, pbc=True).get_positions(wrap=True)


def _largest_holes(atoms: Atoms) -> np.ndarray:
    """Voronoi vertices that are farthest from all atoms, one for each cluster of vertices."""
    scaled = atoms.get_scaled_positions()
    images = np.array([[i, j, k] for i in (-1, 0, 1) for j in (-1, 0, 1) for k in (-1, 0, 1)])
    near = (scaled[:, None, :] + images[None]).reshape(-1, 3)
    near = near[np.all((near > -0.6) & (near < 1.6), axis=1)] @ atoms.cell[:]
    corners = Voronoi(near).vertices
    inside = np.linalg.solve(atoms.cell[:].T, corners.T).T
    corners = corners[np.all((inside > -1e-6) & (inside < 1 - 1e-6), axis=1)]
    distances = np.array([np.linalg.norm(near - corner, axis=1).min() for corner in corners])
    best = corners[distances > distances.max() - 0.05]
    kept: list[np.ndarray] = []
    for corner in best:
        if not kept or _distances(np.array(kept), corner, atoms).min() > 0.5:
            kept.append(corner)
    return np.array(kept)
