"""Committee of potentials, whose disagreement measures the uncertainty of their forces.

The disagreement d (eV/Å) of K students on a structure is

    d = max_i [ 1/K Σ_k |F_i^k - F_i|² ]^½                                                                      (1)

where F_i^k is the force of student k on atom i, and F_i the mean over the students (Zhang et al. 2019, Phys. Rev.
Mater. 3, 023804).
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
    """Committee of students, and their calculators.

    Args:
        students: Potentials trained for the same system. The disagreement of a single student is 0.
    """

    def __init__(self, students: Sequence[OpenedPotential | Potential]) -> None:
        # no warnings: dynamics leave the training data, which the disagreement detects
        self.calculators = tuple(Calculator(student, warn=False) for student in students)
        self.students = tuple(calculator.potential for calculator in self.calculators)

    def __len__(self) -> int:
        return len(self.students)

    def driver(self, number: int) -> Calculator:
        """Calculator of student `number` modulo K, reset so that earlier structures do not affect its results."""
        self._reset()
        return self.calculators[number % len(self)]

    def _reset(self) -> None:
        for calculator in self.calculators:
            calculator.reset()
            calculator.neighbors = SkinList(calculator.neighbors.cutoff, calculator.neighbors.skin)

    def disagreement(self, atoms: Atoms) -> float:
        """Equation (1) for a structure, eV/Å. Raises the exceptions of the calculators."""
        forces = np.stack([calculator.get_forces(atoms) for calculator in self.calculators])
        return disagreement(forces)

    def median_disagreement(self, frames: Sequence[Frame]) -> float:
        """Median of equation (1) over `frames`, eV/Å."""
        return float(np.median([self.disagreement(frame.to_atoms()) for frame in frames]))

    def errors(self, frames: Sequence[Frame]) -> "StudentErrors":
        """Errors on labelled frames, averaged over the students."""
        found = [evaluate(student, frames, stress=False).metrics() for student in self.students]
        names = ("energy_mae", "forces_mae", "forces_rmse")
        return StudentErrors(**{name: float(np.mean([metrics[name] for metrics in found])) for name in names})


@dataclass(frozen=True)
class StudentErrors:
    """Mean errors of students with respect to the labels of the teacher."""

    energy_mae: float  #: mean absolute error of energies, eV per atom
    forces_mae: float  #: mean absolute error of force components, eV/Å
    forces_rmse: float  #: root mean square error of force components, eV/Å


def disagreement(forces: np.ndarray) -> float:
    """Equation (1) for forces [K, N, 3], eV/Å.

    >>> round(disagreement(np.array([[[1.0, 0, 0]], [[-1.0, 0, 0]]])), 3)
    1.0
    """
    spread = ((forces - forces.mean(axis=0)) ** 2).sum(axis=2).mean(axis=0)
    return float(np.sqrt(spread.max()))
