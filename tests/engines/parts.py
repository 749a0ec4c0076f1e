"""Parts of a structure without LAMMPS: each is calculated in a thread, and features pass between them."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from gnnpot.graphs.neighbors import Neighbors


class Parts:
    """One part calculates while the others wait for an exchange, or for their turn.

    `own` are the atoms of each part. The ghosts of a part are the neighbours of its atoms that are not its own; an
    atom's images are the atom.
    """

    def __init__(self, own: list[np.ndarray], neighbors: Neighbors) -> None:
        self.neighbors = neighbors
        self.members = [Member(self, atoms) for atoms in own]
        self._turn, self._barrier = threading.Lock(), threading.Barrier(len(own), timeout=300)

    def run(self, calculate: "Callable[[Member], None]") -> None:
        def in_turn(member: Member) -> None:
            with self._turn:
                calculate(member)

        with ThreadPoolExecutor(len(self.members)) as threads:
            for done in [threads.submit(in_turn, member) for member in self.members]:
                done.result()

    def meet(self) -> None:
        self._turn.release()
        try:
            self._barrier.wait()
        finally:
            self._turn.acquire()


class Member:
    """A part: its atoms and ghosts in order, its edges, and its exchange with the others."""

    def __init__(self, parts: Parts, own: np.ndarray) -> None:
        self.parts, self.own = parts, len(own)
        centre, neighbor = parts.neighbors.edge_index
        chosen = np.isin(centre, own)
        self.order = np.concatenate([own, np.setdiff1d(neighbor[chosen], own)])
        self.place = np.full(centre.max() + 1, -1)
        self.place[self.order] = np.arange(len(self.order))
        index, vectors = self.place[parts.neighbors.edge_index[:, chosen]], parts.neighbors.edge_vectors[chosen]
        sort = np.argsort(index[0], kind="stable")
        self.index, self.vectors = np.ascontiguousarray(index[:, sort]), np.ascontiguousarray(vectors[sort])
        self.blocks: list[np.ndarray] = []
        self.calls: list[tuple[str, int]] = []

    @property
    def ghosts(self) -> np.ndarray:
        return self.order[self.own :]

    def forward(self, features: np.ndarray, offsets: np.ndarray) -> None:
        self._show("forward", features, offsets)
        for other in self.parts.members:
            rows, theirs = self._shared(self.ghosts, self, other)
            for mine, block in zip(self.blocks, other.blocks, strict=True):
                mine[rows] = block[theirs]
        self.parts.meet()

    def backward(self, gradient: np.ndarray, offsets: np.ndarray) -> None:
        self._show("backward", gradient, offsets)
        for other in self.parts.members:
            theirs, rows = self._shared(other.ghosts, other, self)
            for mine, block in zip(self.blocks, other.blocks, strict=True):
                mine[rows] += block[theirs]
        self.parts.meet()
        for block in self.blocks:
            block[self.own : len(self.order)] = 0

    def _show(self, way: str, rows: np.ndarray, offsets: np.ndarray) -> None:
        """Let the others see the rows, as one array [atoms, numbers] for each l, and see theirs."""
        size = offsets[:, 1].sum()
        atoms = len(rows) // size
        assert atoms * size == len(rows) and atoms >= len(self.order)
        self.blocks = [rows[first * atoms : (first + n) * atoms].reshape(atoms, n) for first, n, _ in offsets]
        self.calls.append((way, int(size)))
        self.parts.meet()

    @staticmethod
    def _shared(ghosts: np.ndarray, holder: "Member", owner: "Member") -> tuple[np.ndarray, np.ndarray]:
        """Rows of ghosts in the part that has them, and in that which owns them."""
        found = ghosts[np.isin(ghosts, owner.order[: owner.own])]
        return holder.place[found], owner.place[found]
