"""Arrhenius fits: activation energy, and extrapolation to other temperatures.

    fit = fit_arrhenius(temperatures, samples)
    fit.activation_energy, fit.at(300.0)

    ln D = ln D_0 - E_a / (k T),      ln(σ T) = ln(σ_0) - E_a / (k T)                                          (1)

Lines are fitted by weighted least squares, one to each sample of ln D (or ln σT) from the posteriors of the runs; their
distribution gives the intervals. If the points scatter about the line by more than their errors (χ² per degree of
freedom above 1), deviations from the mean line are multiplied by the square root of χ² per degree of freedom.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from gnnpot.errors import DataError
from gnnpot.properties.conductivity.msd import Estimate, estimate_from_samples
from gnnpot.units import BOLTZMANN

_DRAWS = 5000


@dataclass(frozen=True, slots=True)
class ArrheniusFit:
    """Fit of equation (1), with 95 % intervals."""

    activation_energy: Estimate  #: eV
    prefactor: Estimate  #: D_0 or σ_0, in the units of D or σT
    scatter: float  #: χ² per degree of freedom; NaN for two temperatures
    temperatures: tuple[float, ...]  #: K, temperatures of the points
    of_product: bool  #: whether σT was fitted instead of D
    slopes: np.ndarray = field(repr=False)  #: [draws], -E_a/k in K
    intercepts: np.ndarray = field(repr=False)  #: [draws]

    def at(self, temperature: float) -> Estimate:
        """D or σ at a temperature (K)."""
        values = np.exp(self.intercepts + self.slopes / temperature)
        return estimate_from_samples(values / temperature if self.of_product else values)


def fit_arrhenius(
    temperatures: Sequence[float], samples: Sequence[np.ndarray], *, of_product: bool, seed: int = 0
) -> ArrheniusFit:
    """Fit equation (1) to samples of D or σ at each temperature.

    Args:
        temperatures: Temperatures, K.
        samples: Samples of D or σ for each temperature; those that are not positive are left out.
        of_product: Fit the samples times T, as for a conductivity.
        seed: Random seed.

    Raises:
        DataError: There are fewer than two temperatures, or there is one without positive samples.
    """
    if len(temperatures) < 2:
        raise DataError("activation energy: needs two temperatures or more")
    rng = np.random.default_rng(seed)
    inverse = 1 / np.array(temperatures, dtype=float)
    drawn = np.empty((_DRAWS, len(inverse)))
    for k, (temperature, values) in enumerate(zip(temperatures, samples, strict=True)):
        positive = values[values > 0]
        if not len(positive):
            raise DataError(f"activation energy: nothing diffuses at {temperature:g} K; leave it out")
        drawn[:, k] = np.log(rng.choice(positive, _DRAWS) * (temperature if of_product else 1.0))
    middle, errors = np.median(drawn, axis=0), np.maximum(drawn.std(axis=0), 1e-6)
    weights = 1 / errors
    design = np.stack([np.ones_like(inverse), inverse], axis=1) * weights[:, None]
    solve = np.linalg.pinv(design)
    line = solve @ (middle * weights)
    freedom = len(inverse) - 2
    left = (middle - line[0] - line[1] * inverse) * weights
    scatter = float(np.square(left).sum() / freedom) if freedom else float("nan")
    lines = (drawn * weights) @ solve.T
    lines = line + (lines - line) * max(1.0, np.sqrt(scatter) if freedom else 1.0)
    energies = estimate_from_samples(-BOLTZMANN * lines[:, 1])
    return ArrheniusFit(
        activation_energy=energies,
        prefactor=estimate_from_samples(np.exp(lines[:, 0])),
        scatter=scatter,
        temperatures=tuple(float(t) for t in temperatures),
        of_product=of_product,
        slopes=lines[:, 1],
        intercepts=lines[:, 0],
    )
