"""Conditions of a study, for its report: potential, options of the simulations, version of gnnpot.

Each temperature of a study has a file `potential.json` with the identity of the potential. It is written when the
simulations have ended; a run is not resumed with another potential.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ase.calculators.calculator import BaseCalculator as AseCalculator

import gnnpot
from gnnpot.properties.conductivity.config import AnalysisConfig, ConductivityConfig
from gnnpot.properties.conductivity.displacements import Displacements
from gnnpot.runs.files import write_text
from gnnpot.runs.json_text import to_json

_POTENTIAL = "potential.json"
#: parameters of gnnpot's calculator that identify a potential
_IDENTITY = ("model", "architecture", "functional", "weights_sha256", "dtype")


def write_potential(calculator: AseCalculator, folder: Path) -> None:
    """Write the identity of the potential into the folder of a temperature. Raises `DataError`."""
    parameters = getattr(calculator, "parameters", {})
    if "weights_sha256" in parameters:
        identity = {name: parameters[name] for name in _IDENTITY}
    else:
        kind = type(calculator)
        identity = {"model": f"{kind.__module__}:{kind.__qualname__}"}
    write_text(folder / _POTENTIAL, to_json(identity) + "\n")


def read_potential(folder: Path) -> dict[str, Any]:
    """Read the identity of the potential; empty if it is not known."""
    try:
        found = json.loads((folder / _POTENTIAL).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def simulation_conditions(
    config: ConductivityConfig, repeats: tuple[int, int, int], folders: Sequence[Path], moved: Sequence[Displacements]
) -> dict[str, Any]:
    """Conditions of a study, as JSON values with units in the keys.

    Args:
        config: Options of the study.
        repeats: Repeats of the structure in the simulated cell.
        folders: Folder of each of `config.temperatures`.
        moved: Displacements at each of `config.temperatures`.
    """
    potentials = [read_potential(folder) for folder in folders]
    distinct = [p for k, p in enumerate(potentials) if p not in potentials[:k]]
    return {
        "gnnpot": gnnpot.__version__,
        "potential": distinct[0] if len(distinct) == 1 else distinct,
        "supercell": list(repeats),
        "volume": config.volume,
        **({} if config.volume == "given" else {"pressure_GPa": config.pressure}),
        "timestep_fs": config.timestep,
        "thermostat": "bussi",
        "thermostat_time_fs": config.thermostat_time,
        "equilibration_ps": config.equilibration,
        "seed": config.seed,
        **_of_analysis(config.ion, config.analysis),
        "runs": [
            {"temperature_K": t, "seed": config.seed + k, **_of_frames(moved[k])}
            for k, t in sorted(enumerate(config.temperatures), key=lambda item: item[1])
        ],
    }


def trajectory_conditions(
    paths: Sequence[Path], moved: Sequence[Displacements], temperatures: Sequence[float], config: AnalysisConfig
) -> dict[str, Any]:
    """What is known of trajectories that were not simulated here, as JSON values with units in the keys."""
    rows = zip(paths, moved, temperatures, strict=True)
    return {
        "gnnpot": gnnpot.__version__,
        **_of_analysis(moved[0].ion, config),
        "runs": [{"temperature_K": t, "trajectory": str(path), **_of_frames(m)} for path, m, t in rows],
    }


def _of_analysis(ion: str, config: AnalysisConfig) -> dict[str, Any]:
    return {
        "ion": ion,
        "charge_e": config.charge_of(ion),
        "jump_length_A": config.jump_length,
        "fit_from_ps": config.fit_from,
        "discard_ps": config.discard,
        "framework_limit": config.framework_limit,
        "blocks": config.blocks,
    }


def _of_frames(moved: Displacements) -> dict[str, Any]:
    return {
        "frames": len(moved.ions),
        "frame_time_fs": 1000 * moved.frame_time,
        "ions": moved.ions.shape[1],
        "atoms": moved.atoms,
        "volume_A3": moved.volume,
    }
