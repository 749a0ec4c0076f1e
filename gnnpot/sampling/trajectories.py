"""Exploration by molecular dynamics, with a measure of the uncertainty of the forces.

    trajectories = run_trajectories(structures, driver, disagreement, TrajectoryConfig(), limit, (seed, 1), folder)

`driver(k)` returns the calculator of trajectory k, `disagreement(atoms)` the uncertainty of its forces in eV/Å, such as
that of a committee. A trajectory ends early if the disagreement exceeds the limit, or if the dynamics become unstable.
Each trajectory only depends on the seed and its number, and is written to disk when it has ended.
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
from gnnpot.domains import INTEGER_FROM_1, POSITIVE, check_fields
from gnnpot.engines.md import MDConfig, run_md
from gnnpot.errors import DataError, SimulationError
from gnnpot.runs.results_log import ResultsLog
from gnnpot.sampling.distortions import Strained, repeated
from gnnpot.sampling.tasks import pack, unpack

#: reason for the end of a trajectory
End = Literal["complete", "limit", "exploded"]
Driver = Callable[[int], BaseCalculator]
Disagreement = Callable[[Atoms], float]


@dataclass(frozen=True)
class TrajectoryConfig:
    """Options of the exploration: Langevin dynamics with a fixed cell, from given structures."""

    #: temperatures of consecutive trajectories, repeated cyclically, K
    temperatures: Annotated[tuple[float, ...], POSITIVE] = (300.0, 600.0, 1000.0)
    #: number of trajectories in each round
    trajectories: Annotated[int, INTEGER_FROM_1] = 12
    #: number of steps of each trajectory, unless it ends early
    steps: Annotated[int, INTEGER_FROM_1] = 2000
    timestep: Annotated[float, POSITIVE] = 1.0  #: fs
    friction: Annotated[float, POSITIVE] = 0.02  #: 1/fs
    #: number of steps between states whose disagreement is evaluated
    interval: Annotated[int, INTEGER_FROM_1] = 10
    #: largest component of the random initial strain of each trajectory, with which stresses are sampled; 0 for none
    strain: float = 0.03
    #: structures with fewer atoms are repeated
    min_atoms: Annotated[int, INTEGER_FROM_1] = 1
    #: disagreement at which a trajectory ends, in units of the median disagreement on the validation frames
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
    """States of a trajectory, with their disagreement."""

    frames: tuple[Frame, ...]  #: the states
    disagreements: tuple[float, ...]  #: disagreement of each state, eV/Å
    end: End  #: why the trajectory ended

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
    """Run the trajectories of a round; trajectories that were finished by an earlier call are read from `folder`.

    Args:
        structures: Initial structures, used in random order.
        driver: Returns the calculator of a trajectory, which must not depend on earlier trajectories.
        disagreement: Returns the uncertainty of the forces of `atoms`, eV/Å.
        options: Options of the dynamics.
        limit: Disagreement at which a trajectory ends, eV/Å.
        seed: Seed of the run, and number of the round.
        folder: Folder of the results log.
        progress: Called with the number of finished trajectories and the total number.

    Returns:
        The trajectories, in the order of their numbers.

    Raises:
        ConfigError: The folder contains trajectories of a different round or limit.
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
            # the structure is far from the training data of the calculator, or invalid
            return SampledTrajectory(tuple(frames), tuple(found[: len(frames)]), "exploded")
        if found[-1] > limit:
            return SampledTrajectory(tuple(frames), tuple(found), "limit")
    return SampledTrajectory(tuple(frames), tuple(found), "complete")


def _first_state(start: Frame, options: TrajectoryConfig, rng: np.random.Generator) -> Atoms:
    atoms = repeated(start.to_atoms(), options.min_atoms)
    if options.strain and atoms.cell.rank == 3 and atoms.pbc.all():
        (atoms,) = Strained(strain=options.strain).make(atoms, rng)
    return atoms
