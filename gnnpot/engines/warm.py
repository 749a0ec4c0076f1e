"""Compilation of the kernels of potentials before their first use, in several processes.

Example::

    for done in warm(["gnnpot-1", "7net-0"], processes=8):
        print(done.name, done.kernels, done.seconds)
"""

import itertools
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from ase import Atoms
from ase.data import atomic_numbers, covalent_radii

from gnnpot.compiler.events import compilation_events
from gnnpot.compiler.overloads import Overload
from gnnpot.compiler.together import allowed_processes, compile_overloads, compiled_together
from gnnpot.engines.calculator import Calculator
from gnnpot.hub.opening import load
from gnnpot.models.fast.first_call import PREDICTION, TRAINING, first_call
from gnnpot.potential import Potential


@dataclass(frozen=True)
class Warmed:
    """Compiled kernels of a potential."""

    name: str  #: name of the potential
    what: str  #: "prediction" or "training"
    kernels: int  #: number of kernels compiled by this call; 0: all were in the cache
    seconds: float  #: wall time since the start of the call


def warm(
    names: Sequence[str], *, training: bool = False, dtypes: Sequence[torch.dtype] = (), processes: int | None = None
) -> Iterator[Warmed]:
    """Compile the kernels of potentials, and cache them for all later processes of this user.

    Args:
        names: Names of potentials, or paths of checkpoints.
        training: Also compile the kernels for training.
        dtypes: Precisions; empty: that of each potential.
        processes: Number of parallel processes; `None`: one for each core that this process may use.

    Returns:
        An iterator over potentials, kinds and precisions. A kernel that several of them need is counted for the first.

    Raises:
        CheckpointError: A name is unknown; raised before anything is compiled.
    """
    start, count = time.perf_counter(), processes or allowed_processes()
    potentials = {name: load(name) for name in names}
    kinds = (PREDICTION, TRAINING) if training else (PREDICTION,)
    tasks = list(itertools.product(names, kinds, dtypes or (None,)))
    compiled = _compiled([first_call(potentials[name].model, what, dtype) for name, what, dtype in tasks], count)
    for shared, (name, what, dtype) in zip(compiled, tasks, strict=True):
        alone = _call(name, what, dtype)
        yield Warmed(name, what, shared + alone, time.perf_counter() - start)


def _compiled(expected: Sequence[Sequence[Overload]], processes: int) -> list[int]:
    """Compile all missing kernels together; returns the numbers compiled, each kernel counted for the first user."""
    missing: list[dict[tuple[str, str], Overload]] = []
    known: set[tuple[str, str]] = set()
    for overloads in expected:
        missing.append({o.key: o for o in overloads if o.key not in known and not o.is_kept()})
        known |= missing[-1].keys()
    compile_overloads([overload for overloads in missing for overload in overloads.values()], processes)
    return [sum(overload.is_kept() for overload in overloads.values()) for overloads in missing]


def _call(name: str, what: str, dtype: torch.dtype | None) -> int:
    """Call a potential, which compiles any kernels still missing; returns their number."""
    compiled: list[str] = []
    with (
        compilation_events(lambda kernel, running: compiled.append(kernel) if running else None),
        # no worker processes: compile in this process
        compiled_together(lambda: ()),
    ):
        potential = load(name)
        call_once(potential if dtype is None else potential.to(dtype), what)
    return len(compiled)


def call_once(potential: Potential, what: str = PREDICTION) -> None:
    """Run a calculation that needs all kernels of a potential.

    Args:
        potential: Potential; with `what` "training" it is set to training mode.
        what: "prediction" or "training".
    """
    atoms = small_structure(potential)
    if what == TRAINING:
        _train_once(potential, atoms)
    else:
        atoms.calc = Calculator(potential)
        atoms.get_forces()
        atoms.rattle(0.01, seed=1)
        atoms.get_forces()


def small_structure(potential: Potential) -> Atoms:
    """Eight atoms of the first two elements of a potential, in a distorted rock-salt cell of touching atoms."""
    elements = (potential.elements * 2)[:2]
    # with small covalent radii, as for H and He, the calculation would take longer than the compilation
    distance = max(2.2, 1.1 * sum(covalent_radii[atomic_numbers[symbol]] for symbol in elements))
    corners = np.array(list(itertools.product((0, 1), repeat=3)))
    symbols = [elements[sum(corner) % 2] for corner in corners]
    atoms = Atoms(symbols, positions=distance * corners, cell=[2 * distance] * 3, pbc=True)
    atoms.rattle(0.05, seed=0)
    return atoms


def _train_once(potential: Potential, atoms: Atoms) -> None:
    potential.train().requires_grad_(True)
    graph = potential.model.precompute(potential.graph(atoms))
    prediction = potential(graph, training=True)
    (prediction.energy.sum() + prediction.forces.square().sum()).backward()
