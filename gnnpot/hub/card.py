"""What is known of a potential: its card, a JSON file beside its weights. Reading one imports no torch.

Example::

    content = read_card("nacl")            # everything in card.json, checked against its own sha256
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

#: Raised when the layout of card or tensors changes, so that older versions of gnnpot say that they are too old.
#: 1: the first; 2: cards may carry reference structures; 3: matgl's rows are no option of M3GNet. `hub.upgrades` reads
#: earlier ones
FORMAT_VERSION = 3
WEIGHTS, CARD = "model.safetensors", "card.json"
#: a card with its training configuration has some 30 kB
MAX_CARD_BYTES = 10_000_000


@dataclass(frozen=True)
class KnownDeviation:
    """A question of the model contract that a potential is known not to meet."""

    check: str  #: its name, as `gnnpot check` shows it
    quantity: str
    largest: float  #: in the quantity's unit; beyond it, the deviation is another
    reason: str


@dataclass(frozen=True)
class Card:
    """What a user should know of a potential, in words and figures."""

    name: str = ""
    description: str = ""
    licence: str = ""
    training_data: str = ""
    #: functional, +U
    functional: str = ""
    #: what energies mean: raw DFT totals, or corrected how
    energy_reference: str = ""
    #: sha256 of the manifest of the data it was trained on
    data_manifest_sha256: str = ""
    #: measured errors, e.g. {"test": {"energy_mae_per_atom": 0.004, ...}}; eV, eV/Å, eV/Å³
    metrics: dict[str, Any] = field(default_factory=dict)
    #: the training configuration
    training: dict[str, Any] = field(default_factory=dict)
    #: papers to cite
    references: list[str] = field(default_factory=list)
    #: what it must give wherever it runs; `gnnpot check` calculates it anew
    reference_structures: tuple[ReferenceStructure, ...] = ()
    #: what calculated their energies
    reference_energies_from: str = ""
    #: of this potential only; see `hub.known_deviations` for those of its architecture
    known_deviations: tuple[KnownDeviation, ...] = ()
    gnnpot_version: str = ""


@dataclass(frozen=True)
class PluginPart:
    """Which package the architecture is of, if not gnnpot's own."""

    package: str
    version: str
    architecture_version: int


@dataclass(frozen=True)
class CardFile:
    """All that `card.json` holds; of `model` and `terms` the architectures know the options."""

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
    """A functional, or what energies mean, as tables and cards show it.

    Cards of earlier versions, which keep their sha256, spell the mixture of PBE and PBE+U otherwise.
    """
    return text.replace("PBE, PBE+U", "PBE and PBE+U").removesuffix(", as the Materials Project mixes them")


def starting_potential(name: str, card: Card) -> dict[str, str]:
    """What the card of a potential that starts from another's weights keeps of that one, under `training`.

    It decides whether, and under which licence, the new one may be published.
    """
    return {
        "name": card.name or name,
        "licence": card.licence,
        "functional": card.functional,
        "energy_reference": card.energy_reference,
    }


def read_card(folder: Path | str) -> dict[str, Any]:
    """The content of `card.json`, checked against its own sha256 and against `CardFile`.

    Raises:
        CheckpointError: for what can't be read, was changed, or holds what no card does.
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
        raise CheckpointError(f"{error} (it holds what no card does; get the checkpoint again)") from None
    if found < 1:
        raise CheckpointError(f"{path}: has format {found}, which there is not; get the checkpoint again")
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
        # numbers that can't be meant, and integers of thousands of digits
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
    """The sha256 of a card, but for the field that holds it."""
    rest = {key: value for key, value in content.items() if key != "card_sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()
