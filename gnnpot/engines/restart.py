"""The state of a run of molecular dynamics on disk, from which it resumes to the same numbers.

A state is a dictionary of JSON values; positions, momenta and cell are those of the atoms. ASE's trajectories hold it
in each frame. Between their frames, and beside other formats, it is a file of its own, `run.extxyz.restart`: NumPy's
archive of the four, replaced as a whole, so that a killed process leaves the last one or the one before.
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

#: eV per atom and eV/Å by which energy and forces of one potential may differ between processes (single precision)
_ENERGY_NOISE, _FORCE_NOISE = 2e-5, 2e-3


def restart_path(trajectory: Path) -> Path:
    """The file of the state beside a trajectory."""
    return trajectory.with_name(f"{trajectory.name}.restart")


def write_restart(path: Path, atoms: Atoms, state: dict[str, Any]) -> None:
    """Replace the state in `path`. Raises `DataError`."""
    buffer = io.BytesIO()
    arrays = {"positions": atoms.positions, "momenta": atoms.get_momenta(), "cell": atoms.cell.array}
    np.savez(buffer, state=np.frombuffer(json.dumps(state).encode(), dtype=np.uint8), **arrays)
    try:
        # written often: a state that a crash of the machine takes is not worth a wait for the disk
        with replaced_file(path, durable=False) as file:
            file.write(buffer.getbuffer())
    except OSError as error:
        raise DataError(f"{path}: can't be written ({error.strerror}); free some space and resume") from None


def read_restart(path: Path, atoms: Atoms) -> dict[str, Any]:
    """Set positions, momenta and cell of `atoms` to those of `path`, and return the state. Raises `DataError`."""
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
    """A digest of what a run starts from."""
    digest = hashlib.sha256()
    parts = [atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc, atoms.get_masses()]
    parts += [atoms.get_momenta()] if velocities else []
    for constraint in atoms.constraints:
        digest.update(json.dumps(constraint.todict(), sort_keys=True, default=_plain).encode())
    for part in parts:
        digest.update(np.ascontiguousarray(part).tobytes())
    return digest.hexdigest()


def fingerprint(atoms: Atoms) -> dict[str, float]:
    """What tells one potential from another: its energy (eV) and largest force (eV/Å) now."""
    forces = atoms.get_forces(apply_constraint=False)
    return {"energy": float(atoms.get_potential_energy()), "force": float(np.linalg.norm(forces, axis=1).max())}


def check_fingerprint(before: dict[str, float], atoms: Atoms, where: str) -> None:
    """Raise `ConfigError` if the potential of `atoms` does not return what that of the run did."""
    now = fingerprint(atoms)
    energy = abs(now["energy"] - before["energy"]) / len(atoms)
    force = abs(now["force"] - before["force"])
    # not >=, so that what is not a number differs
    if not (energy <= _ENERGY_NOISE and force <= _FORCE_NOISE * max(1.0, before["force"])):
        raise ConfigError(
            f"{where}: was run with another potential: that of the run gives {before['energy']:.5f} eV and a largest "
            f"force of {before['force']:.4f} eV/Å for the last state, this one {now['energy']:.5f} and "
            f"{now['force']:.4f}; resume with the same potential"
        )


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else str(value)
