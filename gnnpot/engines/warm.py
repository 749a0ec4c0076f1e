"""Compile the kernels of potentials ahead of their first use, each set in a process of its own.

Example::

    for done in warm(["gnnpot-1", "7net-0"], processes=8):
        print(done.name, done.kernels, done.seconds)
"""

import itertools
import multiprocessing
import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass

import numpy as np
import torch
from ase import Atoms
from ase.data import atomic_numbers, covalent_radii

from gnnpot.compiler.events import compilation_events
from gnnpot.engines.calculator import Calculator
from gnnpot.hub.opening import load
from gnnpot.potential import Potential
from gnnpot.runs.processes import end_with_parent


@dataclass(frozen=True)
class Warmed:
    """The kernels of a potential, which are compiled now."""

    name: str  #: of the potential
    what: str  #: "prediction" or "training"
    kernels: int  #: that were compiled; 0: they were there
    seconds: float


def warm(
    names: Sequence[str], *, training: bool = False, dtypes: Sequence[torch.dtype] = (), processes: int | None = None
) -> Iterator[Warmed]:
    """Compile what the potentials need, and keep it for all later processes of this user.

    Args:
        names: of potentials, or paths of checkpoints.
        training: those for training too.
        dtypes: precisions; empty: each potential's own.
        processes: that compile side by side; `None`: one for each core.

    Returns:
        What has been compiled, as it ends.

    Raises:
        CheckpointError: for a name that is not known, before anything is compiled.
    """
    for name in names:
        load(name)
    kinds = ("prediction", "training") if training else ("prediction",)
    tasks = list(itertools.product(names, kinds, dtypes or (None,)))
    count = min(processes or os.cpu_count() or 1, len(tasks))
    with ProcessPoolExecutor(
        count, mp_context=multiprocessing.get_context("spawn"), initializer=end_with_parent
    ) as pool:
        for future in as_completed([pool.submit(_warm, *task) for task in tasks]):
            yield future.result()


def _warm(name: str, what: str, dtype: torch.dtype | None) -> Warmed:
    start, compiled = time.perf_counter(), []
    with compilation_events(lambda kernel, running: compiled.append(kernel) if running else None):
        potential = load(name)
        if dtype is not None:
            potential = potential.to(dtype)
        atoms = small_structure(potential)
        if what == "training":
            _train_once(potential, atoms)
        else:
            atoms.calc = Calculator(potential)
            atoms.get_forces()
            atoms.rattle(0.01, seed=1)
            atoms.get_forces()
    return Warmed(name, what, len(compiled), time.perf_counter() - start)


def small_structure(potential: Potential) -> Atoms:
    """Eight atoms of the first two elements of a potential, in a rock-salt cell of touching atoms, distorted."""
    elements = (potential.elements * 2)[:2]
    distance = 1.1 * sum(covalent_radii[atomic_numbers[symbol]] for symbol in elements)
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
