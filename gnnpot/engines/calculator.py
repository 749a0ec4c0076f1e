"""An ASE calculator of a potential.

Example::

    atoms.calc = Calculator()                           # the potential that comes with gnnpot
    atoms.calc = Calculator("path/to/checkpoint")
    atoms.get_potential_energy(), atoms.get_forces(), atoms.get_stress()
"""

import copy
import logging
import threading
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from ase import Atoms
from ase.calculators import calculator as ase_calculator
from ase.cell import Cell
from torch import Tensor

from gnnpot.data.structure import check_elements
from gnnpot.engines.skin import SkinList
from gnnpot.errors import DataError, SimulationError
from gnnpot.graphs import Graph
from gnnpot.graphs.graph import graph_from_neighbors
from gnnpot.hub.checkpoint import Card
from gnnpot.hub.opening import OpenedPotential, open_potential
from gnnpot.models.base import check_elements as check_known_elements
from gnnpot.models.surroundings import as_device, as_dtype, usual_modes
from gnnpot.potential import Potential, Prediction

log = logging.getLogger(__name__)


class Calculator(ase_calculator.Calculator):
    """Energy, forces, stress (Voigt), energies of the atoms, and magnetic moments if the model knows them.

    `model` is a `Potential`, what `open_potential` returns, or a name or path that `gnnpot.load` takes; without it, the
    default potential. `card` is what is known of it (`None` for a bare `Potential`). The
    calculator holds a copy of it, in `dtype` on `device` (names or PyTorch's objects; default: the potential's own):
    training the potential further changes nothing here. PyTorch's inference mode, autocast and default device have no
    part in the results.
    `skin` (Å) is how far beyond the cutoff neighbours are remembered; the results don't depend on it.

    Of models that remember the range of their training data (HDNNP), `extrapolating` is the number of atoms that are
    outside of it. With `warn`, that is logged when there are any, and when they have become twice as many.

    Raises `UnknownElementError` for elements that the potential has not seen, `MemoryNeedError` for structures that
    would need more memory than there is, `DataError` for structures that can't be (what `gnnpot.data.structure`
    refuses: two atoms at one place, a flat cell), `SimulationError` for results that are not finite, and ASE's
    `PropertyNotImplementedError` for the stress of a structure without a volume; when it is made, `ConfigError` for a
    device that can't be used here and for a `dtype` that is neither float32 nor float64. Structures are checked each time
    that neighbours are searched anew.
    """

    implemented_properties: ClassVar[list[str]] = [
        "energy", "free_energy", "energies", "forces", "stress", "magmoms", "magmom"
    ]  # fmt: skip

    def __init__(
        self,
        model: Potential | OpenedPotential | str | Path | None = None,
        *,
        device: str | torch.device | None = None,
        dtype: str | torch.dtype | None = None,
        skin: float = 0.5,
        warn: bool = True,
    ) -> None:
        super().__init__()
        if skin < 0:
            raise ValueError(f"skin: {skin} is negative")
        where, precision = as_device(device), as_dtype(dtype)
        with usual_modes():
            potential, self.card = _opened(model)
            self.potential = _frozen_copy(potential, where, precision)
        self.neighbors = SkinList(self.potential.cutoff, skin)
        self._known: np.ndarray | None = None
        self._cell: tuple[np.ndarray, bool] | None = None
        self._where = ""
        self.extrapolating, self.warn = 0, warn
        self._warned_of = 0
        self._lock = threading.RLock()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = threading.RLock()

    @property
    def elements(self) -> tuple[str, ...]:
        """Elements that the potential knows."""
        return self.potential.elements

    @property
    def dtype(self) -> torch.dtype:
        return self.potential.dtype

    def graph(self, atoms: Atoms) -> Graph:
        """The graph of `atoms`, with the neighbours remembered from the last call where that is right."""
        if len(atoms) == 0:
            raise DataError("structure: there are no atoms; give a structure with at least one")
        positions = np.ascontiguousarray(atoms.positions, dtype=np.float64)
        cell, pbc = atoms.cell.array, atoms.pbc
        numbers = atoms.numbers
        if self._known is None or not np.array_equal(self._known, numbers):
            check_elements(numbers, "structure")
            where = atoms.get_chemical_formula()
            check_known_elements(numbers, self.potential.elements, where)
            self._where, self._known, self._warned_of = where, numbers.copy(), 0
        neighbors = self.neighbors.update(
            positions, cell, pbc, self._where,
            check=lambda: self.potential.check(numbers, positions, cell, pbc, self._where, self.neighbors.skin),
        )  # fmt: skip
        graph = graph_from_neighbors(self._known, positions, cell, pbc, neighbors, self.potential.three_body_cutoff)
        return graph if self.potential.device.type == "cpu" else graph.to(self.potential.device)

    def check_state(self, atoms: Atoms, tol: float = 0.0) -> list[str]:  # noqa: ARG002 - ASE's signature
        """Which of the things that results depend on differ from the last calculation's, by however little."""
        before = self.atoms
        if before is None or len(before) != len(atoms):
            return list(ase_calculator.all_changes)
        pairs = {
            "positions": (before.positions, atoms.positions),
            "numbers": (before.numbers, atoms.numbers),
            "cell": (before.cell.array, atoms.cell.array),
            "pbc": (before.pbc, atoms.pbc),
        }
        return [name for name, (a, b) in pairs.items() if not (a == b).all()]

    def get_property(self, name: str, atoms: Atoms | None = None, allow_calculation: bool = True) -> Any:
        """ASE's entry of all `get_…`; of several threads that share the calculator, one waits for the other."""
        with self._lock:
            return super().get_property(name, atoms, allow_calculation)

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: list[str] | None = None,
        system_changes: list[str] = ase_calculator.all_changes,  # noqa: ARG002 - ASE's signature
    ) -> None:
        """ASE's entry: everything at once, since one differentiation gives it all."""
        with self._lock, usual_modes():
            self._calculate(atoms, properties)

    def _calculate(self, atoms: Atoms | None, properties: list[str] | None) -> None:
        if atoms is not None:
            self.atoms = atoms.copy()
        atoms = self.atoms
        has_volume = self._has_volume(atoms.cell)
        if "stress" in (properties or ()) and not has_volume:
            raise ase_calculator.PropertyNotImplementedError(
                f"{atoms.get_chemical_formula()}: there is no stress without a cell that has a volume"
            )
        graph = self.graph(atoms)
        prediction = self.potential(graph, stress=has_volume)
        if prediction.outside is not None:
            self._look_for_extrapolation(prediction.outside)
        self.results = _results(prediction)
        for name in ("energy", "forces", "stress"):
            if name in self.results and not np.isfinite(self.results[name]).all():
                self.results = {}
                raise SimulationError(
                    f"{atoms.get_chemical_formula()}: the {name} is not finite; the atoms are where the potential "
                    "knows nothing, as after a simulation has exploded"
                )

    def _has_volume(self, cell: Cell) -> bool:
        """Whether the three vectors span one; found anew when they change."""
        if self._cell is None or not np.array_equal(self._cell[0], cell.array):
            self._cell = cell.array.copy(), cell.rank == 3
        return self._cell[1]

    def _look_for_extrapolation(self, outside: Tensor) -> None:
        """Set `extrapolating`, and warn if it is worse than when it was last warned of."""
        self.extrapolating = int((outside > 0).sum())
        if self.warn and self.extrapolating > 2 * self._warned_of:
            self._warned_of = self.extrapolating
            log.warning(
                "%s: %d of %d atoms are in surroundings that the training data do not have (%d descriptors out of "
                "range at the worst); what the potential says of them is extrapolated",
                self._where, self.extrapolating, len(outside), int(outside.max()),
            )  # fmt: skip


def _opened(model: Potential | OpenedPotential | str | Path | None) -> tuple[Potential, Card | None]:
    if isinstance(model, Potential):
        return model, None
    opened = model if isinstance(model, OpenedPotential) else open_potential(model)
    return opened.potential, opened.card


def _frozen_copy(potential: Potential, device: str | torch.device | None, dtype: torch.dtype | None) -> Potential:
    """A copy without gradients to its parameters, so that inference does not prepare for training."""
    potential = copy.deepcopy(potential).eval().requires_grad_(False)
    if device is not None or dtype is not None:
        potential = potential.to(device=device, dtype=dtype)
    return potential


def _results(prediction: Prediction) -> dict[str, Any]:
    """ASE's dictionary of a prediction for one structure."""
    energy = float(prediction.energy)
    results: dict[str, Any] = {"energy": energy, "free_energy": energy}
    tensors = {
        "energies": prediction.energies,
        "forces": prediction.forces,
        "stress": None if prediction.stress is None else prediction.stress[0],
        "magmoms": prediction.magmoms,
    }
    for name, tensor in tensors.items():
        if tensor is not None:
            results[name] = tensor.numpy(force=True).astype(np.float64)
    if "magmoms" in results:
        results["magmom"] = float(results["magmoms"].sum())
    return results
