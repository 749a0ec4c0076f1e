"""Writing of a potential as a repository for the Hugging Face Hub, to be opened with `gnnpot.load("hf:owner/name")`.

Example::

    publish("runs/mine", "to-upload", licence="MIT")      # then: hf upload owner/name to-upload

| file                 | contents                                                                |
|----------------------|-------------------------------------------------------------------------|
| `README.md`          | the card as text, with the YAML header of the Hub                       |
| `config.json`        | architecture and sizes, elements, cutoff (Å), energy scale (eV)         |
| `card.json`          | the card of gnnpot                                                      |
| `model.safetensors`  | the weights                                                             |
| `LICENSE…`           | licence files, if the checkpoint has them                               |

Nothing is uploaded. A potential derived from another one (fine-tuned, distilled) must be published under a licence that
is compatible with that of the original; the README states the functional and energies of the original.
"""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from gnnpot.config import to_mapping
from gnnpot.data.quantities import QUANTITIES
from gnnpot.errors import CheckpointError
from gnnpot.hub.card import functional_name
from gnnpot.hub.checkpoint import CARD, WEIGHTS, Card, load_checkpoint, save_checkpoint
from gnnpot.hub.licences import Licence, known_licences, licence_of
from gnnpot.hub.locating import locate
from gnnpot.hub.registry import is_known, resolve
from gnnpot.hub.shipped import shipped
from gnnpot.potential import Potential
from gnnpot.runs.files import new_folder, write_text
from gnnpot.runs.guard import FolderKind

README, CONFIG = "README.md", "config.json"
#: contents of the folder
_REPOSITORY = FolderKind(
    "a repository to upload", CARD, None, (WEIGHTS, README, CONFIG, "LICENSE*"), key="weights_sha256"
)
#: columns of the table of measured errors: key, heading, factor, unit
_ERRORS = tuple(
    (f"{quantity.name}_{kind}", f"{quantity.title}, {kind.upper()}", quantity.error_unit[1], quantity.error_unit[0])
    for quantity in QUANTITIES.values()
    for kind in ("mae", "rmse")
)


@dataclass(frozen=True, slots=True)
class Origin:
    """The potential from which another one was derived."""

    name: str
    relation: str  #: "fine-tuned from" or "distilled from"
    licence: str
    functional: str
    energy_reference: str


def publish(name_or_path: Path | str, out: Path | str, *, licence: str = "", permission: str = "") -> Path:
    """Write the folder of a repository with a potential.

    Args:
        name_or_path: A run, a checkpoint, or a name.
        out: The folder, which must not exist.
        licence: Licence of the potential; by default that of its card.
        permission: Permission of the owners of the original potential, if its licence does not allow the publication of
            derived potentials; it is quoted in the README.

    Returns:
        The folder.

    Raises:
        CheckpointError: There is no licence, the licence of the original potential is missing, unknown or does not
            allow it, the functional is unknown, or the folder exists.
    """
    out, folder = Path(out), locate(name_or_path)
    if out.exists():
        raise CheckpointError(f"{out}: exists already; name a new folder with --output")
    potential, card = load_checkpoint(folder)
    origin = _origin(card)
    chosen = _licence(folder, card, licence, origin, permission)
    card = replace(
        card,
        licence=licence or card.licence,
        functional=card.functional or (origin.functional if origin else ""),
        energy_reference=card.energy_reference or (origin.energy_reference if origin else ""),
    )
    if not card.functional:
        raise CheckpointError(f"{folder}: does not say the functional of its energies; train with functional=NAME")
    with new_folder(out, overwrite=False, kind=_REPOSITORY) as partial:
        saved = save_checkpoint(partial / "checkpoint", potential, card)
        for file in (CARD, WEIGHTS):
            shutil.move(saved / file, partial / file)
        saved.rmdir()
        for path in folder.glob("LICENSE*"):
            shutil.copy(path, partial / path.name)
        write_text(partial / CONFIG, json.dumps(_config(potential), indent=2) + "\n")
        write_text(partial / README, _readme(potential, card, chosen, origin, permission))
    return out


def _origin(card: Card) -> Origin | None:
    """Return the original of a derived potential, from its card; `None` if it is not derived from another one."""
    training: Mapping[str, Any] = card.training
    if teacher := training.get("teacher"):
        return Origin(
            teacher["name"], "distilled from", teacher["licence"], teacher["functional"], card.energy_reference
        )
    if start := training.get("starting_potential"):
        return Origin(
            start["name"], "fine-tuned from", start["licence"], start["functional"], start["energy_reference"]
        )
    name = str(training.get("start") or "")
    if not name:
        return None
    # cards of version 0.1 only have the name of the original
    if is_known(name):
        entry, fidelity = resolve(name)
        return Origin(name, "fine-tuned from", entry.licence, entry.functional_of(fidelity), entry.energy_reference)
    if name in shipped():
        known = load_checkpoint(shipped()[name])[1]
        return Origin(name, "fine-tuned from", known.licence, known.functional, known.energy_reference)
    return Origin(name, "fine-tuned from", "", "", "")


def _licence(folder: Path, card: Card, given: str, origin: Origin | None, permission: str) -> Licence | None:
    """Return the licence to publish under; `None` if it is unknown. Raises `CheckpointError` if it is not allowed."""
    text = given or card.licence
    if not text:
        raise CheckpointError(f"{folder}: has no licence, without which nobody may use it; give one with --licence")
    chosen = licence_of(text)
    if origin is None or permission:
        return chosen
    made = f"{folder}: is {origin.relation} {origin.name}"
    ask = "; ask its owners, and quote their answer with --permission"
    if not origin.licence:
        raise CheckpointError(f"{made}, whose licence is not in the card{ask}")
    terms = licence_of(origin.licence)
    if terms is None:
        raise CheckpointError(f"{made}, whose licence '{origin.licence}' is none of {', '.join(known_licences())}{ask}")
    if terms.derivatives == "forbidden":
        raise CheckpointError(f"{made}, whose licence {terms.spdx} does not allow to publish what is made of it{ask}")
    if terms.derivatives == "same licence" and chosen != terms:
        raise CheckpointError(
            f"{made}, whose licence {terms.spdx} holds for what is made of it too; give --licence {terms.spdx}"
        )
    return chosen


def _config(potential: Potential) -> dict[str, Any]:
    options = to_mapping(potential.model.config)
    return {
        "model_type": "gnnpot",
        "architecture": options["architecture"],
        "elements": list(potential.elements),
        "cutoff": potential.cutoff,
        "energy_scale": float(potential.energy_scale),
        "units": {"cutoff": "Å", "energy_scale": "eV", **{name: q.unit for name, q in QUANTITIES.items()}},
        "model": options,
        "terms": [to_mapping(term.config) for term in potential.terms],
    }


def _readme(potential: Potential, card: Card, licence: Licence | None, origin: Origin | None, permission: str) -> str:
    header: dict[str, Any] = {"license": licence.hugging_face if licence else "other"}
    if licence is None:
        header["license_name"] = card.licence
    header |= {
        "library_name": "gnnpot",
        "tags": [
            "interatomic-potential",
            "machine-learning-potential",
            "materials",
            str(potential.model.config.architecture),
        ],
    }
    facts = [
        ("licence", card.licence),
        ("functional of the training data", functional_name(card.functional)),
        ("what energies mean", functional_name(card.energy_reference)),
        ("training data", card.training_data),
        ("elements", f"{len(potential.elements)}: {' '.join(potential.elements)}"),
        ("architecture", str(potential.model.config.architecture)),
        ("parameters", f"{sum(p.numel() for p in potential.model.parameters()):,}"),
        ("cutoff", f"{potential.cutoff:g} Å"),
    ]
    if origin is not None:
        facts += [
            (origin.relation, origin.name),
            (f"functional of {origin.name}", functional_name(origin.functional)),
            (f"energies of {origin.name}", functional_name(origin.energy_reference)),
            (f"licence of {origin.name}", f"{origin.licence}{'; ' + permission if permission else ''}"),
        ]
    parts = [
        f"---\n{yaml.safe_dump(header, sort_keys=False, allow_unicode=True)}---",
        f"# {card.name or 'An interatomic potential'}",
        card.description,
        _USE,
        "\n".join(["| | |", "|---|---|", *(f"| {name} | {_cell(value)} |" for name, value in facts if value)]),
        _errors(card.metrics),
        "\n".join(["## To cite", "", *(f"- {reference}" for reference in card.references)]) if card.references else "",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


#: OWNER/NAME is a placeholder, because the repository is not known when the README is written
_USE = """```python
import gnnpot

atoms.calc = gnnpot.Calculator("hf:OWNER/NAME")    # energy in eV, forces in eV/Å, stress in eV/Å³
```

On the command line: `gnnpot relax structure.cif --model hf:OWNER/NAME`. It needs `pip install "gnnpot[hub]"`."""


def _cell(value: str) -> str:
    return " ".join(value.replace("|", "\\|").split())


def _errors(metrics: Mapping[str, Any]) -> str:
    """Return a Markdown table of the errors measured on frames; "" if there are none."""
    sets = {
        name: values
        for name, values in metrics.items()
        if isinstance(values, Mapping) and any(key in values for key, *_ in _ERRORS)
    }
    shown = [error for error in _ERRORS if any(error[0] in values for values in sets.values())]
    if not shown:
        return ""
    rows = [
        "## Measured errors",
        "",
        "| frames | " + " | ".join(f"{name}, {unit}" for _, name, _, unit in shown) + " |",
    ]
    rows.append("|---" * (len(shown) + 1) + "|")
    for name, values in sets.items():
        cells = [f"{values[key] * factor:.3g}" if key in values else "" for key, _, factor, _ in shown]
        rows.append(f"| {name} ({values.get('frames', '?')}) | " + " | ".join(cells) + " |")
    return "\n".join(rows)
