"""Mean-square displacements over lags, and diffusion coefficients of them with 95 % intervals.

For M ions in d dimensions, averaged over times t and, for the tracer, over ions i,

    MSD_tracer(τ)     = < |r_i(t + τ) - r_i(t)|² >            -> 2 d D_tracer τ + c                            (1)
    MSD_collective(τ) = < |Σ_i r_i(t + τ) - r_i(t)|² > / M    -> 2 d D_collective τ + c                        (2)

| estimate | what it is                                                                                            |
|----------|-------------------------------------------------------------------------------------------------------|
| kinisi   | Bayesian line through the MSD with the covariance of a random walk (McCluskey et al. 2025, kinisi 2)   |
| blocks   | the slope in each of B parts of the run; mean and Student's t interval of B - 1 degrees of freedom     |

The variances that kinisi needs are those of the squared displacements over the number of independent ones, M T/τ. Of
the collective motion there are so few that these variances would follow the chances of the run, and intervals hold the
truth in 86 % of cases; it is a sum of many ions and so Gaussian, for which they are 2/d (2 d D τ)²/(T/τ), with the D of
a first fit.
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy.stats import t as student_t

from gnnpot.errors import DataError

#: lags of a mean-square displacement
_LAGS = 40
#: the longest lag, as a share of the run
_LONGEST = 0.5
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


def kinisi_samples(msd: MeanSquare, frame_time: float, fit_from: float, seed: int) -> np.ndarray:
    """Samples of the diffusion coefficient (cm²/s) given the MSD from lag `fit_from` (ps) on."""
    try:
        import scipp as sc
        from kinisi.diffusion import Diffusion
    except ImportError:
        raise DataError("kinisi is not installed; run pip install 'gnnpot[properties]'") from None
    lags = msd.lags * frame_time
    data = sc.DataArray(
        data=sc.Variable(dims=["time interval"], values=msd.values, variances=msd.variances, unit="angstrom^2"),
        coords={
            "time interval": sc.array(dims=["time interval"], values=lags, unit="ps"),
            "n_samples": sc.array(dims=["time interval"], values=msd.independent),
        },
    )
    fit = Diffusion(sc.DataGroup({"da": data, "dimensionality": sc.scalar(float(msd.dimensions))}))
    # kinisi seeds NumPy's global generator, which is the caller's
    before = np.random.get_state()  # noqa: NPY002
    try:
        fit.bayesian_regression(
            sc.scalar(fit_from, unit="ps"),
            n_samples=400,
            n_burn=300,
            progress=False,
            random_state=np.random.RandomState(seed),
        )
    finally:
        np.random.set_state(before)  # noqa: NPY002
    return np.asarray(fit.gradient.values) / (2 * msd.dimensions) * CM2_S


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
