"""Checks of a run: whether its sampling is long enough, whether the framework is solid, and cautions.

    reasons = too_short(transport, config)
    reasons = framework_reasons(transport, moved, config)

An element of the framework diffuses if the slope of its mean-square displacement between a quarter and half of the run
is above `AnalysisConfig.framework_limit` times that of the ion, and the interval of its diffusion coefficient, from
the same fit as the ion's, is above that limit too and narrow. Vibrations and rotations of molecular ions have no slope
at long times, and the noise of a short run has a wide interval.
"""

from typing import TYPE_CHECKING

import numpy as np

from gnnpot.properties.conductivity.config import AnalysisConfig
from gnnpot.properties.conductivity.displacements import Displacements
from gnnpot.properties.conductivity.msd import (
    CM2_S,
    Estimate,
    diffusion_samples,
    estimate_from_samples,
    tracer_msd,
)

if TYPE_CHECKING:
    from gnnpot.properties.conductivity.transport import Transport

# a run is too short if one of these limits is violated
_WIDEST = 0.5  #: largest half width of an interval, relative to its value
_FEWEST_JUMPS = 50  #: smallest number of jumps of all ions, N MSD(T/2)/a²
_STRAIGHTEST = 0.15  #: largest difference of d ln MSD/d ln τ from 1

#: largest relative half width of an interval at which an element diffuses; for a slope of zero it is above 1.5
_WIDEST_FRAMEWORK = 0.75
#: number of lags of the fit of an element of the framework
_FRAMEWORK_LAGS = 12


def too_short(t: "Transport", config: AnalysisConfig) -> tuple[str, ...]:
    """Reasons why the sampling is too short for the tracer coefficient; empty if it is long enough."""
    found = []
    jumps = t.ions * t.tracer_msd[-1] / config.jump_length**2
    if not _left_their_sites(t, config):
        found.append(
            f"in half of the run an ion moves by {np.sqrt(t.tracer_msd[-1]):.2f} Å (root mean square), less than "
            f"from site to site ({config.jump_length:g} Å); run longer or hotter"
        )
    elif jumps < _FEWEST_JUMPS:
        found.append(f"all ions together jump about {jumps:.0f} times, fewer than {_FEWEST_JUMPS}; run longer")
    if abs(t.log_slope - 1) > _STRAIGHTEST:
        found.append(
            f"the mean-square displacement grows as the time to the power {t.log_slope:.2f}, which is no diffusion; "
            "run longer, or begin the fit later"
        )
    return (*found, *uncertain("tracer", t.tracer, "longer, or more ions"))


def uncertain(name: str, estimate: Estimate, what: str) -> tuple[str, ...]:
    """Reason why a diffusion coefficient is too uncertain; empty if it is not."""
    if estimate.relative <= _WIDEST:
        return ()
    return (f"the {name} diffusion coefficient is uncertain by {100 * estimate.relative:.0f} %; run {what}",)


def framework_reasons(t: "Transport", moved: Displacements, config: AnalysisConfig) -> tuple[str, ...]:
    """Elements of the framework that diffuse, in words; empty if none does, or if the ions have not left their sites.

    Args:
        t: Transport coefficients of the run.
        moved: The displacements that they were calculated from.
        config: Options; `framework_limit` is the limit.
    """
    if not _left_their_sites(t, config):
        return ()
    found = []
    limit = config.framework_limit
    for element, share in sorted(t.framework_share.items(), key=lambda item: -item[1]):
        if share > limit and _diffuses(t, moved.framework[element], moved.frame_time, limit, config.seed):
            found.append(
                f"{element} diffuses at {100 * share:.2g} % of {t.ion}'s coefficient: the framework melts or reacts; "
                f"leave this temperature out (if {element} is a mobile ion too, raise the limit: --framework-limit)"
            )
    return tuple(found)


def cautions(t: "Transport", moved: Displacements) -> tuple[str, ...]:
    """What to consider besides; none of it leaves a temperature out of the fits."""
    found = []
    fit, blocks = t.tracer, t.tracer_blocks
    if blocks is not None and (blocks.low > fit.high or blocks.high < fit.low):
        found.append(
            f"the intervals of the tracer diffusion coefficient do not overlap: {fit.low:.3g} to {fit.high:.3g} cm²/s "
            f"from the fit, {blocks.low:.3g} to {blocks.high:.3g} from blocks; the run may not be stationary, or too "
            "short for rare jumps"
        )
    if not t.framework_diffusion:
        found.append(f"the trajectory has no element besides {t.ion}: whether a framework melts can't be seen")
    if moved.vacuum:
        where = " and ".join("abc"[k] for k in moved.vacuum)
        found.append(
            f"along {where} the cell has a vacuum or is not periodic: the conductivities are those of the whole "
            "volume, with the vacuum"
        )
    return tuple(found)


def slope(positions: np.ndarray, frame_time: float) -> float:
    """Diffusion coefficient (cm²/s) from the slope of the MSD at lags between a quarter and half of the run."""
    frames = len(positions)
    lags = np.unique(np.linspace(frames // 4, frames // 2, 5).astype(int))
    return float(np.polyfit(lags * frame_time, tracer_msd(positions, lags).values, 1)[0] / 6 * CM2_S)


def _left_their_sites(t: "Transport", config: AnalysisConfig) -> bool:
    return bool(t.tracer_msd[-1] >= 0.5 * config.jump_length**2)


def _diffuses(t: "Transport", positions: np.ndarray, frame_time: float, limit: float, seed: int) -> bool:
    """Whether the interval of an element's diffusion coefficient is above `limit` times the ion's, and narrow."""
    first = round(t.fit_from / frame_time)
    lags = np.unique(np.linspace(first, len(positions) // 2, _FRAMEWORK_LAGS).astype(int))
    found = estimate_from_samples(diffusion_samples(tracer_msd(positions, lags), frame_time, first, seed))
    return found.relative < _WIDEST_FRAMEWORK and found.low > limit * t.tracer.value
