"""Parts of a structure that exchange features: each calculates its own atoms, and knows its neighbours as ghosts.

    graph.part = Part(own=120, exchange=exchange)        # atoms 120, 121, … are ghosts, which other parts own
    model.energies_and_gradient(graph)                   # energies of the first 120 atoms

Edges have own atoms as centres. Each layer calculates the features x of the own atoms from those of own atoms and
ghosts. What a ghost has is calculated once, by the part that owns it, and sent; its gradient is sent back:

    layer 1 ─▶ x own ─▶ exchange.forward(x) ─▶ layer 2 ─▶ … ─▶ energies of own atoms
                        x ghost = x owner                                │
    layer 1 ◀─ g own ◀─ exchange.backward(g) ◀─ layer 2 ◀─ … ◀───────────┘
                        g owner += Σ g ghost

so that g is the gradient of the energies of all parts. A last layer of few messages passes the gradient of these to the
ghosts instead (`tensor_product/edges.py`, equation 9), by another `exchange.forward`. All parts call the exchange
equally often, also those without atoms. Features are flat arrays as `rows.py` has them.
"""

from typing import NamedTuple, Protocol

import numpy as np


class Exchange(Protocol):
    """What passes between the parts. `offsets` [l, 3] are those of `Rows`; arrays are changed in place."""

    def forward(self, features: np.ndarray, offsets: np.ndarray) -> None:
        """Fill the rows of ghosts with those of their owners."""

    def backward(self, gradient: np.ndarray, offsets: np.ndarray) -> None:
        """Add the rows of ghosts to those of their owners, and set them to zero."""


class Part(NamedTuple):
    """Which atoms of a graph are calculated, and how the others' features are known."""

    own: int  #: the first atoms, whose energies are asked for; those that follow are ghosts
    exchange: Exchange | None = None  #: `None`: one part is all, or nothing is passed between atoms
