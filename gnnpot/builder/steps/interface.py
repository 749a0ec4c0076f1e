"""Interfaces: two slabs in a common cell, found with Zur and McGill's algorithm (pymatgen's `ZSLGenerator`)."""

import numpy as np
from ase import Atoms

from gnnpot.builder.recipe import Bulk, Film, Interface, Slab
from gnnpot.builder.state import SlabState, State
from gnnpot.builder.steps import crystal as crystal_steps
from gnnpot.builder.steps.slab import add_vacuum, surface_cell, tag_layers
from gnnpot.builder.steps.slab import slab as cut_slab

MAX_STRAIN, MAX_AREA = 0.05, 400.0
DEFAULT_GAP = 2.2
DEFAULT_MILLER = (1, 1, 1)


def interface(step: Interface, state: State) -> None:
    """The film, strained, on the substrate."""
    substrate, thin = _one_slab(step.substrate, step, state), _one_slab(step.film, step, state)
    limit, area = step.max_strain or MAX_STRAIN, step.max_area or MAX_AREA
    matrices = _match(thin, substrate, limit, area)
    if matrices is None:
        raise state.error("no_match", strain=f"{100 * limit:g}", area=f"{area:g}")
    if step.max_strain is None:
        state.note("max_strain", strain=f"{100 * limit:g}")
    below = surface_cell(substrate, matrices[1])
    above = surface_cell(thin, matrices[0])
    state.check_size(len(below) + len(above))
    strains = _strains(above.cell[:2, :2], below.cell[:2, :2])
    cell = np.array([below.cell[0], below.cell[1], above.cell[2]])
    above.set_cell(cell, scale_atoms=True)
    gap = step.gap or DEFAULT_GAP
    if step.gap is None:
        state.note("gap", gap=f"{gap:g}")
    above.positions[:, 2] += below.positions[:, 2].max() + gap - above.positions[:, 2].min()
    joined = Atoms(
        np.concatenate([below.numbers, above.numbers]),
        positions=np.concatenate([below.positions, above.positions]),
        cell=below.cell,
        pbc=True,
    )
    layers = below.arrays["layer"], above.arrays["layer"] + below.arrays["layer"].max() + 1
    joined.set_array("layer", np.concatenate(layers))
    vacuum = step.vacuum if step.vacuum is not None else 15.0
    if step.vacuum is None:
        state.note("vacuum", vacuum=f"{vacuum:g}")
    state.atoms = tag_layers(add_vacuum(joined, vacuum or gap))
    largest = float(np.abs(strains).max())
    state.atoms.info["strain"] = largest
    state.note(
        "interface_strain", largest=f"{100 * largest:.2f}", area=f"{abs(np.linalg.det(below.cell[:2, :2])):.1f}",
        film=int(abs(round(np.linalg.det(matrices[0])))), substrate=int(abs(round(np.linalg.det(matrices[1])))),
    )  # fmt: skip
    if largest > 0.05:
        state.warn("large_strain", percent=f"{100 * largest:.1f}")
    state.slab = SlabState(vacuum, True, state.atoms.copy(), 0.0)


def _one_slab(film: Film, step: Interface, state: State) -> Atoms:
    """The slab of one side, 1×1, with the notes of its making."""
    own = State(state.language, state.folder, max_atoms=state.max_atoms)
    crystal_steps.bulk(Bulk(formula=film.formula, polymorph=film.polymorph), own)
    miller = film.miller or DEFAULT_MILLER
    if film.miller is None:
        state.note("miller", formula=film.formula, miller="".join(map(str, miller)))
    cut_slab(Slab(miller=miller, layers=film.layers, thickness=film.thickness, vacuum=10.0), own)
    state.notes += [note for note in own.notes if note not in state.notes]
    state.warnings += own.warnings
    return own.atoms


def _match(film: Atoms, substrate: Atoms, limit: float, area: float) -> tuple[np.ndarray, np.ndarray] | None:
    """Integer matrices of film and substrate of the smallest common cell within the strain allowed."""
    from pymatgen.analysis.interfaces.zsl import ZSLGenerator

    generator = ZSLGenerator(
        max_area=area, max_area_ratio_tol=min(0.5, 2.2 * limit), max_length_tol=limit * 1.05, max_angle_tol=limit
    )
    best: tuple[tuple[float, float], tuple[np.ndarray, np.ndarray]] | None = None
    for match in generator(film.cell[:2], substrate.cell[:2], lowest=False):
        pair = np.array(match.film_transformation), np.array(match.substrate_transformation)
        pair = tuple(np.rint(m).astype(int)[:2, :2] for m in pair)
        vectors = [m @ a.cell[:2, :2] for m, a in zip(pair, (film, substrate), strict=True)]
        if best is not None and match.match_area > best[0][0] * 1.01:
            break
        found = _common(vectors, pair)
        if found is None:
            continue
        largest = float(
            np.abs(_strains(*[m @ a.cell[:2, :2] for m, a in zip(found, (film, substrate), strict=True)])).max()
        )
        if largest <= limit + 1e-9 and (best is None or (match.match_area, largest) < best[0]):
            best = ((match.match_area, largest), found)
    return best[1] if best else None


def _common(vectors: list[np.ndarray], pair: tuple[np.ndarray, ...]) -> tuple[np.ndarray, np.ndarray] | None:
    """The matrices with the vectors of both cells reduced alike and right-handed."""
    reduced = []
    for vector, matrix in zip(vectors, pair, strict=True):
        if np.linalg.det(matrix) < 0:
            matrix, vector = matrix[::-1], vector[::-1]
        reduced.append(matrix)
    return (reduced[0], reduced[1]) if len(reduced) == 2 else None


def _strains(film: np.ndarray, substrate: np.ndarray) -> np.ndarray:
    """Principal strains of the film when its vectors become those of the substrate."""
    gradient = np.linalg.solve(_upright(film), _upright(substrate))
    return np.linalg.svd(gradient, compute_uv=False) - 1


def _upright(vectors: np.ndarray) -> np.ndarray:
    """The two vectors turned so that the first is along x."""
    a, b = vectors
    x = a / np.linalg.norm(a)
    y = np.array([-x[1], x[0]])
    return np.array([[a @ x, a @ y], [b @ x, b @ y]])
