"""Mean-square displacement and diffusion coefficient of an element in a trajectory.

    result = calc(Path("run.traj"), ion="Li", temperature=600)
    result.tracer.value, result.tracer.low, result.tracer.high         # cm²/s, with its interval of 95 %
    result.plot(Path("diffusion.png"))

It is the analysis of `gnnpot.properties.conductivity` for one trajectory (Bayesian regression by kinisi): tracer and
collective diffusion, Haven ratio, conductivity, jumps, and a verdict whether the sampling is long enough.
"""

from pathlib import Path

from gnnpot.config import from_mapping
from gnnpot.extras import needs_extra
from gnnpot.properties.conductivity import AnalysisConfig, Transport, analyse, read_displacements


def calc(
    trajectory: Path,
    *,
    ion: str,
    temperature: float,
    frame_time: float | None = None,
    charge: float = 1.0,
    jump_length: float = 3.0,
    fit_from: float | None = None,
    discard: float = 0.0,
    seed: int = 0,
) -> Transport:
    """Diffusion in a trajectory.

    Args:
        trajectory: A file that gnnpot or ASE reads.
        ion: The element.
        temperature: K, of the trajectory.
        frame_time: fs between frames; default: as the frames say, which those of gnnpot do.
        charge: Of the ion, e, for the conductivity.
        jump_length: Å, about the distance between neighbouring sites.
        fit_from: ps, the shortest time of the fits; default: where atoms have left their sites.
        discard: ps at the start that are left out.
        seed: Of the sampling of kinisi.

    Raises:
        ConfigError: An option out of its range.
        DataError: The trajectory is too short, or its displacements can't be followed.
        MissingExtraError: kinisi is not installed.
    """
    options = {"charge": charge, "jump_length": jump_length, "fit_from": fit_from, "discard": discard, "seed": seed}
    config = from_mapping(AnalysisConfig, options, where="diffusion")
    moved = read_displacements(trajectory, ion, frame_time)
    with needs_extra("diffusion"):
        return analyse(moved, temperature, config)
