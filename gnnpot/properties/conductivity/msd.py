"""Mean-square displacements, and diffusion coefficients with 95 % intervals.

For M ions in d dimensions, with averages over times t and, for the tracer, over ions i,

    MSD_tracer(τ)     = < |r_i(t + τ) - r_i(t)|² >            -> 2 d D_tracer τ + c                            (1)
    MSD_collective(τ) = < |Σ_i r_i(t + τ) - r_i(t)|² > / M    -> 2 d D_collective τ + c                        (2)

| estimate | method                                                                                                 |
|----------|--------------------------------------------------------------------------------------------------------|
| Bayesian | line through the MSD with the covariance of a random walk (McCluskey et al. 2025, as in kinisi)        |
| blocks   | slope in each of B blocks of the run; mean and Student's t interval with B - 1 degrees of freedom      |

The covariance of the MSD at lags τ <= τ' is that of a random walk, v(τ) n(τ)/n(τ'), with the variance v of the MSD and
the number n of independent displacements. The posterior of slope and intercept is then the Gaussian of generalised
least squares, truncated to D >= 0. It is calculated analytically instead of by Markov chain Monte Carlo: the chains of
kinisi start with an intercept of zero, and do not reach the posterior in some hundred steps if ions vibrate in their
sites, so that the line does not pass through zero.

For the tracer, v is the variance of the squared displacements divided by n = M T/τ, as for independent ions, times a
factor for ions that move together. With the squared displacements s_i(t) = |r_i(t + τ) - r_i(t)|²,

    F(τ) = M Var_t(<s_i(t)>_i) / Var_it(s_i(t)) / (1 - τ/T)                                                    (3)

is the variance of their mean over ions, relative to that of independent ions; the last factor is that of a variance of
T/τ values. The mean of F over the lags of the fit, weighted by T/τ, is used, or 1 if it is less. For random walks of
ions of which up to 20 jump at a time, 96 % of the intervals contain the true value, and 72 % without this factor
(`docs/checks/diffusion_intervals.json`).

Collective displacements are so few that the variance of their squares would have large errors, and only 86 % of the
intervals would contain the true value. Since they are sums over many ions, they are Gaussian, with
v = 2/d (2 d D τ)²/(T/τ) for the D of a first fit.

McCluskey, Coles, Morgan, J. Chem. Theory Comput. 21, 79 (2025).
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy.stats import t as student_t
from scipy.stats import truncnorm

#: number of lags of a mean-square displacement
_LAGS = 40
#: longest lag, as a fraction of the run
_LONGEST = 0.5
#: eigenvalues of a covariance below this fraction of the largest are left out of its inverse
_CONDITION = 1e-12
#: number of samples of a posterior
SAMPLES = 20_000
#: Å²/ps in cm²/s
CM2_S = 1e-4


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with its 95 % interval."""

    value: float
    low: float
    high: float

    def holds(self, truth: float) -> bool:
        """Whether the interval contains a value."""
        return self.low <= truth <= self.high

    def scaled(self, factor: float) -> "Estimate":
        return Estimate(*sorted_interval(factor * self.value, factor * self.low, factor * self.high))

    @property
    def relative(self) -> float:
        """Half the width of the interval divided by the value."""
        return (self.high - self.low) / (2 * abs(self.value)) if self.value else np.inf


def sorted_interval(value: float, low: float, high: float) -> tuple[float, float, float]:
    """Return the value, and the ends of its interval in ascending order."""
    return value, min(low, high), max(low, high)


def estimate_from_samples(samples: np.ndarray) -> Estimate:
    """Median, and the interval from the 2.5th to the 97.5th percentile."""
    low, middle, high = np.percentile(samples, (2.5, 50, 97.5))
    return Estimate(float(middle), float(low), float(high))


@dataclass(frozen=True, slots=True)
class MeanSquare:
    """A mean-square displacement."""

    lags: np.ndarray  #: [L] frames
    values: np.ndarray  #: [L] Å²
    variances: np.ndarray  #: [L] Å⁴, variances v of the values
    independent: np.ndarray  #: [L] number n of independent displacements
    dimensions: int  #: d
    correlation: np.ndarray  #: [L] F of equation (3); 1 for a collective MSD


def chosen_lags(frames: int) -> np.ndarray:
    """Lags in frames, evenly spaced from 1 to half of the run."""
    return np.unique(np.linspace(1, max(2, _LONGEST * frames), _LAGS).astype(int))


def tracer_msd(positions: np.ndarray, lags: np.ndarray) -> MeanSquare:
    """Tracer MSD (1) of positions [T, M, d]."""
    frames, ions, dimensions = positions.shape
    values, variances, independent, correlation = (np.empty(len(lags)) for _ in range(4))
    for k, lag in enumerate(lags):
        squares = np.square(positions[lag:] - positions[:-lag]).sum(axis=-1, dtype=np.float64)
        variance = squares.var()
        independent[k] = ions * frames / lag
        values[k] = squares.mean()
        variances[k] = variance / independent[k]
        correlation[k] = ions * squares.mean(axis=1).var() / variance / (1 - lag / frames) if variance > 0 else 1.0
    return MeanSquare(lags, values, variances, independent, dimensions, correlation)


def collective_msd(positions: np.ndarray, lags: np.ndarray) -> MeanSquare:
    """Collective MSD (2) of positions [T, M, d]."""
    frames, ions, dimensions = positions.shape
    total = positions.sum(axis=1, dtype=np.float64) / np.sqrt(ions)
    values = np.array([np.square(total[lag:] - total[:-lag]).sum(axis=-1).mean() for lag in lags])
    independent = frames / lags
    variances = 2 / dimensions * values**2 / independent
    return MeanSquare(lags, values, variances, independent, dimensions, np.ones(len(lags)))


def ion_correlation(msd: MeanSquare, first: int) -> float:
    """Mean of F (3) over the lags from `first` on, at least 1."""
    used = msd.lags >= first
    return max(1.0, float(np.average(msd.correlation[used], weights=1 / msd.lags[used])))


def with_correlated_ions(msd: MeanSquare, first: int) -> MeanSquare:
    """Multiply the variances of a tracer MSD by `ion_correlation`."""
    return replace(msd, variances=msd.variances * ion_correlation(msd, first))


def with_gaussian_variances(msd: MeanSquare, first: int) -> MeanSquare:
    """Replace the variances by those of a Gaussian random walk with the slope of the MSD from lag `first` on."""
    used = msd.lags >= first
    slope = np.average(msd.values[used] / msd.lags[used], weights=msd.independent[used])
    return replace(msd, variances=2 / msd.dimensions * (slope * msd.lags) ** 2 / msd.independent)


def covariance(msd: MeanSquare) -> np.ndarray:
    """Covariance of the values of an MSD for a random walk, [L, L] Å⁴."""
    # the row is the shorter lag
    upper = np.triu(msd.variances[:, None] * msd.independent[:, None] / msd.independent[None, :])
    return upper + np.triu(upper, 1).T


def diffusion_samples(msd: MeanSquare, frame_time: float, first: int, seed: int) -> np.ndarray:
    """Sample the posterior of the diffusion coefficient, given the MSD.

    Args:
        msd: Mean-square displacement.
        frame_time: Time between frames, ps.
        first: Shortest lag of the fit, frames.
        seed: Random seed.

    Returns:
        Independent samples of the diffusion coefficient, [20000] cm²/s.
    """
    used = msd.lags >= first
    line = np.stack([msd.lags[used] * frame_time, np.ones(used.sum())], axis=1)
    # the covariance of a short run may not be positive definite; small and negative eigenvalues are left out
    values, vectors = np.linalg.eigh(covariance(msd)[np.ix_(used, used)])
    kept = values > _CONDITION * values[-1]
    weights = (vectors[:, kept] / values[kept]) @ vectors[:, kept].T
    spread = np.linalg.pinv(line.T @ weights @ line, hermitian=True)
    slope, error = (spread @ line.T @ weights @ msd.values[used])[0], np.sqrt(spread[0, 0])
    if not error > 0:
        return np.full(SAMPLES, max(slope, 0.0)) / (2 * msd.dimensions) * CM2_S
    # truncated, since the slope can't be negative
    samples = truncnorm.rvs(-slope / error, np.inf, slope, error, SAMPLES, random_state=np.random.default_rng(seed))
    return samples / (2 * msd.dimensions) * CM2_S


def block_slopes(positions: np.ndarray, first: int, blocks: int, *, collective: bool) -> np.ndarray:
    """Diffusion coefficient (Å²/frame) in each block of the run, from lags between `first` and a quarter of a block."""
    length = len(positions) // blocks
    last = max(length // 4, first + 2)
    if last >= length - 1:
        return np.full(blocks, np.nan)
    lags = np.unique(np.linspace(first, last, 8).astype(int))
    slopes = np.empty(blocks)
    for k in range(blocks):
        part = positions[k * length : (k + 1) * length]
        msd = (collective_msd if collective else tracer_msd)(part, lags)
        slopes[k] = np.polyfit(lags, msd.values, 1)[0] / (2 * positions.shape[2])
    return slopes


def estimate_from_blocks(slopes: np.ndarray) -> Estimate | None:
    """Mean and Student's t interval; None if the blocks are too short for a slope."""
    if not np.isfinite(slopes).all():
        return None
    count = len(slopes)
    error = student_t.ppf(0.975, count - 1) * slopes.std(ddof=1) / np.sqrt(count)
    return Estimate(float(slopes.mean()), float(slopes.mean() - error), float(slopes.mean() + error))


def log_slope(msd: MeanSquare, first: int) -> float:
    """d ln MSD / d ln τ from lag `first` on: 1 for diffusion."""
    later = (msd.lags >= first) & (msd.values > 0)
    if later.sum() < 3:
        return float("nan")
    return float(np.polyfit(np.log(msd.lags[later]), np.log(msd.values[later]), 1)[0])
