"""List of all named potentials, with measurements for choosing one. This module does not import torch.

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
from gnnpot.hub.shipped import ALIASES, DEFAULT, shipped

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class FrameErrors:
    """Errors of a potential on a set of frames."""

    #: mean absolute error, eV/atom; `None` if the functional of the potential differs from that of the labels
    energy_error: float | None
    force_error: float  #: mean length of the force error vectors, eV/Å


@dataclass(frozen=True, slots=True)
class Physics:
    """Largest violations of physical laws by a potential in float64, as defined in `gnnpot.properties.contract`.

    They are measured by `scripts/studies/accuracy/physics.py`, which writes `physics.json`.
    """

    force_derivative: float  #: deviation of forces from -dE/dr, eV/Å; large if forces are not derivatives of the energy
    rotation: float  #: deviation of forces under rotation, eV/Å
    reflection: float  #: deviation of forces under reflection, eV/Å
    energy_jump: float  #: discontinuity of the energy when neighbours cross the cutoff, eV
    force_jump: float  #: discontinuity of the forces when neighbours cross the cutoff, eV/Å

    #: tolerance of `force_derivative`, eV/Å; the accuracy of numerical derivatives in float64
    CONSERVATIVE: ClassVar[float] = 1e-4

    @property
    def conservative(self) -> bool:
        """Whether forces are derivatives of the energy."""
        return self.force_derivative < self.CONSERVATIVE


@dataclass(frozen=True, slots=True)
class Measured:
    """Measurements of a potential; see `measured.yaml` for frames and systems."""

    near_equilibrium: FrameErrors | None = None
    high_stress: FrameErrors | None = None  #: frames of the highest stresses
    milliseconds: Mapping[int, float] = field(default_factory=dict)  #: time per step, ms, by number of atoms
    physics: Physics | None = None
    #: whether the labels include dispersion, or it is added to the energy; `None` if unknown
    dispersion: bool | None = None


@dataclass(frozen=True, slots=True)
class ListedModel:
    """A named potential."""

    name: str
    elements: int  #: number of elements
    licence: str
    functional: str  #: functional of the energies, and corrections if there are any
    energy_reference: str  #: meaning of the energies, from its card
    bytes: int  #: size of the download, or of the folder if it is not downloaded
    cached: bool  #: whether it is available on this machine
    path: Path  #: its folder, which may not exist yet
    measured: Measured = Measured()
    default: bool = False  #: whether it is the default potential
    words: tuple[str, ...] = ()  #: aliases for --model: "fast", "accurate"


def list_models() -> list[ListedModel]:
    """List all named potentials.

    Returns:
        Potentials included in gnnpot (the default first), published potentials, and potentials imported by the user.
        Folders of the cache with a damaged card are logged and omitted.
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
    """Return the folders of checkpoints in the cache that were named by the user (`gnnpot import FOLDER`), by name."""
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
    return tuple(word for word, meant in ALIASES.items() if meant == name)


def _short(text: str, end: str) -> str:
    return text.partition(end)[0]


def measured_of(name: str) -> Measured:
    """Return the measurements of a potential; empty for an unknown name."""
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
