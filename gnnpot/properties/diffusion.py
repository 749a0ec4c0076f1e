"""Mean-square displacement and diffusion coefficient of an element in a trajectory.

    result = calc(Path("run.traj"), DiffusionConfig(ion="Li", temperature=600))
    result.tracer.value, result.tracer.low, result.tracer.high         # cm²/s, with the 95 % interval
    result.plot(Path("diffusion.png"))

This is the analysis of `gnnpot.properties.conductivity` (Bayesian regression) for a single trajectory: tracer and
collective diffusion, Haven ratio, conductivity, jumps, and a check that the sampling is long enough.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from gnnpot.domains import POSITIVE
from gnnpot.properties.conductivity import AnalysisConfig, Transport, analyse, read_displacements


@dataclass(frozen=True, slots=True, kw_only=True)
class DiffusionConfig(AnalysisConfig):
    """Options of `calc`.

    Args:
        ion: Element whose diffusion is analysed.
        temperature: K, temperature of the trajectory.
        frame_time: fs, time between frames; default: read from the frames, for trajectories of gnnpot.
        types: Elements of the types 1, 2, ... of a LAMMPS dump without elements.
        charge: Charge of the ion in units of e, for the conductivity.
        jump_length: Å, approximate distance between neighbouring sites.
        fit_from: ps, shortest lag time of the fits; default: the time at which ions have left their sites.
        discard: ps, initial part of the trajectory that is left out.
        framework_limit: Largest diffusion coefficient of another element, relative to the ion's, of a solid framework.
        blocks: Number of blocks for block averages and their errors.
        seed: Random seed for samples of the posteriors.
    """

    ion: str
    temperature: Annotated[float, POSITIVE]
    frame_time: Annotated[float | None, POSITIVE] = None
    types: tuple[str, ...] = ()


def calc(trajectory: Path, config: DiffusionConfig) -> Transport:
    """Calculate diffusion coefficients from a trajectory.

    Args:
        trajectory: Any trajectory that gnnpot or ASE can read.
        config: Ion, temperature, and options.

    Returns:
        Diffusion coefficients (cm²/s) and ionic conductivity (mS/cm), with 95 % intervals.

    Raises:
        DataError: The trajectory is too short, or its displacements can't be unwrapped.
    """
    moved = read_displacements(trajectory, config.ion, config.frame_time, config.types)
    return analyse(moved, config.temperature, config)
