"""Exchange of features between parts of a structure (domain decomposition). Each part has its own atoms, and ghosts.

    graph.part = Part(own=120, exchange=exchange)        # atoms 120, 121, … are ghosts, which other parts own
    model.energies_and_gradient(graph)                   # energies of the first 120 atoms

The centre of each edge is an own atom. Each layer computes the features x of the own atoms from the features of own
atoms and ghosts. The features of a ghost are computed once, by the part that owns the atom, and sent to the other
parts. The gradients are sent back:

    layer 1 ─▶ x own ─▶ exchange.forward(x) ─▶ layer 2 ─▶ … ─▶ energies of own atoms
                        x ghost = x owner                                │
    layer 1 ◀─ g own ◀─ exchange.backward(g) ◀─ layer 2 ◀─ … ◀───────────┘
                        g owner += Σ g ghost

so that g is the gradient of the energies of all parts. A last layer that has fewer messages than features sends the
gradients of the messages to the ghosts instead, with a second `exchange.forward` (`tensor_product/edges.py`,
equation 9). All parts call the exchange the same number of times, including parts without atoms. Features are flat
arrays with the layout of `rows.py`.
"""

from typing import NamedTuple, Protocol

import numpy as np


class Exchange(Protocol):
    """Communication between the parts. Arrays are modified in place; `offsets` [l, 3] is `Rows.offsets`."""

    def forward(self, features: np.ndarray, offsets: np.ndarray) -> None:
        """Copy the rows of the owners to their ghosts."""

    def backward(self, gradient: np.ndarray, offsets: np.ndarray) -> None:
        """Add the rows of the ghosts to the rows of their owners, and set the rows of the ghosts to zero."""


class Part(NamedTuple):
    """The own atoms of a graph, and the exchange of features with the other parts."""

    own: int  #: number of own atoms, which come first and whose energies are computed; the other atoms are ghosts
    exchange: Exchange | None = None  #: `None` for a single part, or for a model without messages between atoms
