"""Second derivatives of the energy with respect to the positions, exact, without displacements.

    products = hessian_vector_products(atoms, calculator, directions)      # [K, N, 3], eV/Å²
    matrix = hessian(atoms, calculator)                                    # [N, 3, N, 3], eV/Å²
    VibrationsData(atoms, matrix).get_energies()                           # of ase.vibrations

With the forces as a function of the positions x, the product of the Hessian H and a direction d is

    H d = ∇_x (∇_x E · d),                                                                                      (1)

one reverse differentiation of the reference form's gradient, which is calculated once for all directions. A periodic
structure's Hessian is that of equal displacements of all images: force constants at Γ of its cell.
"""

from collections.abc import Iterator

import numpy as np
import torch
from ase import Atoms
from torch import Tensor

from gnnpot.engines.calculator import Calculator
from gnnpot.errors import ConfigError
from gnnpot.potential import Potential
from gnnpot.runs.progress import Progress, no_progress
from gnnpot.torch_modes import usual_modes


def hessian(atoms: Atoms, calculator: Calculator, *, progress: Progress = no_progress) -> np.ndarray:
    """H of all atoms, [N, 3, N, 3] eV/Å²: symmetric up to rounding, with rows that add up to zero.

    Args:
        atoms: A molecule or a crystal; constraints are not looked at.
        calculator: Of a potential of gnnpot; in float64 for more than five digits.
        progress: Takes the rows that are done.

    Returns:
        H, [N, 3, N, 3] eV/Å².

    Raises:
        ConfigError: The calculator is not gnnpot's.
        DataError, MemoryNeedError, UnknownElementError: As the calculator raises them.
    """
    directions = np.eye(3 * len(atoms)).reshape(-1, len(atoms), 3)
    rows: list[np.ndarray] = []
    for product in _products(atoms, calculator, directions):
        progress("hessian: rows", len(rows), len(directions))
        rows.append(product)
    progress("hessian: rows", len(rows), len(directions))
    return np.stack(rows).reshape(len(atoms), 3, len(atoms), 3)


def hessian_vector_products(atoms: Atoms, calculator: Calculator, directions: np.ndarray) -> np.ndarray:
    """H d of equation (1) for K directions, [K, N, 3] eV/Å², or for one, [N, 3].

    Args:
        atoms: A molecule or a crystal; constraints are not looked at.
        calculator: Of a potential of gnnpot; in float64 for more than five digits.
        directions: [K, N, 3] or [N, 3], of any unit, which the product has besides.

    Returns:
        H d, of the shape of `directions`; eV/Å² times their unit.

    Raises:
        ConfigError: The calculator is not gnnpot's, or the directions have another shape.
        DataError, MemoryNeedError, UnknownElementError: As the calculator raises them.
    """
    directions = np.asarray(directions, dtype=np.float64)
    if directions.ndim not in (2, 3) or directions.shape[-2:] != (len(atoms), 3):
        raise ConfigError(
            f"directions: have the shape {list(directions.shape)}; of {len(atoms)} atoms, give [{len(atoms)}, 3] or "
            f"[K, {len(atoms)}, 3]"
        )
    several = directions.reshape(-1, len(atoms), 3)
    found = list(_products(atoms, calculator, several))
    return np.stack(found).reshape(directions.shape) if found else np.zeros_like(directions)


def _products(atoms: Atoms, calculator: Calculator, directions: np.ndarray) -> Iterator[np.ndarray]:
    """H d of each direction, [N, 3]."""
    if not isinstance(calculator, Calculator):
        raise ConfigError(
            f"Hessian: {type(calculator).__name__} can't be differentiated; give a gnnpot.Calculator, or take finite "
            "differences (ase.vibrations)"
        )
    with usual_modes():
        positions, gradient = _gradient(atoms, calculator)
    for direction in directions:
        with usual_modes(), torch.enable_grad():
            along = (gradient * torch.as_tensor(direction, device=gradient.device)).sum()
            found = None
            if along.requires_grad:
                (found,) = torch.autograd.grad(along, positions, retain_graph=True, allow_unused=True)
        yield np.zeros(direction.shape) if found is None else found.cpu().numpy()


def _gradient(atoms: Atoms, calculator: Calculator) -> tuple[Tensor, Tensor]:
    """Displacements [N, 3], and ∇E [N, 3] as a function of them."""
    potential = _twice_differentiable(calculator.potential)
    graph = calculator.graph(atoms)
    centre, neighbor = graph.edge_index
    moved = torch.zeros(len(atoms), 3, dtype=torch.float64, device=potential.device, requires_grad=True)
    with torch.enable_grad():
        vectors = graph.edge_vectors + moved[neighbor] - moved[centre]
        energy = potential(graph.clone_with_edge_vectors(vectors), forces=False, stress=False).energy.sum()
        if not energy.requires_grad:
            return moved, torch.zeros_like(moved)
        (gradient,) = torch.autograd.grad(energy, moved, create_graph=True)
    return moved, gradient


def _twice_differentiable(potential: Potential) -> Potential:
    """The potential with those forms of its models that have second derivatives."""
    terms = [term.twice_differentiable() for term in potential.terms]
    return (
        Potential(potential.model.twice_differentiable(), potential.references, float(potential.energy_scale), terms)
        .to(potential.device)
        .eval()
    )
