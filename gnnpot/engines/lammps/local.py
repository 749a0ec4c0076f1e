"""Energies of the atoms that a rank owns, and their derivative, from the atoms and edges that reach them.

    local = LocalEnergies(potential, numbers_of_types=[11, 17])
    energies, gradient = local(types, shells, edge_index, vectors)

The first `shells[0]` atoms are the rank's own, the first `shells[k]` at most k edges away from one of them. Energies of
L message-passing layers depend on atoms L edges away; edges are those whose centre is at most L - 1 edges away.
"""

import numpy as np
import torch

from gnnpot.errors import ConfigError
from gnnpot.graphs import Graph
from gnnpot.models.base import EnergyModel
from gnnpot.potential import Potential


class LocalEnergies:
    """A potential for the atoms of a rank.

    Args:
        potential: On the processor.
        symbols: The element of each atom type of LAMMPS, in their order.

    Raises:
        ConfigError: The potential has not seen an element, needs triplets, or can't leave out the energies of ghosts.
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
        #: by type of LAMMPS, which counts from 1
        self._numbers = np.array([0, *(atomic_numbers[s] for s in symbols)])
        self._dtype = potential.model.fast_dtype or potential.dtype

    @torch.no_grad()
    def __call__(
        self, types: np.ndarray, shells: np.ndarray, edge_index: np.ndarray, vectors: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Energies of the rank's own atoms, with references, [shells[0]] eV, and the gradient, [E, 3] eV/Å.

        Args:
            types: [N] of LAMMPS.
            shells: [L + 1] numbers of atoms, ascending; the last is N.
            edge_index: [2, E] centre and neighbour, sorted by centre.
            vectors: [E, 3] Å, from centre to neighbour.
        """
        potential, local = self.potential, int(shells[0])
        numbers = self._numbers[types]
        graph = self._graph(numbers, shells, edge_index, vectors)
        output, edge_gradient = self._model(potential.model, graph, shells)
        scale = float(potential.energy_scale)
        energies = scale * output[:local] + potential.reference_energies[graph.numbers[:local]].numpy()
        gradient = scale * edge_gradient
        for term in potential.terms:
            more, more_gradient = self._model(term, graph, shells)
            energies, gradient = energies + more[:local], gradient + more_gradient
        return energies, gradient

    def _graph(self, numbers: np.ndarray, shells: np.ndarray, edge_index: np.ndarray, vectors: np.ndarray) -> Graph:
        edges = edge_index.shape[1]
        return Graph(
            numbers=torch.from_numpy(numbers),
            positions=torch.zeros(len(numbers), 3, dtype=torch.float64),
            cell=torch.zeros(1, 3, 3, dtype=torch.float64),
            pbc=torch.zeros(1, 3, dtype=torch.bool),
            edge_index=torch.from_numpy(edge_index),
            edge_shifts=torch.zeros(edges, 3, dtype=torch.int64),
            edge_vectors=torch.from_numpy(vectors).to(self._dtype),
            shells=torch.from_numpy(shells),
            num_nodes=len(numbers),
        )

    def _model(self, model: EnergyModel, graph: Graph, shells: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Energies of at least the rank's own atoms, and the gradient of their sum."""
        layers = int(model.message_layers or 1)
        if layers == self.layers:
            part, count = graph, graph.edge_vectors.shape[0]
        else:
            # with fewer layers than another model of the potential, it sees fewer shells
            count = int(np.searchsorted(graph.edge_index[0].numpy(), shells[layers - 1]))
            part = graph.clone_with_edge_vectors(graph.edge_vectors[:count])
            part.edge_index, part.edge_shifts = graph.edge_index[:, :count], graph.edge_shifts[:count]
            part.shells = graph.shells[: layers + 1]
        output, found = model.energies_and_gradient(part)
        gradient = np.zeros((graph.edge_vectors.shape[0], 3))
        gradient[:count] = found.numpy()
        return output.energies.numpy().astype(np.float64), gradient
