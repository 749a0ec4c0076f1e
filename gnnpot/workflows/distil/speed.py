"""Speed of teacher and student: molecular dynamics in turns, in one process, with one thread."""

import os
import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass

from ase import Atoms
from ase.calculators.calculator import BaseCalculator

from gnnpot.engines.md import MDConfig, run_md
from gnnpot.runs.processes import one_thread
from gnnpot.sampling.distortions import repeated

#: largest number of turns, and seconds after which no further turn starts
TURNS, SECONDS = 9, 60.0
#: steps of each calculator in a turn
STEPS = 5
#: number of atoms of the larger structure; for more atoms, the time per atom is constant
LARGE = 400


@dataclass(frozen=True)
class Speed:
    """Processor time of molecular dynamics with one thread, µs per atom and step."""

    atoms: int
    teacher: float
    student: float

    @property
    def ratio(self) -> float:
        """Ratio of the teacher's time to the student's."""
        return self.teacher / self.student


def speeds(
    teacher: BaseCalculator, student: BaseCalculator, atoms: Atoms, temperature: float, timestep: float
) -> tuple[Speed, ...]:
    """Time teacher and student for `atoms`, and for a periodic structure repeated to `LARGE` atoms.

    The larger structure is left out if the expected time is above `SECONDS`.
    """
    found: list[Speed] = []
    for structure in (atoms, repeated(atoms, LARGE)):
        if found:
            expected = 1e-6 * found[0].teacher * len(structure) * STEPS * 2
            if len(structure) == len(atoms) or expected > SECONDS:
                break
        times = time_steps({"teacher": teacher, "student": student}, structure, temperature, timestep)
        found.append(Speed(len(structure), times["teacher"], times["student"]))
    return tuple(found)


def time_steps(
    calculators: Mapping[str, BaseCalculator], atoms: Atoms, temperature: float, timestep: float, seed: int = 0
) -> dict[str, float]:
    """Processor time of molecular dynamics, µs per atom and step: the median over the turns.

    It includes neighbour lists, energy, forces and further results of the calculator, the integrator, and processes
    that a calculator starts and waits for.
    """
    states = dict.fromkeys(calculators, atoms)
    found: dict[str, list[float]] = {name: [] for name in calculators}
    begin = time.monotonic()
    with one_thread():
        # the first turn is a warm-up
        for turn in range(TURNS + 1):
            if turn > 1 and time.monotonic() - begin > SECONDS:
                break
            config = MDConfig(
                ensemble="langevin", temperature=temperature, timestep=timestep, steps=STEPS, interval=STEPS,
                keep_velocities=turn > 0, seed=seed + turn,
            )  # fmt: skip
            for name, calculator in calculators.items():
                before = _processor_time()
                states[name] = run_md(states[name], calculator, config).atoms
                if turn:
                    found[name].append(1e6 * (_processor_time() - before) / STEPS / len(atoms))
    return {name: statistics.median(times) for name, times in found.items()}


def _processor_time() -> float:
    times = os.times()
    return time.process_time() + times.children_user + times.children_system
