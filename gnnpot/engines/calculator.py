"""ASE calculator for a potential.

Example::

    atoms.calc = Calculator()                           # the potential that comes with gnnpot
    atoms.calc = Calculator("path/to/checkpoint")
    atoms.get_potential_energy(), atoms.get_forces(), atoms.get_stress()
"""

import copy
import logging
import math
import threading
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.calculators import calculator as ase_calculator
from ase.cell import Cell
from ase.data import atomic_numbers
from torch import Tensor

import gnnpot
from gnnpot.compiler.together import compiled_together
from gnnpot.data.quantities import QUANTITIES
from gnnpot.data.structure import check_elements, spans_volume
from gnnpot.errors import DataError, SimulationError
from gnnpot.graphs import Graph
from gnnpot.graphs.graph import graph_from_neighbors
from gnnpot.graphs.skin import SKIN, SkinList
from gnnpot.hub.card import CARD, read_card
from gnnpot.hub.checkpoint import Card, weights_sha256
from gnnpot.hub.opening import OpenedPotential, open_potential
from gnnpot.models.base import check_elements as check_known_elements
from gnnpot.models.fast.first_call import first_call
from gnnpot.potential import Potential, Prediction
from gnnpot.torch_modes import as_device, as_dtype, default_modes
from gnnpot.units import stress_to_voigt

log = logging.getLogger(__name__)

#: Å; with larger ones, the images of a small cell fill the memory
MAX_SKIN = 50.0


class Calculator(ase_calculator.Calculator):
    """Energy, atomic energies, forces, stress (Voigt) and, for models that predict them, magnetic moments.

    Elements, positions, cell and periodicity determine the results. Charges, spins and initial magnetic moments of the
    structure are ignored. The stress is the derivative of the energy with respect to strain, divided by the volume of
    the cell, also along directions that are not periodic.

    `stresses`, [N, 6] eV/Å³, are calculated only on request. They are atomic contributions whose sum is the stress: the
    contribution of each edge is divided equally between its two atoms. `name` and `parameters` identify the potential;
    ASE writes them to databases and trajectories along with the results.

    The calculator holds a copy of the potential, so further training of the original does not change it. `card` is the
    model card (`None` for a bare `Potential`). The results do not depend on PyTorch's inference mode, autocast or
    default device.

    For models that store the range of their training data (HDNNP), `extrapolating` is the number of atoms outside this
    range, and `extrapolation_count` [N] the number of descriptors outside it for each atom (`None` for other models).

    Args:
        model: A `Potential`, the result of `open_potential`, or a name or path accepted by `gnnpot.load`; default: the
            default potential.
        device: Device, as a name or `torch.device`; default: the device of the potential.
        dtype: float32 or float64, as a name or `torch.dtype`; default: the precision of the potential.
        skin: Å, margin beyond the cutoff within which neighbours are listed and reused, at most 50; it does not affect
            the results.
        warn: Log a warning when atoms are outside the range of the training data, and again when their number has more
            than doubled.

    Raises:
        ConfigError: At construction: the device is not available, or `dtype` is neither float32 nor float64.
        CheckpointError, DownloadError: At construction: see `gnnpot.load`.
        UnknownElementError: The potential has not been trained on an element of the structure.
        MemoryNeedError: The structure needs more memory than is available.
        DataError: The structure is invalid (see `gnnpot.data.structure`: two atoms at one place, a flat cell).
            Structures are checked each time the neighbour list is rebuilt.
        SimulationError: A result is not finite.
        PropertyNotImplementedError: ASE's; the stress was requested for a structure without a volume, or magnetic
            moments from a potential that does not predict them.
    """

    implemented_properties: list[str] = [
        "energy", "free_energy", "energies", "forces", "stress", "stresses", "magmoms", "magmom"
    ]  # fmt: skip

    def __init__(
        self,
        model: Potential | OpenedPotential | str | Path | None = None,
        *,
        device: str | torch.device | None = None,
        dtype: str | torch.dtype | None = None,
        skin: float = SKIN,
        warn: bool = True,
    ) -> None:
        super().__init__()
        if not 0 <= skin <= MAX_SKIN:
            raise ValueError(f"skin: {skin} Å is not between 0 and {MAX_SKIN:.0f} Å")
        where, precision = as_device(device), as_dtype(dtype)
        with default_modes():
            potential, self.card, sha256 = _opened(model)
            self.potential = _frozen_copy(potential, where, precision)
        self.parameters.update(_identity(self.potential, self.card, sha256))
        self.neighbors = SkinList(self.potential.cutoff, skin)
        self._numbers = np.array([atomic_numbers[symbol] for symbol in self.potential.elements])
        self._known: np.ndarray | None = None
        self._cell: tuple[np.ndarray, bool] | None = None
        self._where = ""
        self.extrapolating, self.warn = 0, warn
        self.extrapolation_count: np.ndarray | None = None
        self._warned_of = 0
        self._lock = threading.RLock()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = threading.RLock()

    @property
    def name(self) -> str:
        """`gnnpot/` and the name of the potential, or `gnnpot` if it has none; the name used in ASE's databases."""
        model = self.parameters["model"]
        return f"gnnpot/{model}" if model else "gnnpot"

    @property
    def elements(self) -> tuple[str, ...]:
        """Elements of the potential."""
        return self.potential.elements

    @property
    def dtype(self) -> torch.dtype:
        return self.potential.dtype

    def graph(self, atoms: Atoms) -> Graph:
        """Return the graph of `atoms`; the neighbour list of the last call is reused while it is valid."""
        # the kept neighbour list belongs to one structure, also if several threads ask
        with self._lock:
            return self._graph(atoms)

    def _graph(self, atoms: Atoms) -> Graph:
        if len(atoms) == 0:
            raise DataError("structure: there are no atoms; give a structure with at least one")
        # copies: the graph's tensors share their memory, and the atoms may move on
        positions = np.array(atoms.positions, dtype=np.float64, order="C")
        cell, pbc = atoms.cell.array.copy(), atoms.pbc.copy()
        numbers = atoms.numbers
        if self._known is None or not np.array_equal(self._known, numbers):
            if not np.isin(numbers, self._numbers).all():
                check_elements(numbers, "structure")
                check_known_elements(numbers, self.potential.elements, atoms.get_chemical_formula())
            self._where, self._known, self._warned_of = atoms.get_chemical_formula(), numbers.copy(), 0
        neighbors = self.neighbors.update(
            positions, cell, pbc, self._where,
            check=lambda: self.potential.check(numbers, positions, cell, pbc, self._where, self.neighbors.skin),
        )  # fmt: skip
        graph = graph_from_neighbors(self._known, positions, cell, pbc, neighbors, self.potential.three_body_cutoff)
        return graph if self.potential.device.type == "cpu" else graph.to(self.potential.device)

    def check_state(self, atoms: Atoms, tol: float = 0.0) -> list[str]:
        """Names of the quantities that differ, by any amount, from those of the last calculation."""
        before = self.atoms
        if before is None or len(before) != len(atoms):
            return list(ase_calculator.all_changes)
        pairs = {
            "positions": (before.positions, atoms.positions),
            "numbers": (before.numbers, atoms.numbers),
            "cell": (before.cell.array, atoms.cell.array),
            "pbc": (before.pbc, atoms.pbc),
        }
        # comparing bytes is several times faster than comparing small arrays
        return [name for name, (a, b) in pairs.items() if a.tobytes() != b.tobytes()]

    def get_property(self, name: str, atoms: Atoms | None = None, allow_calculation: bool = True) -> Any:
        """Return a property; called by all `get_…` methods of ASE. Threads that share the calculator take turns."""
        with self._lock:
            try:
                return super().get_property(name, atoms, allow_calculation)
            except ase_calculator.PropertyNotImplementedError:
                if name not in ("magmoms", "magmom"):
                    raise
                raise ase_calculator.PropertyNotImplementedError(
                    f"{self.name}: predicts no magnetic moments; use a potential that does, such as chgnet-0.3.0"
                ) from None

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: list[str] | None = None,
        system_changes: list[str] = ase_calculator.all_changes,
    ) -> None:
        """Calculate all properties at once, since they come from the same derivative; called by ASE."""
        with self._lock, default_modes(), compiled_together(lambda: first_call(self.potential.model)):
            self._calculate(atoms, properties)

    def _calculate(self, atoms: Atoms | None, properties: list[str] | None) -> None:
        atoms = self.atoms if atoms is None else atoms.copy()
        if atoms is None:
            raise ValueError("there is no structure to calculate")
        has_volume = self._has_volume(atoms.cell)
        asked = set(properties or ())
        if asked & {"stress", "stresses"} and not has_volume:
            raise ase_calculator.PropertyNotImplementedError(
                f"{atoms.get_chemical_formula()}: there is no stress without a cell that has a volume"
            )
        # what fails from here on leaves no results, not those of another structure
        self.atoms, self.results = atoms, {}
        graph = self.graph(atoms)
        prediction = self.potential(graph, stress=has_volume, virials="stresses" in asked)
        if prediction.extrapolation_count is not None:
            self._look_for_extrapolation(prediction.extrapolation_count)
        self.results = _results(prediction, atoms.cell)
        for name in ("energy", "forces", "stress"):
            if name in self.results and not math.isfinite(np.sum(self.results[name])):
                self.results = {}
                raise SimulationError(
                    f"{atoms.get_chemical_formula()}: the {name} is not finite; the structure is far outside the range "
                    "of the potential, as after a simulation has exploded"
                )

    def _has_volume(self, cell: Cell) -> bool:
        """Whether the cell vectors span a volume; cached until they change."""
        if self._cell is None or not np.array_equal(self._cell[0], cell.array):
            # one that is not finite is refused for that, with the neighbours
            self._cell = cell.array.copy(), not np.isfinite(cell.array).all() or spans_volume(cell.array)
        return self._cell[1]

    def _look_for_extrapolation(self, count: Tensor) -> None:
        """Set `extrapolating`, and warn if it has more than doubled since the last warning."""
        self.extrapolation_count = count.numpy(force=True)
        self.extrapolating = int((count > 0).sum())
        if self.warn and self.extrapolating > 2 * self._warned_of:
            self._warned_of = self.extrapolating
            log.warning(
                "%s: %d of %d atoms are in surroundings that the training data do not have (%d descriptors out of "
                "range at the worst); what the potential predicts for them is extrapolated",
                self._where, self.extrapolating, len(count), int(count.max()),
            )  # fmt: skip


def _opened(model: Potential | OpenedPotential | str | Path | None) -> tuple[Potential, Card | None, str]:
    """Return the potential, its card, and the sha256 of its weights in the precision of the checkpoint."""
    if isinstance(model, Potential):
        return model, None, weights_sha256(model)
    opened = model if isinstance(model, OpenedPotential) else open_potential(model)
    known = (opened.folder / CARD).is_file()
    sha256 = read_card(opened.folder)["weights_sha256"] if known else weights_sha256(opened.potential)
    return opened.potential, opened.card, sha256


def _identity(potential: Potential, card: Card | None, sha256: str) -> dict[str, Any]:
    """Parameters that identify a potential, as plain values."""
    config = getattr(potential.model, "config", None)
    return {
        "model": "" if card is None else card.name,
        "architecture": getattr(config, "architecture", type(potential.model).__name__),
        "functional": "" if card is None else card.functional,
        "weights_sha256": sha256,
        "dtype": str(potential.dtype).removeprefix("torch."),
        "gnnpot_version": gnnpot.__version__,
    }


def _frozen_copy(potential: Potential, device: str | torch.device | None, dtype: torch.dtype | None) -> Potential:
    """Copy a potential, with `requires_grad` off, so that inference does not record operations for training."""
    potential = copy.deepcopy(potential).eval().requires_grad_(False)
    if device is not None or dtype is not None:
        potential = potential.to(device=device, dtype=dtype)
    return potential


def _results(prediction: Prediction, cell: Cell) -> dict[str, Any]:
    """Convert the prediction for one structure to a results dictionary of ASE."""
    energy = float(prediction.energy)
    results: dict[str, Any] = {"energy": energy, "free_energy": energy}
    results["energies"] = prediction.energies.numpy(force=True).astype(np.float64)
    for name, tensor in prediction.quantities.items():
        if name != "energy":
            value = tensor if QUANTITIES[name].per == "atom" else tensor[0]
            results[name] = value.numpy(force=True).astype(np.float64)
    if prediction.virials is not None:
        results["stresses"] = stress_to_voigt(-prediction.virials.numpy(force=True).astype(np.float64) / cell.volume)
    if "magmoms" in results:
        results["magmom"] = float(results["magmoms"].sum())
    return results
