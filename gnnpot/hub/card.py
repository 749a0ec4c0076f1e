"""What is known of a potential: its card, a JSON file beside its weights. Reading one imports no torch.

Example::

    content = read_card("nacl")            # everything in card.json, checked against its own sha256
    content["card"]["licence"]
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gnnpot.errors import CheckpointError
from gnnpot.hub.reference_structures import ReferenceStructure

#: Raised when the layout of card or tensors changes, so that older versions of gnnpot say that they are too old.
#: 1: the first; 2: cards may carry reference structures; 3: matgl's rows are no option of M3GNet. `hub.upgrades` reads
#: earlier ones
FORMAT_VERSION = 3
WEIGHTS, CARD = "model.safetensors", "card.json"


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
    gnnpot_version: str = ""


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
    """The content of `card.json`, checked against its own sha256."""
    path = Path(folder) / CARD
    try:
        content = json.loads(path.read_text())
    except OSError as error:
        raise CheckpointError(f"{path}: can't be read ({error.strerror}); give the folder of a checkpoint") from None
    except ValueError:
        raise CheckpointError(f"{path}: is damaged (not JSON); get the checkpoint again") from None
    found = content.get("format_version") if isinstance(content, dict) else None
    if found is None or content.get("card_sha256") != card_digest(content):
        raise CheckpointError(f"{path}: is damaged (its content and its sha256 differ); get the checkpoint again")
    if found > FORMAT_VERSION:
        raise CheckpointError(f"{path}: has format {found}, this gnnpot reads up to {FORMAT_VERSION}; update gnnpot")
    return content


def card_digest(content: Mapping[str, Any]) -> str:
    """The sha256 of a card, but for the field that holds it."""
    rest = {key: value for key, value in content.items() if key != "card_sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()
