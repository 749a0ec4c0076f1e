"""Teacher of a distillation, which labels the structures."""

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
    """Potential or other ASE calculator whose labels the students are trained on."""

    name: str  #: name or path that the user gave
    labeller: Labeller
    card: Card  #: card of the potential; without contents for other calculators
    #: symbols of the elements that it has; `None`: unknown
    elements: tuple[str, ...] | None

    def check(self, structures: Sequence[Frame]) -> None:
        """Raise `UnknownElementError` if a structure has an element that the teacher does not have."""
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
        """Label structures and write them to a store; an existing store is only opened.

        Args:
            structures: Structures to label.
            store: Folder of the store.
            limits: Limits of the labels; frames that exceed them are left out.
            processes: Number of processes for labelling.
            progress: Called with the number of finished structures and that of all.
            distortions: Distortions of each structure; by default, only the structure itself is labelled.
            seed: Seed of the distortions.

        Raises:
            DataError: No structure could be labelled.
        """
        if store.exists():
            return FrameStore(store)
        config = LabelConfig(distortions, seed, limits)
        return label(structures, self.labeller, store, config, processes=processes, progress=progress)


def open_teacher(name: str, make: Callable[[], BaseCalculator] | None = None) -> Teacher:
    """Open a teacher by name or path.

    `make` makes its calculator if it is not a potential of gnnpot or needs other arguments. Raises `CheckpointError` if
    there is no such potential.
    """
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
    """Number of frames that could not be labelled, by reason."""
    return Counter(store.manifest.filters)
