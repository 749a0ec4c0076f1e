"""Batches of samples; crystals with the same symmetry and shape of the cell share their matrices.

Example::

    batches = make_batches(samples)
    loss, parts = batch_loss(functional, batches[0], weights)
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gnnpot.errors import DataError
from gnnpot.functional.data import Sample
from gnnpot.functional.functionals import Functional, kinetic
from gnnpot.functional.grid import Grid
from gnnpot.functional.reduced import ReducedBasis, ReducedSpace
from gnnpot.functional.space import FourierSpace, Space, integral
from gnnpot.functional.symmetry import Symmetry
from gnnpot.units import BOHR

#: number of irreducible points above which FFTs are used
LARGEST_BASIS = 1700
#: largest number of samples in a batch
LARGEST_BATCH = 16


@dataclass(frozen=True)
class Batch:
    """Samples in one `Space`."""

    space: Space
    density: Tensor  #: `[B, n]`
    potential: Tensor  #: `[B, n]` dT/drho, with a mean over the electrons of zero
    kinetic: Tensor  #: `[B]` T, Ha
    electrons: Tensor  #: `[B]` numbers of electrons
    weights: Tensor  #: `[B]` weights of the samples
    names: tuple[str, ...]


@dataclass(frozen=True)
class LossWeights:
    """Weights of the parts of the loss."""

    density: float = 1.0
    potential: float = 0.03
    energy: float = 200.0
    softness: float = 0.8  #: value of g² at which the response of the density decays, (1/bohr)²


def make_batches(
    samples: Sequence[Sample], triple_weight: float = 0.3, inner: torch.dtype = torch.float64
) -> list[Batch]:
    """Group samples into batches.

    Args:
        samples: Samples.
        triple_weight: Weight of non-interacting samples; that of others is 1.
        inner: Precision inside networks.

    Raises:
        DataError: There are no samples.
    """
    if not samples:
        raise DataError("there are no samples to learn from; run gnnpot functional data first")
    bases: dict[tuple, ReducedBasis | None] = {}
    groups: dict[tuple, list[Sample]] = {}
    for sample in samples:
        grid = Grid(sample.atoms.cell.array / BOHR, sample.density.shape)
        symmetry = Symmetry.of(sample.atoms, grid.shape)
        shape = (grid.cell / grid.volume ** (1 / 3)).round(8) + 0.0
        key = (grid.shape, shape.tobytes(), symmetry.maps.min(axis=0).tobytes())
        if key not in bases:
            small = len(symmetry.orbits[0]) <= LARGEST_BASIS
            bases[key] = ReducedBasis.of(grid, symmetry) if small else None
        groups.setdefault(key if bases[key] else (*key, sample.name), []).append(sample)
    batches = []
    for key, members in groups.items():
        for start in range(0, len(members), LARGEST_BATCH):
            batches.append(_batch(members[start : start + LARGEST_BATCH], bases[key[:3]], triple_weight, inner))
    return batches


def batch_loss(functional: Functional, batch: Batch, weights: LossWeights) -> tuple[Tensor, dict[str, Tensor]]:
    """Loss of a batch.

    Let dv be the error of dT/drho minus its mean over the electrons, and a the modes of √rho dv. The parts are the
    error of the density estimated by linear response, Σ a²/(1 + g²/softness)² / N; that of the potential, Σ a² / N; and
    that of the energy, ((T - T_KS)/N)².

    Returns:
        Weighted sum of the losses of the samples, differentiable, and the parts by name, `[B]`.
    """
    space, density = batch.space, batch.density
    energy, potential = kinetic(functional, density, space, create_graph=True)
    error = potential - batch.potential
    error = error - (integral(space, density * error) / batch.electrons)[:, None]
    power = space.power(density.detach().clamp(min=0).sqrt() * error)
    proxy = (power / (1 + space.g**2 / weights.softness) ** 2).sum(dim=-1) / batch.electrons
    square = power.sum(dim=-1) / batch.electrons
    energy_error = (energy - batch.kinetic) / batch.electrons
    loss = weights.density * proxy + weights.potential * square + weights.energy * energy_error**2
    parts = {"density": proxy, "potential": square, "energy": energy_error**2}
    return (batch.weights * loss).sum(), {name: value.detach() for name, value in parts.items()}


def _batch(members: list[Sample], basis: ReducedBasis | None, triple_weight: float, inner: torch.dtype) -> Batch:
    grids = [Grid(s.atoms.cell.array / BOHR, s.density.shape) for s in members]
    space: Space
    points: slice | np.ndarray = slice(None)
    if basis is None:
        space = FourierSpace(grids[0], inner=inner)
    else:
        space, points = ReducedSpace(basis, [grid.volume for grid in grids], inner), basis.points

    def gather(fields: list[np.ndarray]) -> Tensor:
        return torch.from_numpy(np.stack([field.reshape(-1)[points] for field in fields]))

    density = gather([s.density for s in members])
    return Batch(
        space=space,
        density=density.requires_grad_(),
        potential=gather([s.potential for s in members]),
        kinetic=torch.tensor([s.kinetic for s in members], dtype=torch.float64),
        electrons=torch.tensor([s.electrons for s in members], dtype=torch.float64),
        weights=torch.tensor([1.0 if s.energies else triple_weight for s in members], dtype=torch.float64),
        names=tuple(s.name for s in members),
    )
