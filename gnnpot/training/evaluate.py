"""Errors of a potential, or of any ASE calculator, on labelled frames.

Example::

    evaluation = evaluate(potential, read_frames("test.extxyz.gz"))
    evaluation.metrics()["forces_mae"]                # eV/Å
"""

import copy
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator, PropertyNotImplementedError
from ase.data import chemical_symbols
from torch_geometric.data import Batch

from gnnpot.data.frame import Frame
from gnnpot.data.quantities import QUANTITIES
from gnnpot.data.structures import batches_of
from gnnpot.errors import DataError
from gnnpot.potential import Potential
from gnnpot.units import stress_to_voigt

#: a frame and its predictions, by name as in `data.quantities`
Predicted = tuple[Frame, dict[str, Any]]


@dataclass(eq=False)
class Evaluation:
    """Labels and predictions of frames, for the labels that the frames have."""

    #: by quantity: label and prediction of each frame, [..., 2]; extensive quantities per atom, magnitudes of those
    #: whose sign is arbitrary
    values: dict[str, list[np.ndarray]] = field(default_factory=lambda: {name: [] for name in QUANTITIES})
    #: by quantity: configuration type of each frame in `values`
    types: dict[str, list[str]] = field(default_factory=lambda: {name: [] for name in QUANTITIES})
    numbers: list[np.ndarray] = field(default_factory=list)  #: atomic numbers of the frames in `values["forces"]`
    frames: int = 0

    def add(self, frame: Frame, predicted: Mapping[str, Any]) -> None:
        """Add the labels of a frame and its predictions."""
        self.frames += 1
        for name, label in frame.labels.items():
            quantity = QUANTITIES[name]
            if predicted.get(name) is None or (quantity.needs_volume and not frame.volume > 0):
                continue
            pair = np.stack([label, predicted[name]], axis=-1)
            pair = pair / len(frame) if quantity.extensive else pair
            self.values[name].append(pair if quantity.has_sign else np.abs(pair))
            self.types[name].append(frame.provenance.config_type)
            if name == "forces":
                self.numbers.append(frame.numbers)

    def pairs(self, label: str) -> np.ndarray:
        """[M, 2] label and prediction of each component; see `values`."""
        values = self.values[label]
        return np.concatenate([v.reshape(-1, 2) for v in values]) if values else np.zeros((0, 2))

    def metrics(self) -> dict[str, float]:
        """Errors of all quantities.

        Returns:
            `{label}_mae`, `{label}_rmse` and `{label}_count` for each of `data.quantities`: energy (eV per atom),
            forces (eV/Å), stress (eV/Å³), magmoms (µB, magnitudes). `energy_shifted_mae` is the mean absolute error of
            the energies after the constant shift that minimises it, to compare codes with different zeros of energy.
        """
        result: dict[str, float] = {"frames": self.frames}
        for label in QUANTITIES:
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
        """Mean absolute error of the force components (eV/Å), and number of atoms, by element."""
        if not self.values["forces"]:
            return {}
        numbers = np.concatenate(self.numbers)
        forces = np.concatenate(self.values["forces"])
        error = np.abs(forces[..., 1] - forces[..., 0]).mean(axis=1)
        return {
            chemical_symbols[z]: {"forces_mae": float(error[numbers == z].mean()), "atoms": int((numbers == z).sum())}
            for z in np.unique(numbers)
        }

    def by_config_type(self) -> dict[str, dict[str, float]]:
        """Number of frames, `energy_mae` and `forces_mae` by configuration type."""
        names = ("energy", "forces")
        result = {}
        for kind in sorted({kind for name in names for kind in self.types[name]}):
            row: dict[str, float] = {"frames": max(self.types[name].count(kind) for name in names)}
            for name in names:
                of_kind = zip(self.values[name], self.types[name], strict=True)
                chosen = [values.reshape(-1, 2) for values, own in of_kind if own == kind]
                if chosen:
                    pairs = np.concatenate(chosen)
                    row[f"{name}_mae"] = float(np.abs(pairs[:, 1] - pairs[:, 0]).mean())
            result[kind or "(none)"] = row
        return result


def evaluate(potential: Potential, frames: Iterable[Frame], *, stress: bool = True, max_atoms: int = 512) -> Evaluation:
    """Errors of a potential on labelled frames.

    Args:
        potential: The potential; a copy of it is used.
        frames: Frames with labels; a stream is read batch by batch.
        stress: Whether to evaluate stresses, for frames whose cell has a volume.
        max_atoms: Largest number of atoms in a batch; a larger frame is a batch by itself.

    Returns:
        Labels and predictions, from which errors are calculated.

    Raises:
        UnknownElementError: A frame has an element that the potential does not have.
        DataError: There are no frames.
    """
    return _collect(predictions(potential, frames, stress=stress, max_atoms=max_atoms))


def evaluate_calculator(calculator: BaseCalculator, frames: Iterable[Frame], *, stress: bool = True) -> Evaluation:
    """Errors of an ASE calculator on labelled frames; properties that it does not implement are left out."""
    return _collect(_calculated(calculator, frames, stress))


def predictions(
    potential: Potential, frames: Iterable[Frame], *, stress: bool = True, max_atoms: int = 512
) -> Iterator[Predicted]:
    """Yield frames with the predictions of a potential, calculated in batches of at most `max_atoms` atoms."""
    potential = copy.deepcopy(potential).eval().requires_grad_(False)
    for batch in batches_of(frames, max_atoms):
        yield from _predict(potential, batch, stress)


def _predict(potential: Potential, frames: list[Frame], stress: bool) -> Iterator[Predicted]:
    batch = Batch.from_data_list([potential.graph(frame) for frame in frames]).to(potential.device)
    prediction = potential(batch, stress=stress)
    ends = np.cumsum([len(frame) for frame in frames])[:-1]
    found = {}
    for name, tensor in prediction.quantities.items():
        values = tensor.double().numpy(force=True)
        found[name] = np.split(values, ends) if QUANTITIES[name].per == "atom" else values
    for k, frame in enumerate(frames):
        known = (name for name in found if not QUANTITIES[name].needs_volume or frame.volume > 0)
        yield frame, {name: found[name][k] for name in known}


def _calculated(calculator: BaseCalculator, frames: Iterable[Frame], stress: bool) -> Iterator[Predicted]:
    for frame in frames:
        atoms = frame.to_atoms()
        atoms.calc = calculator
        found = {"energy": atoms.get_potential_energy(), "forces": atoms.get_forces()}
        # with smearing, labels are free energies (Frame.from_atoms), which get_potential_energy is not
        if (free := getattr(calculator, "results", {}).get("free_energy")) is not None:
            found["energy"] = free
        for name in frame.labels:
            quantity = QUANTITIES[name]
            if name not in found and (not quantity.needs_volume or (stress and frame.volume > 0)):
                found[name] = _known(calculator, name, atoms)
        yield frame, found


def _known(calculator: BaseCalculator, name: str, atoms: Atoms) -> np.ndarray | None:
    try:
        value = np.asarray(calculator.get_property(name, atoms))
        return stress_to_voigt(value) if name == "stress" and value.shape == (3, 3) else value
    except (PropertyNotImplementedError, NotImplementedError):
        return None


def _collect(predicted: Iterable[Predicted]) -> Evaluation:
    evaluation = Evaluation()
    for item in predicted:
        evaluation.add(*item)
    if not evaluation.frames:
        raise DataError("there are no frames to evaluate; give a file that holds some")
    return evaluation
