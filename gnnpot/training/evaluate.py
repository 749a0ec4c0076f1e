"""Errors of a potential, or of any ASE calculator, on labelled frames.

Example::

    evaluation = evaluate(potential, read_frames("test.extxyz.gz"))
    evaluation.metrics()["forces_mae"]                # eV/Å
"""

import copy
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from ase.calculators.calculator import BaseCalculator, PropertyNotImplementedError
from ase.data import chemical_symbols
from torch_geometric.data import Batch

from gnnpot.data.frame import Frame
from gnnpot.engines.predict import batches_of
from gnnpot.errors import DataError
from gnnpot.potential import Potential
from gnnpot.training.loss import LABELS

#: a frame with the energy, forces, stress and magnetic moments (`None`: not known) that are predicted for it
Predicted = tuple[Frame, float, np.ndarray, np.ndarray | None, np.ndarray | None]


@dataclass(eq=False)
class Evaluation:
    """Labels and predictions side by side, of the labels that are there."""

    energy: list[np.ndarray] = field(default_factory=list)  #: [2] label, prediction of a frame; eV per atom
    forces: list[np.ndarray] = field(default_factory=list)  #: [n, 3, 2] eV/Å
    stress: list[np.ndarray] = field(default_factory=list)  #: [6, 2] eV/Å³
    magmoms: list[np.ndarray] = field(default_factory=list)  #: [n, 2] µB, magnitudes: the sign of a crystal's is free
    numbers: list[np.ndarray] = field(default_factory=list)  #: of the atoms in `forces`
    #: of the frames in `energy`, `forces`
    energy_types: list[str] = field(default_factory=list)
    forces_types: list[str] = field(default_factory=list)
    frames: int = 0

    def add(
        self,
        frame: Frame,
        energy: float,
        forces: np.ndarray,
        stress: np.ndarray | None = None,
        magmoms: np.ndarray | None = None,
    ) -> None:
        """Take in a frame's labels and what is predicted for it."""
        self.frames += 1
        kind = frame.provenance.config_type
        if frame.energy is not None:
            self.energy.append(np.array([frame.energy, energy]) / len(frame))
            self.energy_types.append(kind)
        if frame.forces is not None:
            self.forces.append(np.stack([frame.forces, forces], axis=-1))
            self.numbers.append(frame.numbers)
            self.forces_types.append(kind)
        if frame.stress is not None and stress is not None and frame.volume > 0:
            self.stress.append(np.stack([frame.stress, stress], axis=-1))
        if frame.magmoms is not None and magmoms is not None:
            self.magmoms.append(np.abs(np.stack([frame.magmoms, magmoms], axis=-1)))

    def pairs(self, label: str) -> np.ndarray:
        """[M, 2] label and prediction: energy (eV per atom), forces (eV/Å) or stress (eV/Å³) by component, magmoms."""
        values = getattr(self, label)
        return np.concatenate([v.reshape(-1, 2) for v in values]) if values else np.zeros((0, 2))

    def metrics(self) -> dict[str, float]:
        """`{label}_mae`, `{label}_rmse`, `{label}_count` for energy (eV per atom), forces (eV/Å), stress (eV/Å³) and
        magmoms (µB, magnitudes).

        `energy_shifted_mae` is that of energies after the constant shift that makes it smallest, as between codes.
        """
        result: dict[str, float] = {"frames": self.frames}
        for label in LABELS:
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

    def by_config_type(self) -> dict[str, dict[str, float]]:
        """Number of frames, `energy_mae` and `forces_mae` by how the structures were made."""
        energy, forces = np.array(self.energy_types), np.array(self.forces_types)
        result = {}
        for kind in sorted(set(self.energy_types) | set(self.forces_types)):
            row: dict[str, float] = {"frames": max(int((energy == kind).sum()), int((forces == kind).sum()))}
            if (energy == kind).any():
                pairs = np.stack([v for v, k in zip(self.energy, self.energy_types, strict=True) if k == kind])
                row["energy_mae"] = float(np.abs(pairs[:, 1] - pairs[:, 0]).mean())
            if (forces == kind).any():
                chosen = [v.reshape(-1, 2) for v, k in zip(self.forces, self.forces_types, strict=True) if k == kind]
                pairs = np.concatenate(chosen)
                row["forces_mae"] = float(np.abs(pairs[:, 1] - pairs[:, 0]).mean())
            result[kind or "(none)"] = row
        return result


def evaluate(potential: Potential, frames: Iterable[Frame], *, stress: bool = True, max_atoms: int = 512) -> Evaluation:
    """Errors of a potential, calculated in batches of at most `max_atoms` atoms (or one frame).

    Raises `UnknownElementError` for a frame with an element that it has not seen, `DataError` if there are no frames.
    """
    return _collect(predictions(potential, frames, stress=stress, max_atoms=max_atoms))


def evaluate_calculator(calculator: BaseCalculator, frames: Iterable[Frame], *, stress: bool = True) -> Evaluation:
    """Errors of an ASE calculator; stress and magnetic moments are left out where it does not know them."""
    return _collect(_calculated(calculator, frames, stress))


def predictions(
    potential: Potential, frames: Iterable[Frame], *, stress: bool = True, max_atoms: int = 512
) -> Iterator[Predicted]:
    """Frames with a potential's predictions, in batches of at most `max_atoms` atoms (or one frame)."""
    potential = copy.deepcopy(potential).eval().requires_grad_(False)
    for batch in batches_of(frames, max_atoms):
        yield from _predict(potential, batch, stress)


def _predict(potential: Potential, frames: list[Frame], stress: bool) -> Iterator[Predicted]:
    batch = Batch.from_data_list([potential.graph(frame) for frame in frames]).to(potential.device)
    prediction = potential(batch, stress=stress)
    energy = prediction.energy.numpy(force=True)
    ends = np.cumsum([len(frame) for frame in frames])[:-1]
    forces = np.split(prediction.forces.double().numpy(force=True), ends)
    unknown: list[np.ndarray | None] = [None] * len(frames)
    stresses: Sequence[np.ndarray | None] = unknown
    if prediction.stress is not None:
        stresses = list(prediction.stress.double().numpy(force=True))
    magmoms: Sequence[np.ndarray | None] = unknown
    if prediction.magmoms is not None:
        magmoms = np.split(prediction.magmoms.double().numpy(force=True), ends)
    for k, frame in enumerate(frames):
        yield frame, float(energy[k]), forces[k], stresses[k], magmoms[k]


def _calculated(calculator: BaseCalculator, frames: Iterable[Frame], stress: bool) -> Iterator[Predicted]:
    for frame in frames:
        atoms = frame.to_atoms()
        atoms.calc = calculator
        stresses = _known(atoms.get_stress) if stress and frame.volume > 0 else None
        magmoms = _known(atoms.get_magnetic_moments) if frame.magmoms is not None else None
        yield frame, atoms.get_potential_energy(), atoms.get_forces(), stresses, magmoms


def _known(get: Callable[[], np.ndarray]) -> np.ndarray | None:
    try:
        return get()
    except (PropertyNotImplementedError, NotImplementedError):
        return None


def _collect(predicted: Iterable[Predicted]) -> Evaluation:
    evaluation = Evaluation()
    for item in predicted:
        evaluation.add(*item)
    if not evaluation.frames:
        raise DataError("there are no frames to evaluate; give a file that holds some")
    return evaluation
