"""The teacher: what labels the structures."""

import functools
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ase.calculators.calculator import BaseCalculator

from gnnpot.data.frame import Frame
from gnnpot.data.store import FrameStore
from gnnpot.engines.calculator import Calculator
from gnnpot.errors import DataError, UnknownElementError
from gnnpot.hub.checkpoint import Card
from gnnpot.models.base import check_elements
from gnnpot.sampling import LabelConfig, Labeller, Limits, Original, label
from gnnpot.sampling.distortions import AnyDistortion
from gnnpot.sampling.labeller_names import describe


@dataclass(frozen=True)
class Teacher:
    """A potential, or another ASE calculator, that students learn from."""

    name: str  #: as the user gave it
    labeller: Labeller
    card: Card  #: empty for what has none
    #: symbols; `None`: unknown
    elements: tuple[str, ...] | None

    def check(self, structures: Sequence[Frame]) -> None:
        """Raise `UnknownElementError` for a structure with an element that the teacher does not know."""
        if self.elements is None:
            return
        for frame in structures:
            try:
                check_elements(frame.numbers, self.elements, frame.where)
            except UnknownElementError as error:
                raise UnknownElementError(f"{error}; name another teacher, or leave that structure out") from None

    def label(
        self,
        structures: Sequence[Frame],
        store: Path,
        limits: Limits,
        processes: int = 1,
        progress: Callable[[int, int], None] = lambda done, total: None,
        distortions: tuple[AnyDistortion, ...] = (Original(),),
        seed: int = 0,
    ) -> FrameStore:
        """The store of labelled frames, or the one that this run has made before.

        Args:
            structures: to label.
            store: folder of the store.
            limits: frames beyond these are left out.
            processes: that label side by side.
            progress: called with the number of finished structures, and of all.
            distortions: what is made of each structure and labelled; without them, the structure as it is.
            seed: of the random numbers of the distortions.

        Raises:
            DataError: if nothing could be labelled.
        """
        if store.exists():
            return FrameStore(store)
        config = LabelConfig(distortions, seed, limits)
        return label(structures, self.labeller, store, config, processes=processes, progress=progress)


def open_teacher(name: str, make: Callable[[], BaseCalculator] | None = None) -> Teacher:
    """The teacher of that name or path; `make` makes its calculator where it is none of gnnpot's potentials, or is to
    be made in a special way. Raises `CheckpointError` if there is none."""
    make = make or functools.partial(Calculator, name)
    calculator = make()
    described, functional = describe(name, calculator)
    elements = getattr(calculator, "elements", None) if hasattr(calculator, "potential") else None
    card = getattr(calculator, "card", None) or Card()
    return Teacher(name, Labeller(make, described, functional), card, elements)


def require_stress(store: FrameStore) -> None:
    """Raise `DataError` if the teacher's stresses are not the derivatives of its energies."""
    check = store.manifest.stress_check or {}
    if check.get("verdict") == "disagrees":
        raise DataError(
            f"{store.folder}: the teacher's stresses contradict its energies ({check.get('meaning')}); set "
            "learn.loss.stress=0 to learn without them"
        )


def left_out(store: FrameStore) -> Counter[str]:
    """Frames that could not be labelled, by reason."""
    return Counter(store.manifest.filters)
