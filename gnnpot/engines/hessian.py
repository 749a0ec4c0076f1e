"""Hessian of the energy with respect to the positions, by automatic differentiation instead of displacements.

    products = hessian_vector_products(atoms, calculator, directions)      # [K, N, 3], eV/Å²
    matrix = hessian(atoms, calculator)                                    # [N, 3, N, 3], eV/Å²
    VibrationsData(atoms, matrix).get_energies()                           # from ase.vibrations

The product of the Hessian H and a direction d is, with the positions x,

    H d = ∇_x (∇_x E · d),                                                                                      (1)

one reverse-mode derivative of the gradient. The gradient is calculated once for all directions, by the reference
implementation of the model. In a periodic structure, all images of an atom are displaced equally: the Hessian contains
the force constants at Γ of its cell.
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
from gnnpot.torch_modes import default_modes


def hessian(atoms: Atoms, calculator: Calculator, *, progress: Progress = no_progress) -> np.ndarray:
    """Calculate the Hessian H of all atoms.

    Args:
        atoms: A molecule or a crystal; constraints are ignored.
        calculator: Calculator of gnnpot; float64 for more than five digits.
        progress: Called with the number of rows done.

    Returns:
        H, [N, 3, N, 3] eV/Å²: symmetric up to rounding, with rows that sum to zero.

    Raises:
        ConfigError: The calculator is not gnnpot's.
        DataError, MemoryNeedError, UnknownElementError: See `Calculator`.
    """
    directions = np.eye(3 * len(atoms)).reshape(-1, len(atoms), 3)
    rows: list[np.ndarray] = []
    for product in _products(atoms, calculator, directions):
        progress("hessian: rows", len(rows), len(directions))
        rows.append(product)
    progress("hessian: rows", len(rows), len(directions))
    return np.stack(rows).reshape(len(atoms), 3, len(atoms), 3)


def hessian_vector_products(atoms: Atoms, calculator: Calculator, directions: np.ndarray) -> np.ndarray:
    """Calculate the products H d of equation (1) for one or more directions d.

    Args:
        atoms: A molecule or a crystal; constraints are ignored.
        calculator: Calculator of gnnpot; float64 for more than five digits.
        directions: One direction [N, 3], or K directions [K, N, 3], in any unit.

    Returns:
        H d, with the shape of `directions`, in eV/Å² times their unit.

    Raises:
        ConfigError: The calculator is not gnnpot's, or `directions` has another shape.
        DataError, MemoryNeedError, UnknownElementError: See `Calculator`.
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
    """Yield H d for each direction, [N, 3]."""
    if not isinstance(calculator, Calculator):
        raise ConfigError(
            f"Hessian: {type(calculator).__name__} can't be differentiated; give a gnnpot.Calculator, or take finite "
            "differences (ase.vibrations)"
        )
    with default_modes():
        positions, gradient = _gradient(atoms, calculator)
    for direction in directions:
        with default_modes(), torch.enable_grad():
            along = (gradient * torch.as_tensor(direction, device=gradient.device)).sum()
            found = None
            if along.requires_grad:
                (found,) = torch.autograd.grad(along, positions, retain_graph=True, allow_unused=True)
        yield np.zeros(direction.shape) if found is None else found.cpu().numpy()


def _gradient(atoms: Atoms, calculator: Calculator) -> tuple[Tensor, Tensor]:
    """Return displacements [N, 3], and ∇E [N, 3] as a differentiable function of them."""
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
    """The potential with the implementations of its models that can be differentiated twice."""
    terms = [term.twice_differentiable() for term in potential.terms]
    return (
        Potential(potential.model.twice_differentiable(), potential.references, float(potential.energy_scale), terms)
        .to(potential.device)
        .eval()
    )
