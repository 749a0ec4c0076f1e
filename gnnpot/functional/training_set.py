"""Samples as batches: crystals of one symmetry and shape of cell share their matrices.

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
from gnnpot.functional.functionals import Functional, kinetic, von_weizsacker
from gnnpot.functional.grid import Grid
from gnnpot.functional.reduced import ReducedBasis, ReducedSpace
from gnnpot.functional.space import FourierSpace, Space, integral
from gnnpot.functional.symmetry import Symmetry
from gnnpot.units import BOHR

#: irreducible points above which a crystal is treated by FFT
LARGEST_BASIS = 1700
#: samples in a batch
LARGEST_BATCH = 16


@dataclass(frozen=True)
class Batch:
    """Samples in one `Space`: densities, potentials without a constant `[B, n]`, T, electrons, weights `[B]`."""

    space: Space
    density: Tensor
    potential: Tensor
    kinetic: Tensor
    electrons: Tensor
    weights: Tensor
    names: tuple[str, ...]


@dataclass(frozen=True)
class LossWeights:
    """Of the parts of the loss; `softness` (1/bohr)² is where the density's response falls off."""

    density: float = 1.0
    potential: float = 0.03
    energy: float = 200.0
    softness: float = 0.8


def make_batches(
    samples: Sequence[Sample], triple_weight: float = 0.3, inner: torch.dtype = torch.float64
) -> list[Batch]:
    """Batches of samples, networks in precision `inner`; non-interacting samples have `triple_weight`.

    Raises:
        DataError: if there are no samples.
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
    """Sum over the samples of their weighted losses, differentiable, and its parts (means of the samples).

    With dv the error of dT/drho, its mean over the electrons taken off, and a the modes of √rho dv: what the density's
    error would be in linear response, Σ a²/(1 + g²/softness)² / N, the potential's, Σ a² / N, and ((T - T_KS)/N)².
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


def floor_of_batch(batch: Batch) -> Tensor:
    """T - T_vW of the samples (Ha): what a functional has to learn; negative ones are not possible."""
    return batch.kinetic - integral(batch.space, von_weizsacker(batch.density.detach(), batch.space))
