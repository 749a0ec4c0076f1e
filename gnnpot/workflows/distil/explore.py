"""Students explore by molecular dynamics of their own; from the states on the way those to be labelled are chosen.

    walks = explore(structures, committee, config, limit, number, folder)
    chosen = choose(walks, config.pick, limit, rng)

A trajectory is driven by one student, each in its turn. After every `interval` steps the committee looks at the state;
a trajectory ends early where it disagrees beyond the limit, or where the dynamics explode. Each trajectory follows from
the seed, the round and its number, and is kept on disk as soon as it has ended.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from ase import Atoms

from gnnpot.data.frame import Frame, Provenance
from gnnpot.engines.md import MDConfig, run_md
from gnnpot.errors import DataError, SimulationError
from gnnpot.runs.results_log import ResultsLog
from gnnpot.sampling import Strained
from gnnpot.sampling.distortions import repeated
from gnnpot.sampling.tasks import pack, unpack
from gnnpot.workflows.committee import Committee
from gnnpot.workflows.distil.config import DistilConfig, ExploreConfig, PickConfig

End = Literal["complete", "limit", "exploded"]


@dataclass(frozen=True, eq=False)
class Walk:
    """The states of a trajectory, and the committee's disagreement on each, eV/Å."""

    frames: tuple[Frame, ...]
    disagreements: tuple[float, ...]
    end: End

    def __len__(self) -> int:
        return len(self.frames)


@dataclass(frozen=True, eq=False)
class Chosen:
    """States to be labelled."""

    drawn: tuple[Frame, ...]
    picked: tuple[Frame, ...]


def explore(
    structures: Sequence[Frame],
    committee: Committee,
    config: DistilConfig,
    limit: float,
    number: int,
    folder: Path,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Walk]:
    """The trajectories of round `number`; those that an earlier session of the run has done are read from `folder`."""
    options = config.explore
    starts = np.random.default_rng([config.seed, number, 1]).permutation(len(structures))
    plan = {"round": number, "limit": limit}
    with ResultsLog(folder, plan, "dynamics") as journal:
        progress(len(journal), options.trajectories)
        for k in range(options.trajectories):
            if k in journal:
                continue
            start = structures[int(starts[k % len(starts)])]
            rng = np.random.default_rng([config.seed, number, 2, k])
            walk = _walk(start, committee, options, limit, k, rng, number)
            notes = json.dumps({"disagreements": walk.disagreements, "end": walk.end})
            journal.add(k, pack(list(walk.frames), [notes]))
            progress(len(journal), options.trajectories)
        walks = []
        for content in journal.contents():
            frames, (notes,) = unpack(content)
            found = json.loads(notes)
            walks.append(Walk(tuple(frames), tuple(found["disagreements"]), found["end"]))
    return walks


def _walk(
    start: Frame,
    committee: Committee,
    options: ExploreConfig,
    limit: float,
    k: int,
    rng: np.random.Generator,
    number: int,
) -> Walk:
    temperature = options.temperatures[k % len(options.temperatures)]
    # so that every student meets every temperature
    driver = committee.calculators[k // len(options.temperatures) % len(committee)]
    committee.forget()
    atoms = _begin(start, options, rng)
    frames: list[Frame] = []
    disagreements: list[float] = []
    for sample in range(options.steps // options.interval):
        md = MDConfig(
            ensemble="langevin", temperature=temperature, timestep=options.timestep, friction=options.friction,
            steps=options.interval, interval=options.interval, keep_velocities=sample > 0,
            seed=int(rng.integers(2**31)), max_temperature=max(10 * temperature, 5000.0),
        )  # fmt: skip
        try:
            atoms = run_md(atoms, driver, md).atoms
            found = committee.disagreement(atoms)
            where = f"round {number}; trajectory {k}; {temperature:g} K; step {(sample + 1) * options.interval}"
            frame = Frame.from_atoms(
                atoms, Provenance(start.provenance.source, where, start.provenance.material_id), labels=False
            )
        except (SimulationError, DataError):
            # the atoms are where the students know nothing, or at one place
            return Walk(tuple(frames), tuple(disagreements), "exploded")
        frames.append(frame)
        disagreements.append(found)
        if found > limit:
            return Walk(tuple(frames), tuple(disagreements), "limit")
    return Walk(tuple(frames), tuple(disagreements), "complete")


def _begin(start: Frame, options: ExploreConfig, rng: np.random.Generator) -> Atoms:
    atoms = repeated(start.to_atoms(), options.min_atoms)
    if options.strain and atoms.cell.rank == 3 and atoms.pbc.all():
        (atoms,) = Strained(strain=options.strain).make(atoms, rng)
    return atoms


def choose(walks: Sequence[Walk], pick: PickConfig, limit: float, rng: np.random.Generator) -> Chosen:
    """States to be labelled: some at random of all within the limit, and, of the rest, those where the committee
    disagrees most, `apart` from each other."""
    places = [(w, s) for w, walk in enumerate(walks) for s in range(len(walk))]
    within = [(w, s) for w, s in places if walks[w].disagreements[s] <= limit] or places
    drawn = sorted(within[int(i)] for i in rng.permutation(len(within))[: pick.drawn])
    taken: dict[int, list[int]] = {}
    picked: list[tuple[int, int]] = []
    for w, s in sorted(set(places) - set(drawn), key=lambda place: (-walks[place[0]].disagreements[place[1]], place)):
        if len(picked) == pick.picked or walks[w].disagreements[s] <= pick.level:
            break
        if all(abs(s - other) >= pick.apart for other in taken.get(w, ())):
            taken.setdefault(w, []).append(s)
            picked.append((w, s))
    return Chosen(*(tuple(walks[w].frames[s] for w, s in part) for part in (drawn, sorted(picked))))
