"""Potentials that learn side by side; their disagreement measures how uncertain their forces are.

The disagreement of K students on a structure, with forces F_i^k on atom i and their mean F_i, is

    d = max_i [ 1/K Σ_k |F_i^k - F_i|² ]^½                                                                      (1)

in eV/Å, as in Zhang et al. 2019 (Phys. Rev. Mater. 3, 023804).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms

from gnnpot.data.frame import Frame
from gnnpot.engines.calculator import Calculator
from gnnpot.graphs.skin import SkinList
from gnnpot.hub.opening import OpenedPotential
from gnnpot.potential import Potential
from gnnpot.training.evaluate import evaluate


class Committee:
    """Students and their calculators.

    Args:
        students: of one system; of one student alone the disagreement is 0.
    """

    def __init__(self, students: Sequence[OpenedPotential | Potential]) -> None:
        # dynamics lead students beyond their training; the disagreement shows it
        self.calculators = tuple(Calculator(student, warn=False) for student in students)
        self.students = tuple(calculator.potential for calculator in self.calculators)

    def __len__(self) -> int:
        return len(self.students)

    def driver(self, number: int) -> Calculator:
        """The calculator of a student, in turns of `number`; nothing of earlier structures affects its results."""
        self._reset()
        return self.calculators[number % len(self)]

    def _reset(self) -> None:
        for calculator in self.calculators:
            calculator.reset()
            calculator.neighbors = SkinList(calculator.neighbors.cutoff, calculator.neighbors.skin)

    def disagreement(self, atoms: Atoms) -> float:
        """Equation (1), eV/Å. Raises what the calculators raise."""
        forces = np.stack([calculator.get_forces(atoms) for calculator in self.calculators])
        return disagreement(forces)

    def median_disagreement(self, frames: Sequence[Frame]) -> float:
        """Median of the disagreement on `frames`, eV/Å."""
        return float(np.median([self.disagreement(frame.to_atoms()) for frame in frames]))

    def errors(self, frames: Sequence[Frame]) -> "StudentErrors":
        """Errors on labelled frames, means over the students."""
        found = [evaluate(student, frames, stress=False).metrics() for student in self.students]
        names = ("energy_mae", "forces_mae", "forces_rmse")
        return StudentErrors(**{name: float(np.mean([metrics[name] for metrics in found])) for name in names})


@dataclass(frozen=True)
class StudentErrors:
    """Errors of students against the teacher."""

    energy_mae: float  #: eV per atom
    forces_mae: float  #: eV/Å, of components
    forces_rmse: float


def disagreement(forces: np.ndarray) -> float:
    """Equation (1) for forces [K, N, 3], eV/Å.

    >>> round(disagreement(np.array([[[1.0, 0, 0]], [[-1.0, 0, 0]]])), 3)
    1.0
    """
    spread = ((forces - forces.mean(axis=0)) ** 2).sum(axis=2).mean(axis=0)
    return float(np.sqrt(spread.max()))
