"""Energies of the atoms that a rank owns, and the gradient of the energies of all ranks, from its atoms and ghosts.

    local = LocalEnergies(potential, symbols=["Na", "Cl"])
    energies, gradient = local(types, Part(own=120, exchange=exchange), edge_index, vectors)

Edges are those whose centre is one of the rank's own atoms. Potentials of several message-passing layers exchange the
features of ghosts with the ranks that own them, as `ops/exchange.py` says.
"""

import numpy as np
import torch

from gnnpot.errors import ConfigError
from gnnpot.graphs import Graph
from gnnpot.models.base import EnergyModel
from gnnpot.ops.exchange import Part
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
        #: the most that is sent of an atom between two layers; 0: nothing is
        self.exchanged_bytes = max(m.exchanged_bytes for m in models)
        #: by type of LAMMPS, which counts from 1
        self._numbers = np.array([0, *(atomic_numbers[s] for s in symbols)])
        self._dtype = potential.model.fast_dtype or potential.dtype

    @torch.no_grad()
    def __call__(
        self, types: np.ndarray, part: Part, edge_index: np.ndarray, vectors: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Energies of the rank's own atoms, with references, [part.own] eV, and the gradient, [E, 3] eV/Å.

        Args:
            types: [N] of LAMMPS, of the rank's own atoms and ghosts.
            part: How many are its own, and how features are exchanged.
            edge_index: [2, E] centre and neighbour, sorted by centre.
            vectors: [E, 3] Å, from centre to neighbour.
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
    """Energies of the rank's own atoms, in float64, and the gradient of all ranks' energies."""
    output, gradient = model.energies_and_gradient(graph)
    return output.energies[: part.own].double().numpy(), gradient.numpy()
