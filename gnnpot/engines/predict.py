"""Prediction of energies, forces and stresses of many structures, in batches.

Example::

    for atoms in predict(structures, "7net-0"):
        atoms.get_potential_energy(), atoms.get_forces(), atoms.get_stress()
"""

import copy
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import BaseCalculator as AseCalculator
from ase.calculators.singlepoint import SinglePointCalculator
from torch_geometric.data import Batch

from gnnpot.data.quantities import QUANTITIES
from gnnpot.data.structure import spans_volume
from gnnpot.data.structures import StructureLike, as_atoms, batches_of
from gnnpot.engines.calculator import Calculator
from gnnpot.errors import ConfigError
from gnnpot.hub.opening import OpenedPotential, load
from gnnpot.potential import Potential, Prediction
from gnnpot.torch_modes import as_device, as_dtype, default_modes


def predict(
    structures: Iterable[StructureLike],
    model: Potential | OpenedPotential | Path | str | None = None,
    *,
    stress: bool = True,
    max_atoms: int = 512,
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
) -> Iterator[Atoms]:
    """Predict energies, forces and stresses of structures.

    Args:
        structures: ASE `Atoms`, pymatgen `Structure` or `Molecule`, or `Frame`; an iterator is read batch by batch.
        model: A `Potential`, or an argument of `gnnpot.load`; default: the default potential.
        stress: Also predict stresses, for structures whose cell has a volume.
        max_atoms: Largest number of atoms in a batch; a larger structure is a batch of its own.
        device: Device of the calculation; default: the device of the potential.
        dtype: Precision of the calculation; default: the precision of the potential.

    Returns:
        An iterator over copies of the structures, in their order. The calculator of each copy holds `energy` (eV),
        `energies` (eV), `forces` (eV/Å), `stress` (eV/Å³, Voigt xx yy zz yz xz xy, positive under tension) and, if the
        potential predicts them, `magmoms` (µB). `info`, arrays and constraints are copied from the structure.

    Raises:
        ConfigError: `max_atoms` is not positive, `device` is not available, or `dtype` is not supported.
        UnknownElementError: The potential has not been trained on an element of a structure.
        MemoryNeedError: A structure needs more memory than is available.
        DataError: An object is not a structure, or a structure is invalid.
    """
    if max_atoms < 1:
        raise ConfigError(f"max_atoms: {max_atoms} is below 1")
    if isinstance(model, Potential):
        potential = model
    else:
        potential = model.potential if isinstance(model, OpenedPotential) else load(model)
    where, precision = as_device(device), as_dtype(dtype)
    with default_modes():
        potential = copy.deepcopy(potential).eval().requires_grad_(False).to(device=where, dtype=precision)
    return _predictions(potential, map(as_atoms, structures), stress, max_atoms)


def energies_of(structures: Iterable[Atoms], calculator: AseCalculator, *, max_atoms: int = 512) -> np.ndarray:
    """Calculate the energies of structures with an ASE calculator: gnnpot's in batches, others one by one.

    Args:
        structures: Structures; they and their calculators are not changed.
        calculator: Calculator of the energies.
        max_atoms: Largest number of atoms in a batch; a larger structure is a batch of its own.

    Returns:
        Energies, [M] eV. If a prediction of gnnpot's potential is not finite, it is returned as it is.

    Raises:
        UnknownElementError: The potential has not been trained on an element of a structure.
        MemoryNeedError: A structure needs more memory than is available.
    """
    if not isinstance(calculator, Calculator):
        return np.array([calculator.get_potential_energy(atoms.copy()) for atoms in structures], dtype=float)
    potential, found = calculator.potential, []
    for batch in batches_of(structures, max_atoms):
        # with forces: the compiled implementation, which calculates energies together with their derivative, is used
        found.append(_prediction(potential, batch, stress=False).energy.detach().double().numpy(force=True))
    return np.concatenate(found) if found else np.zeros(0)


def _predictions(potential: Potential, structures: Iterable[Atoms], stress: bool, max_atoms: int) -> Iterator[Atoms]:
    for batch in batches_of(structures, max_atoms):
        yield from predict_batch(potential, batch, stress)


def _prediction(potential: Potential, structures: list[Atoms], stress: bool) -> Prediction:
    with default_modes():
        graphs = [potential.graph(atoms) for atoms in structures]
        return potential(Batch.from_data_list(graphs).to(potential.device), stress=stress)


def predict_batch(potential: Potential, structures: list[Atoms], stress: bool) -> Iterator[Atoms]:
    """As `predict`, for one batch, with the potential itself instead of a copy."""
    prediction = _prediction(potential, structures, stress)
    found = {name: value.double().numpy(force=True) for name, value in prediction.quantities.items()}
    energies = prediction.energies.double().numpy(force=True)
    start = 0
    for k, structure in enumerate(structures):
        stop = start + len(structure)
        results: dict[str, Any] = {"free_energy": float(found["energy"][k]), "energies": energies[start:stop]}
        for name, values in found.items():
            quantity = QUANTITIES[name]
            if not quantity.needs_volume or spans_volume(structure.cell.array):
                value = values[start:stop] if quantity.per == "atom" else values[k]
                results[name] = value.copy() if quantity.shape_of(1) else float(value)
        atoms = structure.copy()
        atoms.calc = SinglePointCalculator(atoms)
        atoms.calc.results = results
        start = stop
        yield atoms
