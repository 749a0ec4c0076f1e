"""Cards of potentials: metadata in a JSON file next to the weights. This module does not import torch.

Example::

    content = read_card("nacl")            # contents of card.json, verified with its own sha256
    content["card"]["licence"]
"""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gnnpot.config import from_mapping
from gnnpot.errors import CheckpointError, ConfigError
from gnnpot.hub.reference_structures import ReferenceStructure

#: incremented when the layout of card or tensors changes, so that older versions of gnnpot report that they are too
#: old; 1: initial; 2: cards may have reference structures; 3: the rows of matgl are no longer an option of M3GNet;
#: earlier formats are read with `hub.upgrades`
FORMAT_VERSION = 3
WEIGHTS, CARD = "model.safetensors", "card.json"
#: largest size of a card; cards with a training configuration have about 30 kB
MAX_CARD_BYTES = 10_000_000


@dataclass(frozen=True)
class KnownDeviation:
    """A check of `gnnpot check` that a potential is known to fail."""

    check: str  #: name of the check in `gnnpot check`
    quantity: str  #: quantity that deviates
    largest: float  #: largest known deviation, in the unit of the quantity; larger ones are not known deviations
    reason: str  #: explanation


@dataclass(frozen=True)
class Card:
    """Metadata of a potential for users."""

    name: str = ""
    description: str = ""
    licence: str = ""
    training_data: str = ""
    #: exchange-correlation functional of the training data, with +U
    functional: str = ""
    #: meaning of the energies: uncorrected DFT total energies, or the corrections
    energy_reference: str = ""
    #: sha256 of the manifest of the training data
    data_manifest_sha256: str = ""
    #: measured errors, e.g. {"test": {"energy_mae_per_atom": 0.004, ...}}; eV, eV/Å, eV/Å³
    metrics: dict[str, Any] = field(default_factory=dict)
    #: training configuration
    training: dict[str, Any] = field(default_factory=dict)
    #: papers to cite
    references: list[str] = field(default_factory=list)
    #: structures with energies that the potential must reproduce on every machine; verified by `gnnpot check`
    reference_structures: tuple[ReferenceStructure, ...] = ()
    #: program that calculated the energies of the reference structures
    reference_energies_from: str = ""
    #: known deviations of this potential; see `hub.known_deviations` for those of its architecture
    known_deviations: tuple[KnownDeviation, ...] = ()
    gnnpot_version: str = ""


@dataclass(frozen=True)
class PluginPart:
    """Package that provides the architecture, if it is not part of gnnpot."""

    package: str
    version: str
    architecture_version: int


@dataclass(frozen=True)
class CardFile:
    """Schema of `card.json`; the options in `model` and `terms` are defined by the architectures."""

    format_version: int
    weights_sha256: str
    card_sha256: str
    model: dict[str, Any]
    terms: tuple[dict[str, Any], ...]
    elements: tuple[str, ...]
    cutoff: float  #: Å
    three_body_cutoff: float | None  #: Å
    energy_scale: float  #: eV
    references: dict[str, Any]
    card: Card
    plugin: PluginPart | None = None


def functional_name(text: str) -> str:
    """Return the current spelling of a functional or energy reference.

    Cards of earlier versions have a different spelling of the mixture of PBE and PBE+U; they can't be changed, because
    their sha256 is fixed.
    """
    return text.replace("PBE, PBE+U", "PBE and PBE+U").removesuffix(", as the Materials Project mixes them")


def starting_potential(name: str, card: Card) -> dict[str, str]:
    """Return the metadata of a starting potential, which a fine-tuned potential keeps in its card, in `training`.

    They determine whether, and under which licence, the new potential may be published.
    """
    return {
        "name": card.name or name,
        "licence": card.licence,
        "functional": card.functional,
        "energy_reference": card.energy_reference,
    }


def read_card(folder: Path | str) -> dict[str, Any]:
    """Read `card.json`, and check it against its own sha256 and the schema `CardFile`.

    Raises:
        CheckpointError: The card can't be read, was changed, or has invalid contents.
    """
    path = Path(folder) / CARD
    try:
        if path.exists() and not path.is_file():
            raise CheckpointError(f"{path}: is no ordinary file; give the folder of a checkpoint")
        with path.open("rb") as file:
            data = file.read(MAX_CARD_BYTES + 1)
    except OSError as error:
        raise CheckpointError(f"{path}: can't be read ({error.strerror}); give the folder of a checkpoint") from None
    if len(data) > MAX_CARD_BYTES:
        raise CheckpointError(f"{path}: is larger than {MAX_CARD_BYTES // 10**6} MB, as no card is; get it again")
    content = _parsed(data, path)
    found = content.get("format_version") if isinstance(content, dict) else None
    if found is None or content.get("card_sha256") != card_digest(content):
        raise CheckpointError(f"{path}: is damaged (its content and its sha256 differ); get the checkpoint again")
    if isinstance(found, int) and found > FORMAT_VERSION:
        raise CheckpointError(f"{path}: has format {found}, this gnnpot reads up to {FORMAT_VERSION}; update gnnpot")
    try:
        from_mapping(CardFile, content, where=str(path))
    except ConfigError as error:
        raise CheckpointError(f"{error} (its contents are not those of a card; get the checkpoint again)") from None
    if found < 1:
        raise CheckpointError(f"{path}: has format {found}, which does not exist; get the checkpoint again")
    return content


def _parsed(data: bytes, path: Path) -> Any:
    try:
        return json.loads(data.decode(), parse_constant=_refuse, parse_float=_finite)
    except RecursionError:
        reason = "too many levels"
    except json.JSONDecodeError:
        reason = "not JSON"
    except UnicodeDecodeError:
        reason = "not UTF-8"
    except ValueError as error:
        # numbers that are not finite, and integers with thousands of digits
        reason = str(error).partition(";")[0]
    raise CheckpointError(f"{path}: is damaged ({reason}); get the checkpoint again")


def _refuse(name: str) -> float:
    raise ValueError(f"{name} is no number")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:20]} is too large")
    return number


def card_digest(content: Mapping[str, Any]) -> str:
    """Return the sha256 of a card, excluding the field that holds it."""
    rest = {key: value for key, value in content.items() if key != "card_sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()
