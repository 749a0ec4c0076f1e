"""Errors of a potential, or of any ASE calculator, on labelled frames.

    evaluation = evaluate(potential, read_frames("test.extxyz.gz"))
    evaluation.metrics()["forces_mae"]                # eV/Å
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np
from ase.calculators.calculator import BaseCalculator, PropertyNotImplementedError
from ase.data import chemical_symbols

from gnnpot.data import Frame
from gnnpot.errors import DataError
from gnnpot.potential import Potential

#: (energy, forces, stress or None) of a frame
Predictor = Callable[[Frame], tuple[float, np.ndarray, np.ndarray | None]]


@dataclass
class Evaluation:
    """Labels and predictions side by side, of those labels that are there."""

    energy: list[tuple[float, float]] = field(default_factory=list)  #: label, prediction; eV/atom
    forces: list[np.ndarray] = field(default_factory=list)  #: [n, 3, 2] label, prediction; eV/Å
    stress: list[np.ndarray] = field(default_factory=list)  #: [6, 2] eV/Å³
    numbers: list[np.ndarray] = field(default_factory=list)  #: of the atoms in `forces`
    frames: int = 0

    def add(self, frame: Frame, energy: float, forces: np.ndarray, stress: np.ndarray | None) -> None:
        """Take in a frame's labels and what is predicted for it."""
        self.frames += 1
        if frame.energy is not None:
            self.energy.append((frame.energy / len(frame), energy / len(frame)))
        if frame.forces is not None:
            self.forces.append(np.stack([frame.forces, forces], axis=-1))
            self.numbers.append(frame.numbers)
        if frame.stress is not None and stress is not None and np.all(np.isfinite(stress)):
            self.stress.append(np.stack([frame.stress, stress], axis=-1))

    def pairs(self, label: str) -> np.ndarray:
        """[M, 2] label and prediction of energy (eV/atom), forces (eV/Å) or stress (eV/Å³), by component."""
        values = getattr(self, label)
        if not values:
            return np.zeros((0, 2))
        return np.concatenate([np.asarray(v).reshape(-1, 2) for v in values])

    def metrics(self) -> dict[str, float]:
        """`{label}_mae`, `{label}_rmse`, `{label}_count`; `energy_shifted_mae`: after the best constant shift."""
        result: dict[str, float] = {"frames": self.frames}
        for label in ("energy", "forces", "stress"):
            pairs = self.pairs(label)
            result[f"{label}_count"] = len(pairs)
            if len(pairs):
                error = pairs[:, 1] - pairs[:, 0]
                result[f"{label}_mae"] = float(np.abs(error).mean())
                result[f"{label}_rmse"] = float(np.sqrt((error**2).mean()))
                if label == "energy":
                    result["energy_shifted_mae"] = float(np.abs(error - np.median(error)).mean())
        return result

    def by_element(self) -> dict[str, dict[str, float]]:
        """Mean absolute error of the force components, and number of atoms, by element."""
        if not self.forces:
            return {}
        numbers = np.concatenate(self.numbers)
        forces = np.concatenate(self.forces)
        error = np.abs(forces[..., 1] - forces[..., 0]).mean(axis=1)
        return {
            chemical_symbols[z]: {"forces_mae": float(error[numbers == z].mean()), "atoms": int((numbers == z).sum())}
            for z in np.unique(numbers)
        }


def evaluate(potential: Potential, frames: Iterable[Frame]) -> Evaluation:
    """Errors of a potential. Raises `UnknownElementError` for a frame with an element that it has not seen."""

    def predict(frame: Frame) -> tuple[float, np.ndarray, np.ndarray | None]:
        prediction = potential(potential.graph(frame))
        return prediction.energy.item(), prediction.forces.numpy(force=True), prediction.stress[0].numpy(force=True)

    return _evaluate(predict, frames)


def evaluate_calculator(calculator: BaseCalculator, frames: Iterable[Frame]) -> Evaluation:
    """Errors of any ASE calculator."""

    def predict(frame: Frame) -> tuple[float, np.ndarray, np.ndarray | None]:
        atoms = frame.to_atoms()
        atoms.calc = calculator
        try:
            stress = atoms.get_stress() if frame.volume > 0 else None
        except PropertyNotImplementedError:
            stress = None
        return atoms.get_potential_energy(), atoms.get_forces(), stress

    return _evaluate(predict, frames)


def _evaluate(predict: Predictor, frames: Iterable[Frame]) -> Evaluation:
    evaluation = Evaluation()
    for frame in frames:
        evaluation.add(frame, *predict(frame))
    if not evaluation.frames:
        raise DataError("there are no frames to evaluate; give a file that holds some")
    return evaluation
