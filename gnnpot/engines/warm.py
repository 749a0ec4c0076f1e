"""Compile the kernels of potentials ahead of their first use, in several processes.

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
    """The kernels of a potential, which are compiled now."""

    name: str  #: of the potential
    what: str  #: "prediction" or "training"
    kernels: int  #: that were compiled for it; 0: they were there
    seconds: float  #: since the beginning


def warm(
    names: Sequence[str], *, training: bool = False, dtypes: Sequence[torch.dtype] = (), processes: int | None = None
) -> Iterator[Warmed]:
    """Compile what the potentials need, and keep it for all later processes of this user.

    Args:
        names: of potentials, or paths of checkpoints.
        training: those for training too.
        dtypes: precisions; empty: each potential's own.
        processes: that compile side by side; `None`: one for each core that this process may use.

    Returns:
        What has been compiled, as it ends. What several potentials need counts for the first of them.

    Raises:
        CheckpointError: for a name that is not known, before anything is compiled.
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
    """Compile what all need together: how many were missing for each, and not for one before it."""
    missing: list[dict[tuple[str, str], Overload]] = []
    known: set[tuple[str, str]] = set()
    for overloads in expected:
        missing.append({o.key: o for o in overloads if o.key not in known and not o.is_kept()})
        known |= missing[-1].keys()
    compile_overloads([overload for overloads in missing for overload in overloads.values()], processes)
    return [sum(overload.is_kept() for overload in overloads.values()) for overloads in missing]


def _call(name: str, what: str, dtype: torch.dtype | None) -> int:
    """Call a potential, which compiles what is missing still: how many kernels."""
    compiled: list[str] = []
    with (
        compilation_events(lambda kernel, running: compiled.append(kernel) if running else None),
        # in this process, however many are allowed
        compiled_together(lambda: ()),
    ):
        potential = load(name)
        call_once(potential if dtype is None else potential.to(dtype), what)
    return len(compiled)


def call_once(potential: Potential, what: str = PREDICTION) -> None:
    """Do what needs all kernels of a potential.

    Args:
        potential: is ready for training afterwards, if that is done.
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
    """Eight atoms of the first two elements of a potential, in a rock-salt cell of touching atoms, distorted."""
    elements = (potential.elements * 2)[:2]
    # helium hydride would have thousands of neighbours, and take longer to calculate than to compile for
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
