"""Minimisation of the energy over √rho with a fixed number of electrons: L-BFGS on the sphere ∫ phi² = N.

Example::

    outcome = minimise(energy, density, electrons, expected=1e-8, steps=200)
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from gnnpot.functional.energy import TotalEnergy
from gnnpot.functional.lindhard import lindhard
from gnnpot.functional.space import Space, integral, volume

HISTORY = 10
#: shortest step of the line search, as a fraction of the full step
SHORTEST = 1e-6


@dataclass(frozen=True)
class MinimisedDensity:
    """Result of a minimisation."""

    density: Tensor  #: `[1, n]`, 1/bohr³
    parts: dict[str, float]  #: parts of the energy, Ha
    level: float  #: chemical potential, Ha
    steps: int  #: number of steps
    expected: float  #: expected decrease of the energy in the next step, Ha
    converged: bool


@dataclass(frozen=True)
class _Point:
    phi: Tensor
    parts: dict[str, float]
    level: float
    gradient: Tensor

    @property
    def energy(self) -> float:
        return sum(self.parts.values())


def minimise(
    energy: TotalEnergy,
    density: Tensor,
    electrons: float,
    expected: float,
    steps: int,
    report: Callable[[int, float, float], None] | None = None,
) -> MinimisedDensity:
    """Minimise the energy until the next step is expected to lower it by less than `expected`.

    Args:
        energy: The total energy.
        density: Initial density `[1, n]`, 1/bohr³.
        electrons: Number of electrons.
        expected: Expected decrease of the energy at convergence, Ha.
        steps: Largest number of steps.
        report: Called with the step, the energy, and its expected decrease, Ha.
    """
    space = energy.space
    preconditioner = _uniform_gas(space, electrons)
    point = _evaluate(energy, density.clamp(min=1e-14).sqrt(), electrons)
    history: list[tuple[Tensor, Tensor, float]] = []
    fall, step, converged = float("inf"), 0, False
    while True:
        direction = _direction(point, history, preconditioner, space, electrons)
        slope = _product(space, point.gradient, direction)
        if slope >= 0 and history:
            history.clear()
            continue
        fall = -0.5 * slope
        if report is not None:
            report(step, point.energy, fall)
        converged = fall < expected
        if converged or step == steps:
            break
        new = _line_search(energy, point, direction, slope, electrons)
        if new is None:
            if not history:
                break
            history.clear()
            continue
        change, gradient_change = new.phi - point.phi, new.gradient - point.gradient
        curvature = _product(space, change, gradient_change)
        if curvature > 1e-12 * _product(space, change, change):
            history = [*history, (change, gradient_change, curvature)][-HISTORY:]
        point, step = new, step + 1
    return MinimisedDensity(point.phi**2, point.parts, point.level, step, fall, converged)


def _uniform_gas(space: Space, electrons: float) -> Tensor:
    """Inverse Hessian `[1, m]` of the uniform gas with the same mean density; at G = 0, for a small |G|."""
    density = electrons / volume(space)[:, None]
    fermi = (3 * torch.pi**2 * density) ** (1 / 3)
    g = torch.where(space.g > 1e-9, space.g, 1e-3)
    hessian = 4 * density * (torch.pi**2 / (fermi * lindhard(g / (2 * fermi))) + 4 * torch.pi / g**2)
    return 1 / hessian


def _evaluate(energy: TotalEnergy, phi: Tensor, electrons: float) -> _Point:
    space = energy.space
    phi = phi * (electrons / _product(space, phi, phi)) ** 0.5
    parts, potential = energy(phi**2)
    level = _product(space, phi * potential, phi) / electrons
    return _Point(phi, parts, level, 2 * phi * (potential - level))


def _direction(
    point: _Point, history: list[tuple[Tensor, Tensor, float]], preconditioner: Tensor, space: Space, electrons: float
) -> Tensor:
    """Search direction -H g of L-BFGS (two-loop recursion), tangential to the sphere."""
    scale = 1.0
    if history:
        gradient_change = history[-1][1]
        smooth = space.convolve(gradient_change[:, None], preconditioner[:, None])[:, 0]
        scale = history[-1][2] / _product(space, gradient_change, smooth)
    vector, factors = point.gradient.clone(), []
    for change, gradient_change, curvature in reversed(history):
        factor = _product(space, change, vector) / curvature
        factors.append(factor)
        vector -= factor * gradient_change
    vector = scale * space.convolve(vector[:, None], preconditioner[:, None])[:, 0]
    for (change, gradient_change, curvature), factor in zip(history, reversed(factors), strict=True):
        vector += (factor - _product(space, gradient_change, vector) / curvature) * change
    vector -= point.phi * (_product(space, point.phi, vector) / electrons)
    return -vector


def _line_search(
    energy: TotalEnergy, point: _Point, direction: Tensor, slope: float, electrons: float
) -> _Point | None:
    """Backtrack from the full step to a point with a sufficient decrease of the energy; `None` if there is none.

    If the change of the energy is below its rounding error, the slope at the new point is tested instead.
    """
    length = 1.0
    noise = energy.noise * max(1.0, abs(point.energy))
    while length > SHORTEST:
        new = _evaluate(energy, point.phi + length * direction, electrons)
        change = new.energy - point.energy
        if change == change and change <= 1e-4 * length * slope:
            return new
        if abs(change) < noise and _product(energy.space, new.gradient, direction) <= 0.9 * abs(slope):
            return new
        # minimum of the parabola given by the energy, its slope, and the new energy
        quadratic_term = change - length * slope
        shorter = (
            -0.5 * slope * length**2 / quadratic_term
            if quadratic_term == quadratic_term and quadratic_term > 0
            else 0.0
        )
        length = min(max(shorter, 0.1 * length), 0.5 * length)
    return None


def _product(space: Space, first: Tensor, second: Tensor) -> float:
    return float(integral(space, first * second).sum())
