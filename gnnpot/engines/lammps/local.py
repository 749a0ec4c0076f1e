"""Energies of the atoms owned by a rank, and the gradient of the total energy of all ranks with respect to its edges.

    local = LocalEnergies(potential, symbols=["Na", "Cl"])
    energies, gradient = local(types, Part(own=120, exchange=exchange), edge_index, vectors)

The centre of each edge is one of the rank's own atoms. Potentials with several message-passing layers exchange the
features of ghost atoms with the ranks that own them; see `ops/exchange.py`.
"""

import numpy as np
import torch

from gnnpot.errors import ConfigError
from gnnpot.graphs import Graph
from gnnpot.models.base import EnergyModel
from gnnpot.ops.exchange import Part
from gnnpot.potential import Potential


class LocalEnergies:
    """Evaluates a potential for the atoms of a rank.

    Args:
        potential: Potential on the CPU.
        symbols: Element of each LAMMPS atom type, in their order.

    Raises:
        ConfigError: The potential has not been trained on an element, or can't leave out the energies of ghost atoms.
    """

    def __init__(self, potential: Potential, symbols: list[str]) -> None:
        from ase.data import atomic_numbers

        missing = [s for s in symbols if s not in potential.elements]
        if missing:
            raise ConfigError(f"pair_coeff: the potential has not seen {missing[0]}")
        models = [potential.model, *potential.terms]
        refused = next((m for m in models if m.message_layers is None), None)
        if refused is not None:
            raise ConfigError(
                f"pair_style gnnpot: {type(refused).__name__} can't leave out the energies of ghost atoms; use a "
                "SevenNet, Nequix or HDNNP, such as a student of 'gnnpot distil'"
            )
        self.potential = potential
        self.layers = max(int(m.message_layers or 1) for m in models)
        self.cutoff = max(m.cutoff for m in models)
        #: largest number of bytes exchanged for an atom between two layers; 0: nothing is exchanged
        self.exchanged_bytes = max(m.exchanged_bytes for m in models)
        #: atomic numbers by LAMMPS atom type, which starts at 1
        self._numbers = np.array([0, *(atomic_numbers[s] for s in symbols)])
        self._dtype = potential.model.fast_dtype or potential.dtype

    @torch.no_grad()
    def __call__(
        self, types: np.ndarray, part: Part, edge_index: np.ndarray, vectors: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Calculate the energies of the rank's own atoms and the gradient.

        Args:
            types: LAMMPS atom types of the rank's own atoms and ghosts, [N].
            part: Number of own atoms, which come first, and the exchange of features.
            edge_index: Indices of centre and neighbour, [2, E], sorted by centre.
            vectors: Edge vectors from centre to neighbour, [E, 3] Å.

        Returns:
            Energies of own atoms, including reference energies, [part.own] eV, and the gradient of the total energy of
            all ranks with respect to `vectors`, [E, 3] eV/Å.
        """
        potential, numbers = self.potential, self._numbers[types]
        graph = self._graph(numbers, part, edge_index, vectors)
        energies, gradient = _own(potential.model, graph, part)
        scale = float(potential.energy_scale)
        energies = scale * energies + potential.reference_energies[graph.numbers[: part.own]].numpy()
        gradient = np.multiply(gradient, scale, dtype=np.float64)
        for term in potential.terms:
            more, more_gradient = _own(term, graph, part)
            energies += more
            gradient += more_gradient
        return energies, gradient

    def _graph(self, numbers: np.ndarray, part: Part, edge_index: np.ndarray, vectors: np.ndarray) -> Graph:
        edges = edge_index.shape[1]
        return Graph(
            numbers=torch.from_numpy(numbers),
            positions=torch.zeros(len(numbers), 3, dtype=torch.float64),
            cell=torch.zeros(1, 3, 3, dtype=torch.float64),
            pbc=torch.zeros(1, 3, dtype=torch.bool),
            edge_index=torch.from_numpy(edge_index),
            edge_shifts=torch.zeros(edges, 3, dtype=torch.int64),
            edge_vectors=torch.from_numpy(vectors).to(self._dtype),
            part=part,
            num_nodes=len(numbers),
        )


def _own(model: EnergyModel, graph: Graph, part: Part) -> tuple[np.ndarray, np.ndarray]:
    """Energies of the rank's own atoms, in float64, and the gradient of the total energy of all ranks."""
    output, gradient = model.energies_and_gradient(graph)
    return output.energies[: part.own].double().numpy(), gradient.numpy()
