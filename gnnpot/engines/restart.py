"""Restart files of molecular dynamics, from which a run resumes with the same numbers.

The state of a run is a dictionary of JSON values, besides the positions, momenta and cell of the atoms. ASE
trajectories contain it in each frame. Between their frames, and for other formats, all four are saved in a restart
file, such as `run.extxyz.restart`: a NumPy archive that is replaced atomically, so a killed process leaves the last
state or the one before.
"""

import hashlib
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from gnnpot.errors import ConfigError, DataError
from gnnpot.runs.files import replaced_file

#: eV per atom and eV/Å, differences allowed between processes for the same potential in single precision
_ENERGY_NOISE, _FORCE_NOISE = 2e-5, 2e-3


def restart_path(trajectory: Path) -> Path:
    """Path of the restart file of a trajectory."""
    return trajectory.with_name(f"{trajectory.name}.restart")


def write_restart(path: Path, atoms: Atoms, state: dict[str, Any]) -> None:
    """Write or replace a restart file. Raises `DataError` if it can't be written."""
    buffer = io.BytesIO()
    arrays = {"positions": atoms.positions, "momenta": atoms.get_momenta(), "cell": atoms.cell.array}
    np.savez(buffer, state=np.frombuffer(json.dumps(state).encode(), dtype=np.uint8), **arrays)
    try:
        # not durable: it is written often, and waiting for the disk each time costs more than a loss in a system crash
        with replaced_file(path, durable=False) as file:
            file.write(buffer.getbuffer())
    except OSError as error:
        raise DataError(f"{path}: can't be written ({error.strerror}); free some space and resume") from None


def read_restart(path: Path, atoms: Atoms) -> dict[str, Any]:
    """Set positions, momenta and cell of `atoms` to those in `path`, and return the state. Raises `DataError`."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            state = json.loads(archive["state"].tobytes())
            arrays = {name: archive[name] for name in ("positions", "momenta", "cell")}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: can't be read as the state of a run ({error}); start without resuming") from None
    if arrays["positions"].shape != atoms.positions.shape:
        raise DataError(
            f"{path}: is the state of {len(arrays['positions'])} atoms, not {len(atoms)}; give its structure"
        )
    atoms.set_cell(arrays["cell"])
    atoms.positions[:] = arrays["positions"]
    atoms.set_momenta(arrays["momenta"], apply_constraint=False)
    return state


def structure_identity(atoms: Atoms, velocities: bool) -> str:
    """SHA-256 of an initial structure, optionally with its velocities."""
    digest = hashlib.sha256()
    parts = [atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc, atoms.get_masses()]
    parts += [atoms.get_momenta()] if velocities else []
    for constraint in atoms.constraints:
        digest.update(json.dumps(constraint.todict(), sort_keys=True, default=_plain).encode())
    for part in parts:
        digest.update(np.ascontiguousarray(part).tobytes())
    return digest.hexdigest()


def fingerprint(atoms: Atoms) -> dict[str, float]:
    """Energy (eV) and largest force (eV/Å) of `atoms`, by which potentials are distinguished."""
    forces = atoms.get_forces(apply_constraint=False)
    return {"energy": float(atoms.get_potential_energy()), "force": float(np.linalg.norm(forces, axis=1).max())}


def check_fingerprint(before: dict[str, float], atoms: Atoms, where: str) -> None:
    """Raise `ConfigError` if the energy and forces of `atoms` differ from the fingerprint of the run."""
    now = fingerprint(atoms)
    energy = abs(now["energy"] - before["energy"]) / len(atoms)
    force = abs(now["force"] - before["force"])
    # negated <=, so that NaN counts as different
    if not (energy <= _ENERGY_NOISE and force <= _FORCE_NOISE * max(1.0, before["force"])):
        raise ConfigError(
            f"{where}: was run with another potential: that of the run gives {before['energy']:.5f} eV and a largest "
            f"force of {before['force']:.4f} eV/Å for the last state, this one {now['energy']:.5f} and "
            f"{now['force']:.4f}; resume with the same potential"
        )


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else str(value)
