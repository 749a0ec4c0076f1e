"""Mean-square displacements over lags, and diffusion coefficients of them with 95 % intervals.

For M ions in d dimensions, averaged over times t and, for the tracer, over ions i,

    MSD_tracer(τ)     = < |r_i(t + τ) - r_i(t)|² >            -> 2 d D_tracer τ + c                            (1)
    MSD_collective(τ) = < |Σ_i r_i(t + τ) - r_i(t)|² > / M    -> 2 d D_collective τ + c                        (2)

| estimate | what it is                                                                                            |
|----------|-------------------------------------------------------------------------------------------------------|
| Bayesian | line through the MSD with the covariance of a random walk (McCluskey et al. 2025, as in kinisi)        |
| blocks   | the slope in each of B parts of the run; mean and Student's t interval of B - 1 degrees of freedom     |

The covariance of the MSD at lags τ <= τ' is that of a random walk, v(τ) n(τ)/n(τ'), with the variance v of the MSD and
the number n of independent displacements. The posterior of slope and intercept is then a Gaussian, that of generalised
least squares, cut off where D < 0. It is calculated, not sampled: kinisi's chains begin with an intercept of zero in
all walkers, and some hundred steps do not reach the posterior where ions rattle in their sites, and the line does not
pass through zero.

The variances v are those of the squared displacements over n = M T/τ. Of the collective motion there are so few that
these variances would follow the chances of the run, and intervals hold the truth in 86 % of cases; it is a sum of many
ions and so Gaussian, for which they are 2/d (2 d D τ)²/(T/τ), with the D of a first fit.

McCluskey, Coles, Morgan, J. Chem. Theory Comput. 21, 79 (2025).
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy.stats import t as student_t
from scipy.stats import truncnorm

#: lags of a mean-square displacement
_LAGS = 40
#: the longest lag, as a share of the run
_LONGEST = 0.5
#: smallest eigenvalue of a covariance over the largest
_CONDITION = 1e-12
#: of a posterior
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
        """Whether the interval holds a value."""
        return self.low <= truth <= self.high

    def scaled(self, factor: float) -> "Estimate":
        return Estimate(*sorted_interval(factor * self.value, factor * self.low, factor * self.high))

    @property
    def relative(self) -> float:
        """Half the interval over the value."""
        return (self.high - self.low) / (2 * abs(self.value)) if self.value else np.inf


def sorted_interval(value: float, low: float, high: float) -> tuple[float, float, float]:
    """The value, and the ends of its interval in order."""
    return value, min(low, high), max(low, high)


def of_samples(samples: np.ndarray) -> Estimate:
    """Median, 2.5 and 97.5 %."""
    low, middle, high = np.percentile(samples, (2.5, 50, 97.5))
    return Estimate(float(middle), float(low), float(high))


@dataclass(frozen=True, slots=True)
class MeanSquare:
    """A mean-square displacement."""

    lags: np.ndarray  #: [L], frames
    values: np.ndarray  #: [L], Å²
    variances: np.ndarray  #: [L], Å⁴, of the values
    independent: np.ndarray  #: [L], number of independent displacements
    dimensions: int


def chosen_lags(frames: int) -> np.ndarray:
    """Lags in frames, evenly from 1 to half of the run."""
    return np.unique(np.linspace(1, max(2, _LONGEST * frames), _LAGS).astype(int))


def tracer_msd(positions: np.ndarray, lags: np.ndarray) -> MeanSquare:
    """(1) of positions [T, M, d]."""
    frames, ions, dimensions = positions.shape
    values, variances, independent = (np.empty(len(lags)) for _ in range(3))
    for k, lag in enumerate(lags):
        squares = np.square(positions[lag:] - positions[:-lag]).sum(axis=-1, dtype=np.float64)
        independent[k] = ions * frames / lag
        values[k] = squares.mean()
        variances[k] = squares.var() / independent[k]
    return MeanSquare(lags, values, variances, independent, dimensions)


def collective_msd(positions: np.ndarray, lags: np.ndarray) -> MeanSquare:
    """(2) of positions [T, M, d]."""
    frames, ions, dimensions = positions.shape
    total = positions.sum(axis=1, dtype=np.float64) / np.sqrt(ions)
    values = np.array([np.square(total[lag:] - total[:-lag]).sum(axis=-1).mean() for lag in lags])
    independent = frames / lags
    return MeanSquare(lags, values, 2 / dimensions * values**2 / independent, independent, dimensions)


def with_gaussian_variances(msd: MeanSquare, first: int) -> MeanSquare:
    """The variances of a random walk whose slope is that of the MSD from lag `first` on."""
    used = msd.lags >= first
    slope = np.average(msd.values[used] / msd.lags[used], weights=msd.independent[used])
    return replace(msd, variances=2 / msd.dimensions * (slope * msd.lags) ** 2 / msd.independent)


def covariance(msd: MeanSquare) -> np.ndarray:
    """[L, L], Å⁴, of the values of an MSD, as that of a random walk."""
    # row: the shorter lag
    upper = np.triu(msd.variances[:, None] * msd.independent[:, None] / msd.independent[None, :])
    return upper + np.triu(upper, 1).T


def diffusion_samples(msd: MeanSquare, frame_time: float, first: int, seed: int) -> np.ndarray:
    """Samples of the diffusion coefficient given the MSD.

    Args:
        msd: the mean-square displacement.
        frame_time: ps.
        first: lag in frames at which the line begins.
        seed: of the samples.

    Returns:
        [20000], cm²/s, independent samples of the posterior.
    """
    used = msd.lags >= first
    line = np.stack([msd.lags[used] * frame_time, np.ones(used.sum())], axis=1)
    # variances of a short run need not make a positive definite matrix: what is not is left out of its inverse
    values, vectors = np.linalg.eigh(covariance(msd)[np.ix_(used, used)])
    kept = values > _CONDITION * values[-1]
    weights = (vectors[:, kept] / values[kept]) @ vectors[:, kept].T
    spread = np.linalg.pinv(line.T @ weights @ line, hermitian=True)
    slope, error = (spread @ line.T @ weights @ msd.values[used])[0], np.sqrt(spread[0, 0])
    if not error > 0:
        return np.full(SAMPLES, max(slope, 0.0)) / (2 * msd.dimensions) * CM2_S
    # the slope is not negative
    samples = truncnorm.rvs(-slope / error, np.inf, slope, error, SAMPLES, random_state=np.random.default_rng(seed))
    return samples / (2 * msd.dimensions) * CM2_S


def block_slopes(positions: np.ndarray, first: int, blocks: int, *, collective: bool) -> np.ndarray:
    """Diffusion coefficient (Å²/frame) in each part of the run, of lags from `first` to a quarter of a part."""
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


def of_blocks(slopes: np.ndarray) -> Estimate | None:
    """Mean and Student's interval; None if the parts are too short for a slope."""
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
