"""What the executors share: the structure that grows, the notes on what was chosen, and the problems found.

An executor takes a step and a `State`, and changes `state.atoms`. It says in `state.note` what it chose where the step
is silent, and raises `state.error` before anything is changed.
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
    """A note or a warning: its kind (a word for programs) and its sentence."""

    kind: str
    text: str


@dataclass
class SlabState:
    """What later steps need to know of a slab: requested vacuum, and whether its repeat was chosen by the sentence."""

    vacuum: float
    repeated: bool
    unit: Atoms
    layer_height: float


@dataclass
class State:
    """The structure between two steps."""

    language: str = "en"
    folder: Path | None = None
    atoms: Atoms = field(default_factory=Atoms)
    #: the conventional cell that a slab is cut from
    crystal: Atoms | None = None
    slab: SlabState | None = None
    #: positions of vacancies and indices of substituted atoms, for `near`
    #: elements before the first substitution
    elements: frozenset[str] = frozenset()
    vacancies: list[np.ndarray] = field(default_factory=list)
    dopants: list[np.ndarray] = field(default_factory=list)
    notes: list[Message] = field(default_factory=list)
    warnings: list[Message] = field(default_factory=list)
    max_atoms: int = MAX_ATOMS

    def note(self, key: str, **values: Any) -> None:
        """Record what was chosen."""
        message = Message(key, say(key, self.language, **values))
        if message not in self.notes:
            self.notes.append(message)

    def warn(self, kind: str, **values: Any) -> None:
        """Record what the user should look at."""
        message = Message(kind, say(f"warning_{kind}", self.language, **values))
        if message not in self.warnings:
            self.warnings.append(message)

    def error(self, key: str, **values: Any) -> BuilderError:
        """The exception to raise, in the language of the recipe."""
        return error(key, self.language, **values)

    def check_size(self, atoms: float) -> None:
        """Refuse a structure that is too large, before it is made."""
        if atoms > self.max_atoms:
            raise self.error("too_many_atoms", atoms=int(min(atoms, 1e15)), limit=self.max_atoms)

    @property
    def adsorbed(self) -> np.ndarray:
        """Which atoms are adsorbates (tag 0 in a structure that has layers)."""
        tags = self.atoms.get_tags()
        return (tags == 0) if tags.any() else np.zeros(len(self.atoms), bool)

    @property
    def surface(self) -> SlabState:
        """What is known of the slab; only for steps that have looked at `is_surface`."""
        assert self.slab is not None
        return self.slab

    @property
    def is_surface(self) -> bool:
        """Whether there is a slab or a sheet with vacuum along the third axis."""
        return self.slab is not None


def planes(heights: np.ndarray, tolerance: float = 0.3) -> list[np.ndarray]:
    """Indices of atoms by layer, lowest first: a layer ends where the next height is more than `tolerance` above."""
    order = np.argsort(heights, kind="stable")
    gaps = np.diff(heights[order]) > tolerance
    return np.split(order, np.nonzero(gaps)[0] + 1) if len(order) else []
