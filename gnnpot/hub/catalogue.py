"""The potentials with a name, and what helps to choose among them. It imports no torch.

Example::

    for model in list_models():
        model.name, model.near_equilibrium, model.milliseconds, model.licence
"""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import ClassVar

import yaml

from gnnpot.config import from_mapping
from gnnpot.errors import CheckpointError
from gnnpot.hub.cache import checkpoint_folder
from gnnpot.hub.card import CARD, functional_name, read_card
from gnnpot.hub.registry import Published, is_known, published
from gnnpot.hub.shipped import DEFAULT, WORDS, shipped

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class FrameErrors:
    """Errors on one set of frames."""

    #: eV/atom, mean absolute error; None where the potential has another functional than the labels
    energy_error: float | None
    force_error: float  #: eV/Å, mean length of the error of a force


@dataclass(frozen=True, slots=True)
class Physics:
    """What a potential keeps of physics, in float64: largest deviations, as `gnnpot.properties.contract` defines them.

    `scripts/studies/accuracy/physics.py` measures them and writes `physics.json`.
    """

    force_derivative: float  #: eV/Å, of forces from -dE/dr; large: they are no derivatives of the energy
    rotation: float  #: eV/Å, of forces when the structure is turned
    reflection: float  #: eV/Å, of forces when the structure is mirrored
    energy_jump: float  #: eV, where neighbours come and go
    force_jump: float  #: eV/Å, the same

    #: eV/Å; numerical derivatives in float64 are that good
    CONSERVATIVE: ClassVar[float] = 1e-4

    @property
    def conservative(self) -> bool:
        """Whether forces are derivatives of the energy."""
        return self.force_derivative < self.CONSERVATIVE


@dataclass(frozen=True, slots=True)
class Measured:
    """What was measured of a potential; `measured.yaml` says on which frames and atoms."""

    near_equilibrium: FrameErrors | None = None
    high_stress: FrameErrors | None = None  #: frames of the highest stresses
    milliseconds: Mapping[int, float] = field(default_factory=dict)  #: time of a step by number of atoms
    physics: Physics | None = None
    #: whether dispersion was in the labels, or is added to the energy; None: not known
    dispersion: bool | None = None


@dataclass(frozen=True, slots=True)
class ListedModel:
    """A potential with a name."""

    name: str
    elements: int  #: how many
    licence: str
    functional: str  #: what its energies are: functional, and corrections if there are any
    energy_reference: str  #: the same in the words of its card
    bytes: int  #: size of the download, or of the folder of one that is not downloaded
    cached: bool  #: whether it is on this machine, ready for use
    path: Path  #: where it lies, or will
    measured: Measured = Measured()
    default: bool = False  #: whether it is opened where none is named
    words: tuple[str, ...] = ()  #: that stand for it as --model: "fast", "accurate"


def list_models() -> list[ListedModel]:
    """The potentials that have a name.

    Returns:
        Those that come with gnnpot (the default first), published ones, and those imported by the user. A folder in
        the cache whose card is damaged is left out, and logged with the reason.
    """
    measured, here = _measured(), shipped()
    models = [_of_folder(name, folder, measured) for name, folder in (*here.items(), *imported().items())]
    known = [
        _of_entry(entry, fidelity, measured)
        for entry in published()
        for fidelity in entry.fidelities or (None,)
        if entry.full_name(fidelity) not in here
    ]
    count = len(here)
    return [m for m in (*models[:count], *known, *models[count:]) if m is not None]


def imported() -> dict[str, Path]:
    """Folders of the checkpoints in the cache that users named themselves (`gnnpot import FOLDER`), by name."""
    cards = checkpoint_folder("*").parent.glob(f"*/{CARD}")
    return {card.parent.name: card.parent for card in sorted(cards) if not is_known(card.parent.name)}


def _of_folder(name: str, folder: Path, measured: Mapping[str, Measured]) -> ListedModel | None:
    try:
        content = read_card(folder)
    except CheckpointError as error:
        log.warning("left out: %s", error)
        return None
    card = content["card"]
    return ListedModel(
        name=name,
        elements=len(content["elements"]),
        licence=_short(card["licence"], " ("),
        functional=functional_name(card["functional"] or _short(card["energy_reference"], ",")),
        energy_reference=functional_name(card["energy_reference"]),
        bytes=sum(path.stat().st_size for path in folder.iterdir() if path.is_file()),
        cached=True,
        path=folder,
        measured=measured.get(name, Measured()),
        default=name == DEFAULT,
        words=_words(name),
    )


def _of_entry(entry: Published, fidelity: str | None, measured: Mapping[str, Measured]) -> ListedModel:
    name = entry.full_name(fidelity)
    folder = checkpoint_folder(name)
    return ListedModel(
        name=name,
        elements=entry.elements,
        licence=_short(entry.licence, " ("),
        functional=entry.functional_of(fidelity),
        energy_reference=entry.energy_reference,
        bytes=entry.size,
        cached=folder.exists(),
        path=folder,
        measured=measured.get(name, Measured()),
        default=name == DEFAULT,
        words=_words(name),
    )


def _words(name: str) -> tuple[str, ...]:
    return tuple(word for word, meant in WORDS.items() if meant == name)


def _short(text: str, end: str) -> str:
    return text.partition(end)[0]


def measured_of(name: str) -> Measured:
    """What was measured of the potential of this name; nothing of one that is not known."""
    return _measured().get(name, Measured())


def _measured() -> dict[str, Measured]:
    files = resources.files("gnnpot.hub")
    content = yaml.safe_load(files.joinpath("measured.yaml").read_text(encoding="utf-8"))
    physics = json.loads(files.joinpath("physics.json").read_text(encoding="utf-8"))
    return {
        name: from_mapping(
            Measured,
            content.get(name, {}) | ({"physics": physics[name]} if name in physics else {}),
            where=f"measured.yaml, physics.json: {name}",
        )
        for name in dict.fromkeys((*content, *physics))
    }
