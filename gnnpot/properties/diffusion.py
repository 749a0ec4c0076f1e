"""Mean-square displacement and diffusion coefficient of an element in a trajectory.

    result = calc(Path("run.traj"), DiffusionConfig(ion="Li", temperature=600))
    result.tracer.value, result.tracer.low, result.tracer.high         # cm²/s, with its interval of 95 %
    result.plot(Path("diffusion.png"))

It is the analysis of `gnnpot.properties.conductivity` for one trajectory (Bayesian regression): tracer and
collective diffusion, Haven ratio, conductivity, jumps, and a verdict whether the sampling is long enough.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from gnnpot.domains import POSITIVE
from gnnpot.properties.conductivity import AnalysisConfig, Transport, analyse, read_displacements


@dataclass(frozen=True, slots=True, kw_only=True)
class DiffusionConfig(AnalysisConfig):
    """Which ion is followed, and how its displacements are analysed.

    Args:
        ion: The element.
        temperature: K, of the trajectory.
        frame_time: fs between frames; default: as the frames say, which those of gnnpot do.
        charge: Of the ion, e, for the conductivity.
        jump_length: Å, about the distance between neighbouring sites.
        fit_from: ps, the shortest time of the fits; default: where atoms have left their sites.
        discard: ps at the start that are left out.
        blocks: Parts of the run whose scatter gives the errors of block averages.
        seed: Of the samples of the posteriors.
    """

    ion: str
    temperature: Annotated[float, POSITIVE]
    frame_time: Annotated[float | None, POSITIVE] = None


def calc(trajectory: Path, config: DiffusionConfig) -> Transport:
    """Diffusion in a trajectory.

    Args:
        trajectory: A file that gnnpot or ASE reads.
        config: The ion, the temperature, and options.

    Returns:
        Coefficients of diffusion (cm²/s) and the ionic conductivity (mS/cm), with intervals of 95 %.

    Raises:
        DataError: The trajectory is too short, or its displacements can't be followed.
    """
    moved = read_displacements(trajectory, config.ion, config.frame_time)
    return analyse(moved, config.temperature, config)
