"""Transport coefficients of an ion at one temperature, with checks of the run.

    transport = analyse(displacements, temperature=600)
    transport.tracer.value, transport.nernst_einstein, transport.verdict
    transport.to_json(); transport.plot(Path("transport.png"))

With N ions of charge q in a volume V:

    σ_NE = N q² D_tracer / (V k T),     σ = N q² D_collective / (V k T),     H = D_tracer / D_collective          (1)

Unless `fit_from` is given, the fits start at the lag at which the tracer MSD is half the square of the jump length, so
that ions have left their sites (He, Zhu & Mo 2018).
"""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from gnnpot.errors import DataError
from gnnpot.properties.conductivity.config import AnalysisConfig
from gnnpot.properties.conductivity.displacements import Displacements
from gnnpot.properties.conductivity.jumps import Jumps, count_jumps
from gnnpot.properties.conductivity.msd import (
    CM2_S,
    Estimate,
    MeanSquare,
    block_slopes,
    chosen_lags,
    collective_msd,
    diffusion_samples,
    estimate_from_blocks,
    estimate_from_samples,
    ion_correlation,
    log_slope,
    tracer_msd,
    with_correlated_ions,
    with_gaussian_variances,
)
from gnnpot.properties.conductivity.verdict import cautions, framework_reasons, slope, too_short, uncertain

#: elementary charge, C
_ELEMENTARY_CHARGE = 1.602176634e-19
#: Boltzmann constant, J/K
_BOLTZMANN = 1.380649e-23
#: Å³ in cm³
_CM3 = 1e-24


@dataclass(frozen=True, slots=True)
class Transport:
    """Transport coefficients of an ion at one temperature, with 95 % intervals."""

    ion: str  #: element
    temperature: float  #: K
    time: float  #: ps, analysed time
    ions: int  #: number of ions N
    atoms: int  #: number of all atoms
    volume: float  #: Å³
    fit_from: float  #: ps, shortest lag time of the fits
    tracer: Estimate  #: cm²/s, D_tracer
    tracer_blocks: Estimate | None  #: cm²/s, D_tracer from block averages; None if the blocks are too short
    collective: Estimate  #: cm²/s, D_collective
    collective_blocks: Estimate | None  #: cm²/s, D_collective from block averages
    axes: tuple[Estimate, ...]  #: cm²/s, D_tracer along the directions of a, b, c
    haven_ratio: Estimate  #: D_tracer / D_collective
    nernst_einstein: Estimate  #: mS/cm, σ_NE from D_tracer
    conductivity: Estimate  #: mS/cm, σ from D_collective
    log_slope: float  #: d ln MSD/d ln τ of the tracer in the range of the fits; 1 for diffusion
    ion_correlation: float  #: factor in the variance of the tracer MSD due to correlated ions; 1 if independent
    framework_diffusion: dict[str, float]  #: cm²/s, slope of the MSD divided by 6, for each other element
    jumps: Jumps
    verdict: tuple[str, ...]  #: reasons why the sampling is too short; empty if it is long enough
    collective_verdict: tuple[str, ...]  #: reasons why it is too short for the collective coefficient only
    framework_verdict: tuple[str, ...]  #: elements of the framework that diffuse, in words; empty if it is solid
    cautions: tuple[str, ...]  #: what to consider besides; leaves the temperature in the fits
    tracer_samples: np.ndarray = field(repr=False)  #: cm²/s, samples of the posterior of D_tracer
    collective_samples: np.ndarray = field(repr=False)  #: cm²/s, samples of the posterior of D_collective
    lags: np.ndarray = field(repr=False)  #: ps, lag times of the MSDs
    tracer_msd: np.ndarray = field(repr=False)  #: Å²
    collective_msd: np.ndarray = field(repr=False)  #: Å²

    @property
    def sufficient(self) -> bool:
        """Whether the tracer coefficient can be fitted: the sampling was long enough, and the framework is solid."""
        return not (self.verdict or self.framework_verdict)

    @property
    def collective_sufficient(self) -> bool:
        """Whether both coefficients can be fitted."""
        return self.sufficient and not self.collective_verdict

    @property
    def framework_share(self) -> dict[str, float]:
        """`framework_diffusion` relative to the tracer diffusion coefficient of the ion."""
        of_ion = self.tracer.value
        return {e: d / of_ion if of_ion > 0 else float("nan") for e, d in self.framework_diffusion.items()}

    def to_json(self) -> dict[str, Any]:
        """All fields except the samples, with units in the keys."""

        def interval(estimate: Estimate | None) -> dict[str, float] | None:
            if estimate is None:
                return None
            return {"value": estimate.value, "low": estimate.low, "high": estimate.high}

        return {
            "ion": self.ion,
            "temperature_K": self.temperature,
            "time_ps": self.time,
            "ions": self.ions,
            "atoms": self.atoms,
            "volume_A3": self.volume,
            "volume_A3_per_atom": self.volume / self.atoms,
            "fit_from_ps": self.fit_from,
            "D_tracer_cm2_s": interval(self.tracer),
            "D_tracer_blocks_cm2_s": interval(self.tracer_blocks),
            "D_collective_cm2_s": interval(self.collective),
            "D_collective_blocks_cm2_s": interval(self.collective_blocks),
            "D_axes_cm2_s": [interval(axis) for axis in self.axes],
            "haven_ratio": interval(self.haven_ratio),
            "sigma_nernst_einstein_mS_cm": interval(self.nernst_einstein),
            "sigma_collective_mS_cm": interval(self.conductivity),
            "log_slope": self.log_slope,
            "ion_correlation": self.ion_correlation,
            "framework_D_cm2_s": self.framework_diffusion,
            "framework_D_relative_to_ion": self.framework_share,
            "jumps": self.jumps.to_json(),
            "sufficient": self.sufficient,
            "verdict": list(self.verdict),
            "sufficient_collective": self.collective_sufficient,
            "verdict_collective": list(self.collective_verdict),
            "verdict_framework": list(self.framework_verdict),
            "cautions": list(self.cautions),
            "msd": {
                "lag_ps": self.lags.tolist(),
                "tracer_A2": self.tracer_msd.tolist(),
                "collective_A2": self.collective_msd.tolist(),
            },
        }

    def plot(self, path: Path) -> None:
        """Save a plot of the mean-square displacements with the fits, as PNG."""
        from gnnpot.properties.conductivity.pictures import draw_msd

        draw_msd([self]).savefig(path)


def conductivity_factor(ions: int, volume: float, temperature: float, charge: float) -> float:
    """Factor σ / D of equation (1), in mS/cm per cm²/s."""
    return 1e3 * ions / (volume * _CM3) * (charge * _ELEMENTARY_CHARGE) ** 2 / (_BOLTZMANN * temperature)


def analyse(moved: Displacements, temperature: float, config: AnalysisConfig | None = None) -> Transport:
    """Calculate transport coefficients from displacements.

    Args:
        moved: Displacements.
        temperature: Temperature of the run, K.
        config: Options; default: `AnalysisConfig()`.

    Returns:
        Transport coefficients with 95 % intervals.

    Raises:
        DataError: `config.discard` leaves too few frames, or the temperature is not positive.
        ValueError: The charge of the ion is not given and has no default.
    """
    config = config or AnalysisConfig()
    if not 0 < temperature < np.inf:
        raise DataError(f"temperature: {temperature} K is not a positive number; give that of the trajectory")
    if config.discard:
        moved = moved.discard(config.discard)
    lags = chosen_lags(len(moved.ions))
    tracer, collective = tracer_msd(moved.ions, lags), collective_msd(moved.ions, lags)
    first = _first_lag(tracer, moved, config)
    fitted = {"tracer": with_correlated_ions(tracer, first), "collective": with_gaussian_variances(collective, first)}
    samples = {name: diffusion_samples(msd, moved.frame_time, first, config.seed) for name, msd in fitted.items()}
    factor = conductivity_factor(moved.ions.shape[1], moved.volume, temperature, config.charge_of(moved.ion))
    found = {name: estimate_from_samples(values) for name, values in samples.items()}
    transport = Transport(
        ion=moved.ion,
        temperature=temperature,
        time=moved.time,
        ions=moved.ions.shape[1],
        atoms=moved.atoms,
        volume=moved.volume,
        fit_from=first * moved.frame_time,
        tracer=found["tracer"],
        tracer_blocks=_blocks(moved, first, config, collective=False),
        collective=found["collective"],
        collective_blocks=_blocks(moved, first, config, collective=True),
        axes=_along_axes(moved, first, config),
        haven_ratio=_ratio(samples["tracer"], samples["collective"], config.seed),
        nernst_einstein=found["tracer"].scaled(factor),
        conductivity=found["collective"].scaled(factor),
        log_slope=log_slope(tracer, first),
        ion_correlation=ion_correlation(tracer, first),
        framework_diffusion={e: slope(positions, moved.frame_time) for e, positions in moved.framework.items()},
        jumps=count_jumps(moved, config.jump_length, found["tracer"].value),
        verdict=(),
        collective_verdict=(),
        framework_verdict=(),
        cautions=(),
        tracer_samples=samples["tracer"],
        collective_samples=samples["collective"],
        lags=lags * moved.frame_time,
        tracer_msd=tracer.values,
        collective_msd=collective.values,
    )
    return _judged(transport, moved, config)


def _judged(t: Transport, moved: Displacements, config: AnalysisConfig) -> Transport:
    """Add the reasons and cautions of `conductivity.verdict`."""
    return replace(
        t,
        verdict=too_short(t, config),
        collective_verdict=uncertain("collective", t.collective, "longer"),
        framework_verdict=framework_reasons(t, moved, config),
        cautions=cautions(t, moved),
    )


def _first_lag(msd: MeanSquare, moved: Displacements, config: AnalysisConfig) -> int:
    """Shortest lag of the fits, in frames."""
    longest = int(msd.lags[-1])
    if config.fit_from is not None:
        first = max(1, round(config.fit_from / moved.frame_time))
    else:
        reached = np.flatnonzero(msd.values >= 0.5 * config.jump_length**2)
        # if the ions have not left their sites, the verdict reports it
        first = int(msd.lags[reached[0]]) if len(reached) else longest // 2
    # the fit needs several lags; the longest lag is half of the run, and 0.6 leaves a fifth of the run
    return int(np.clip(first, 1, max(1, int(0.6 * longest))))


def _blocks(moved: Displacements, first: int, config: AnalysisConfig, *, collective: bool) -> Estimate | None:
    found = estimate_from_blocks(block_slopes(moved.ions, first, config.blocks, collective=collective))
    return None if found is None else found.scaled(CM2_S / moved.frame_time)


def _along_axes(moved: Displacements, first: int, config: AnalysisConfig) -> tuple[Estimate, ...]:
    directions = moved.cell / np.linalg.norm(moved.cell, axis=1, keepdims=True)
    lags = chosen_lags(len(moved.ions))
    found = []
    for direction in directions:
        msd = with_correlated_ions(tracer_msd((moved.ions @ direction.astype(np.float32))[..., None], lags), first)
        found.append(estimate_from_samples(diffusion_samples(msd, moved.frame_time, first, config.seed)))
    return tuple(found)


def _ratio(tracer: np.ndarray, collective: np.ndarray, seed: int) -> Estimate:
    """D_tracer / D_collective with errors taken as independent, since the error of D_collective dominates."""
    rng = np.random.default_rng(seed)
    positive = collective[collective > 0]
    if not len(positive):
        return Estimate(float("nan"), 0.0, float("inf"))
    return estimate_from_samples(rng.choice(tracer, 20_000) / rng.choice(positive, 20_000))
