"""Potentials as models of torch-sim, for relaxation and molecular dynamics of batches of structures.

    import torch_sim as ts
    from gnnpot.engines.torch_sim import TorchSimModel

    model = TorchSimModel("7net-0", device="cuda")
    state = ts.optimize(structures, model, optimizer=ts.frechet_cell_fire)
    state = ts.integrate(structures, model, integrator=ts.nvt_langevin, n_steps=1000, temperature=300, timestep=0.001)

Requires torch-sim (Cohen et al., AI Sci. 1, 025003 (2025)): pip install "gnnpot[torch-sim]".

Each system of a batch has its own neighbour list on the CPU (`graphs.skin`), which is rebuilt when an atom has moved by
half of the skin. Energies and derivatives of the whole batch are calculated together.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Batch

from gnnpot.data.structure import check_elements
from gnnpot.engines.calculator import Calculator
from gnnpot.errors import DataError
from gnnpot.extras import needs_extra
from gnnpot.graphs import Graph
from gnnpot.graphs.graph import graph_from_neighbors
from gnnpot.graphs.skin import SKIN, SkinList
from gnnpot.hub.opening import OpenedPotential
from gnnpot.models.base import check_elements as check_known_elements
from gnnpot.potential import Potential
from gnnpot.torch_modes import default_modes

with needs_extra("gnnpot.engines.torch_sim"):
    from torch_sim.models.interface import ModelInterface

#: attributes that are read from a state
_READ = ("positions", "cell", "pbc", "atomic_numbers", "system_idx")
#: Voigt component of each element of the tensor
_FULL = torch.tensor([[0, 5, 4], [5, 1, 3], [4, 3, 2]])


class TorchSimModel(ModelInterface):
    """Calculates energies, forces and stresses of the systems of a state.

    Args:
        model: A `Potential`, the result of `open_potential`, or a name or path accepted by `gnnpot.load`; default: the
            default potential. The model holds a copy.
        device: Device of the calculation; default: the device of the potential.
        dtype: Precision of the calculation and of torch-sim's states; default: the precision of the potential.
        skin: Å, margin beyond the cutoff within which neighbours are listed and reused; it does not affect the results.
        compute_forces: Whether to return forces.
        compute_stress: Whether to return stresses; the stress of a system without a volume is NaN.

    Raises:
        The exceptions of `gnnpot.Calculator`, at construction and for each system.
    """

    def __init__(
        self,
        model: Potential | OpenedPotential | str | Path | None = None,
        *,
        device: str | torch.device | None = None,
        dtype: str | torch.dtype | None = None,
        skin: float = SKIN,
        compute_forces: bool = True,
        compute_stress: bool = True,
    ) -> None:
        super().__init__()
        calculator = Calculator(model, device=device, dtype=dtype, skin=skin)
        self.potential = calculator.potential
        #: parameters that identify the potential: name, version, sha256 of the weights
        self.parameters_of_potential = dict(calculator.parameters)
        self.skin = skin
        self._device, self._dtype = self.potential.device, self.potential.dtype
        self._compute_forces, self._compute_stress = compute_forces, compute_stress
        self._neighbors: list[SkinList] = []
        self._known: np.ndarray | None = None

    @property
    def compute_forces(self) -> bool:
        """Whether forces are returned."""
        return self._compute_forces

    @compute_forces.setter
    def compute_forces(self, compute_forces: bool) -> None:
        self._compute_forces = compute_forces

    @property
    def compute_stress(self) -> bool:
        """Whether stresses are returned."""
        return self._compute_stress

    @compute_stress.setter
    def compute_stress(self, compute_stress: bool) -> None:
        self._compute_stress = compute_stress

    def forward(self, state: Any, **_: Any) -> dict[str, Tensor]:
        """Calculate the results for B systems with N atoms in total.

        Args:
            state: torch-sim's `SimState`, or a dictionary of its positions, cell, pbc, atomic_numbers and system_idx.

        Returns:
            energy [B] eV, forces [N, 3] eV/Å, stress [B, 3, 3] eV/Å³, positive under tension.
        """
        values = state if isinstance(state, dict) else {name: getattr(state, name) for name in _READ}
        with default_modes():
            graph = self._batch(values).to(self._device)
            prediction = self.potential(graph, forces=self.compute_forces, stress=self.compute_stress)
        given = values["positions"]
        results = {"energy": prediction.energy}
        if prediction.forces is not None:
            results["forces"] = prediction.forces
        if prediction.stress is not None:
            results["stress"] = prediction.stress[:, _FULL]
        return {name: value.detach().to(given) for name, value in results.items()}

    def _batch(self, values: Any) -> Graph:
        """Graph of all systems."""
        positions = np.ascontiguousarray(values["positions"].detach().cpu().double().numpy())
        # torch-sim stores cell vectors as columns
        cells = np.ascontiguousarray(values["cell"].detach().cpu().double().numpy().swapaxes(-1, -2))
        numbers = values["atomic_numbers"].cpu().numpy().astype(np.int64)
        index = values.get("system_idx")
        index = np.zeros(len(numbers), dtype=np.int64) if index is None else index.cpu().numpy()
        pbc = np.broadcast_to(torch.as_tensor(values["pbc"]).cpu().numpy(), (len(cells), 3))
        ends = np.searchsorted(index, np.arange(len(cells) + 1))
        if len(numbers) == 0 or (np.diff(ends) < 1).any() or (np.diff(index) < 0).any():
            raise DataError("torch-sim: a system of the batch has no atoms, or the atoms are not sorted by system")
        if self._known is None or not np.array_equal(self._known, numbers):
            check_elements(numbers, "batch")
            check_known_elements(np.unique(numbers), self.potential.elements, "batch")
            self._known = numbers.copy()
        while len(self._neighbors) < len(cells):
            self._neighbors.append(SkinList(self.potential.cutoff, self.skin))
        graphs = [
            self._graph(self._neighbors[b], numbers[i:j], positions[i:j], cells[b], pbc[b].copy(), f"system {b}")
            for b, (i, j) in enumerate(zip(ends, ends[1:], strict=False))
        ]
        return graphs[0] if len(graphs) == 1 else Batch.from_data_list(graphs)

    def _graph(
        self,
        neighbors: SkinList,
        numbers: np.ndarray,
        positions: np.ndarray,
        cell: np.ndarray,
        pbc: np.ndarray,
        where: str,
    ) -> Graph:
        found = neighbors.update(
            positions, cell, pbc, where,
            check=lambda: self.potential.check(numbers, positions, cell, pbc, where, self.skin),
        )  # fmt: skip
        return graph_from_neighbors(numbers, positions, cell, pbc, found, self.potential.three_body_cutoff)
