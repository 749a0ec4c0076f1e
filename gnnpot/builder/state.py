"""State that the executors share: the structure that is being built, notes on values that were chosen, and warnings.

An executor takes a step and a `State`, and changes `state.atoms`. With `state.note` it records the values that it chose
because the step gives none. It raises `state.error` before it changes anything.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from gnnpot.builder.messages import error, say
from gnnpot.builder.recipe import MAX_ATOMS
from gnnpot.errors import BuilderError


@dataclass(frozen=True)
class Message:
    """A note or a warning: its kind (a key for programs) and its text."""

    kind: str
    text: str


@dataclass
class SlabState:
    """Properties of a slab that later steps need."""

    vacuum: float  #: requested width of the vacuum, Å
    repeated: bool  #: whether the size of the surface cell is decided; otherwise, later steps may enlarge it
    unit: Atoms  #: the slab with the smallest surface cell


@dataclass
class State:
    """The structure between two steps, and what has been recorded about it."""

    language: str = "en"
    folder: Path | None = None
    atoms: Atoms = field(default_factory=Atoms)
    #: the conventional cell that a slab is cut from
    crystal: Atoms | None = None
    slab: SlabState | None = None
    #: elements before the first substitution
    elements: frozenset[str] = frozenset()
    #: positions of the vacancies, for `near`
    vacancies: list[np.ndarray] = field(default_factory=list)
    #: positions of the substituted atoms, for `near`
    dopants: list[np.ndarray] = field(default_factory=list)
    notes: list[Message] = field(default_factory=list)
    warnings: list[Message] = field(default_factory=list)
    max_atoms: int = MAX_ATOMS

    def note(self, key: str, **values: Any) -> None:
        """Record a value that was chosen."""
        message = Message(key, say(key, self.language, **values))
        if message not in self.notes:
            self.notes.append(message)

    def warn(self, kind: str, **values: Any) -> None:
        """Record a warning to the user."""
        message = Message(kind, say(f"warning_{kind}", self.language, **values))
        if message not in self.warnings:
            self.warnings.append(message)

    def error(self, key: str, **values: Any) -> BuilderError:
        """Return an exception with a message in the language of the recipe."""
        return error(key, self.language, **values)

    def check_size(self, atoms: float) -> None:
        """Raise an error if a structure would be too large, before it is built."""
        if atoms > self.max_atoms:
            raise self.error("too_many_atoms", atoms=int(min(atoms, 1e15)), limit=self.max_atoms)

    @property
    def adsorbed(self) -> np.ndarray:
        """Boolean mask of the adsorbates (tag 0 in a structure with layers)."""
        tags = self.atoms.get_tags()
        return (tags == 0) if tags.any() else np.zeros(len(self.atoms), bool)

    @property
    def surface(self) -> SlabState:
        """Properties of the slab; only for steps that have checked `is_surface`."""
        assert self.slab is not None
        return self.slab

    @property
    def is_surface(self) -> bool:
        """Whether there is a slab or a sheet with vacuum along the third axis."""
        return self.slab is not None


def planes(heights: np.ndarray, tolerance: float = 0.3) -> list[np.ndarray]:
    """Return the indices of the atoms of each layer, lowest first. Gaps larger than `tolerance` (Å) separate layers."""
    order = np.argsort(heights, kind="stable")
    gaps = np.diff(heights[order]) > tolerance
    return np.split(order, np.nonzero(gaps)[0] + 1) if len(order) else []
