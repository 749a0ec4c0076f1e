"""Trajectories that explore: molecular dynamics, watched by a measure of how uncertain its forces are.

    trajectories = run_trajectories(structures, driver, disagreement, TrajectoryConfig(), limit, (seed, 1), folder)

`driver(k)` gives the calculator that moves the atoms of trajectory k, `disagreement(atoms)` its uncertainty in eV/Å,
such as a committee's. A trajectory ends early where the disagreement exceeds the limit, or where the dynamics explode.
Each one follows from the seed and its number, and is on disk as soon as it has ended.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator

from gnnpot.data.frame import Frame, Provenance
from gnnpot.domains import POSITIVE, WHOLE_FROM_1, check_fields
from gnnpot.engines.md import MDConfig, run_md
from gnnpot.errors import DataError, SimulationError
from gnnpot.runs.results_log import ResultsLog
from gnnpot.sampling.distortions import Strained, repeated
from gnnpot.sampling.tasks import pack, unpack

#: how a trajectory ended
End = Literal["complete", "limit", "exploded"]
Driver = Callable[[int], BaseCalculator]
Disagreement = Callable[[Atoms], float]


@dataclass(frozen=True)
class TrajectoryConfig:
    """Molecular dynamics that explores: Langevin at a fixed cell, from given structures."""

    #: K, of the trajectories in turn
    temperatures: Annotated[tuple[float, ...], POSITIVE] = (300.0, 600.0, 1000.0)
    #: trajectories in each round
    trajectories: Annotated[int, WHOLE_FROM_1] = 12
    #: of each trajectory, unless it ends early
    steps: Annotated[int, WHOLE_FROM_1] = 2000
    timestep: Annotated[float, POSITIVE] = 1.0  #: fs
    friction: Annotated[float, POSITIVE] = 0.02  #: 1/fs
    #: steps between the states whose disagreement is measured
    interval: Annotated[int, WHOLE_FROM_1] = 10
    #: each trajectory begins with a random symmetric strain up to this, so that stresses are sampled too; 0: none
    strain: float = 0.03
    #: structures with fewer atoms are repeated
    min_atoms: Annotated[int, WHOLE_FROM_1] = 1
    #: a trajectory ends where the disagreement is more than this times the median on the frames that validate
    limit: float = 5.0

    def __post_init__(self) -> None:
        check_fields(self)
        if not self.temperatures:
            raise ValueError("temperatures: there are none; give at least one")
        if not 0 <= self.strain < 0.3:
            raise ValueError(f"strain: {self.strain} does not lie from 0 to below 0.3")
        if self.limit <= 1:
            raise ValueError(f"limit: {self.limit} would end trajectories where nothing is unusual; give more than 1")
        if self.steps < self.interval:
            raise ValueError(f"interval: no state is measured in {self.steps} steps; make it smaller")


@dataclass(frozen=True, eq=False)
class SampledTrajectory:
    """The states of a trajectory, and the disagreement on each, eV/Å."""

    frames: tuple[Frame, ...]
    disagreements: tuple[float, ...]
    end: End

    def __len__(self) -> int:
        return len(self.frames)


def run_trajectories(
    structures: Sequence[Frame],
    driver: Driver,
    disagreement: Disagreement,
    options: TrajectoryConfig,
    limit: float,
    seed: tuple[int, int],
    folder: Path,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[SampledTrajectory]:
    """Run the trajectories of a round; those that an earlier call has finished are read from `folder`.

    Args:
        structures: where trajectories start, in random order.
        driver: gives the calculator of a trajectory, without memory of earlier ones.
        disagreement: of the state `atoms`, eV/Å.
        options: of the dynamics.
        limit: disagreement at which a trajectory ends, eV/Å.
        seed: of the run, and the number of the round.
        folder: for the results log.
        progress: called with finished trajectories and their number.

    Returns:
        The trajectories, in the order of their numbers.

    Raises:
        ConfigError: if the folder contains trajectories of another round or limit.
    """
    starts = np.random.default_rng([*seed, 1]).permutation(len(structures))
    plan = {"round": seed[1], "limit": limit}
    with ResultsLog(folder, plan, "dynamics") as results:
        progress(len(results), options.trajectories)
        for k in range(options.trajectories):
            if k in results:
                continue
            start = structures[int(starts[k % len(starts)])]
            found = _run(start, driver(k), disagreement, options, limit, (*seed, 2, k))
            notes = json.dumps({"disagreements": found.disagreements, "end": found.end})
            results.add(k, pack(list(found.frames), [notes]))
            progress(len(results), options.trajectories)
        return [_read(content) for content in results.contents()]


def _read(content: bytes) -> SampledTrajectory:
    frames, (notes,) = unpack(content)
    found = json.loads(notes)
    return SampledTrajectory(tuple(frames), tuple(found["disagreements"]), found["end"])


def _run(
    start: Frame,
    calculator: BaseCalculator,
    disagreement: Disagreement,
    options: TrajectoryConfig,
    limit: float,
    seed: tuple[int, ...],
) -> SampledTrajectory:
    rng, k = np.random.default_rng(seed), seed[-1]
    temperature = options.temperatures[k % len(options.temperatures)]
    atoms = _first_state(start, options, rng)
    frames: list[Frame] = []
    found: list[float] = []
    for sample in range(options.steps // options.interval):
        md = MDConfig(
            ensemble="langevin", temperature=temperature, timestep=options.timestep, friction=options.friction,
            steps=options.interval, interval=options.interval, keep_velocities=sample > 0,
            seed=int(rng.integers(2**31)), max_temperature=max(10 * temperature, 5000.0),
        )  # fmt: skip
        try:
            atoms = run_md(atoms, calculator, md).atoms
            found.append(disagreement(atoms))
            where = f"round {seed[1]}; trajectory {k}; {temperature:g} K; step {(sample + 1) * options.interval}"
            provenance = Provenance(start.provenance.source, where, start.provenance.material_id)
            frames.append(Frame.from_atoms(atoms, provenance, labels=False))
        except (SimulationError, DataError):
            # the atoms are where the calculator was not trained, or at one place
            return SampledTrajectory(tuple(frames), tuple(found[: len(frames)]), "exploded")
        if found[-1] > limit:
            return SampledTrajectory(tuple(frames), tuple(found), "limit")
    return SampledTrajectory(tuple(frames), tuple(found), "complete")


def _first_state(start: Frame, options: TrajectoryConfig, rng: np.random.Generator) -> Atoms:
    atoms = repeated(start.to_atoms(), options.min_atoms)
    if options.strain and atoms.cell.rank == 3 and atoms.pbc.all():
        (atoms,) = Strained(strain=options.strain).make(atoms, rng)
    return atoms
