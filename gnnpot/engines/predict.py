"""Energies, forces and stresses of many structures, in batches.

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
from gnnpot.torch_modes import as_device, as_dtype, usual_modes


def predict(
    structures: Iterable[StructureLike],
    model: Potential | OpenedPotential | Path | str | None = None,
    *,
    stress: bool = True,
    max_atoms: int = 512,
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
) -> Iterator[Atoms]:
    """Copies of structures with what a potential predicts for them, in their order.

    Args:
        structures: ASE `Atoms`, pymatgen `Structure` or `Molecule`, or `Frame`; a stream is read batch by batch.
        model: A `Potential`, or what `gnnpot.load` takes; the default potential if it is left out.
        stress: Predict stresses too, of structures whose cell has a volume.
        max_atoms: Largest number of atoms in a batch; a larger structure is a batch by itself.
        device: Where to calculate; the potential's own if it is left out.
        dtype: Precision of the potential; its own if it is left out.

    Returns:
        An iterator of `Atoms` with a calculator that holds `energy` (eV), `energies` (eV), `forces` (eV/Å), `stress`
        (eV/Å³, Voigt xx yy zz yz xz xy, positive under tension) and, if the potential predicts them, `magmoms` (µB).
        `info`, arrays and constraints are those of the given structure.

    Raises:
        ConfigError: `max_atoms` is not positive, `device` can't be used here, or `dtype` is no precision of models.
        UnknownElementError: A structure has an element that the potential has not seen.
        MemoryNeedError: A structure needs more memory than there is.
        DataError: An object is no structure, or its atoms can't be as they are.
    """
    if max_atoms < 1:
        raise ConfigError(f"max_atoms: {max_atoms} is below 1")
    if isinstance(model, Potential):
        potential = model
    else:
        potential = model.potential if isinstance(model, OpenedPotential) else load(model)
    where, precision = as_device(device), as_dtype(dtype)
    with usual_modes():
        potential = copy.deepcopy(potential).eval().requires_grad_(False).to(device=where, dtype=precision)
    return _predictions(potential, map(as_atoms, structures), stress, max_atoms)


def energies_of(structures: Iterable[Atoms], calculator: AseCalculator, *, max_atoms: int = 512) -> np.ndarray:
    """Energies of structures by any ASE calculator; gnnpot's calculates them in batches, the others one by one.

    Args:
        structures: Structures; they and their calculators are unchanged.
        calculator: What calculates the energies.
        max_atoms: Largest number of atoms in a batch; a larger structure is a batch by itself.

    Returns:
        Energies, [M] eV; not finite where gnnpot's potential gives none.

    Raises:
        UnknownElementError: A structure has an element that the potential has not seen.
        MemoryNeedError: A structure needs more memory than there is.
    """
    if not isinstance(calculator, Calculator):
        return np.array([calculator.get_potential_energy(atoms.copy()) for atoms in structures], dtype=float)
    potential, found = calculator.potential, []
    for batch in batches_of(structures, max_atoms):
        # with forces: the compiled copy that moves atoms gives energies together with their derivative
        found.append(_prediction(potential, batch, stress=False).energy.detach().double().numpy(force=True))
    return np.concatenate(found) if found else np.zeros(0)


def _predictions(potential: Potential, structures: Iterable[Atoms], stress: bool, max_atoms: int) -> Iterator[Atoms]:
    for batch in batches_of(structures, max_atoms):
        yield from predict_batch(potential, batch, stress)


def _prediction(potential: Potential, structures: list[Atoms], stress: bool) -> Prediction:
    with usual_modes():
        graphs = [potential.graph(atoms) for atoms in structures]
        return potential(Batch.from_data_list(graphs).to(potential.device), stress=stress)


def predict_batch(potential: Potential, structures: list[Atoms], stress: bool) -> Iterator[Atoms]:
    """As `predict`, for one batch; the potential is used as it is."""
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
