"""Checkpoints: folders with `model.safetensors` (the weights) and `card.json` (configuration and metadata).

    save_checkpoint("nacl", potential, Card(description="NaCl from 40 frames", licence="MIT"))
    potential, card = load_checkpoint("nacl")

Loading never executes code from the files: tensors are read with safetensors, everything else is JSON that is validated
with the configuration classes. The card has the sha256 of the tensors and of itself, so that changes are detected.
"""

import hashlib
import json
import logging
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as dump_tensors
from torch import Tensor

from gnnpot.config import from_mapping, to_mapping
from gnnpot.data.references import ElementReferences
from gnnpot.errors import CheckpointError, ConfigError, DataError
from gnnpot.hub.card import CARD, FORMAT_VERSION, WEIGHTS, Card, card_digest, read_card
from gnnpot.hub.upgrades import upgrade
from gnnpot.models import ModelConfig, ZBLConfig, architecture_names, build_model, find_architecture
from gnnpot.models.architectures import find_package
from gnnpot.potential import Potential
from gnnpot.runs.files import new_folder, write_durably
from gnnpot.runs.guard import FolderKind
from gnnpot.torch_modes import default_modes

logger = logging.getLogger(__name__)

__all__ = [
    "CARD",
    "FORMAT_VERSION",
    "WEIGHTS",
    "Card",
    "load_checkpoint",
    "read_card",
    "save_checkpoint",
    "weights_sha256",
]

#: tensors that may be infinite: the range of symmetry functions before it has been determined
_UNBOUNDED = ("model.minimum", "model.maximum")
#: contents of the folder of a checkpoint; some have documentation
CHECKPOINT = FolderKind("a checkpoint", CARD, None, (WEIGHTS, "*.md", "*.png", "LICENSE*"), key="weights_sha256")


@dataclass(frozen=True)
class _ModelPart:
    """Schema of the model of a potential, for `from_mapping`."""

    model: ModelConfig
    terms: tuple[ZBLConfig, ...] = ()


def save_checkpoint(folder: Path | str, potential: Potential, card: Card, *, overwrite: bool = False) -> Path:
    """Write a checkpoint, atomically.

    Args:
        folder: The folder to create.
        potential: The potential.
        card: Its metadata.
        overwrite: Replace an existing checkpoint.

    Returns:
        The folder.

    Raises:
        CheckpointError: The folder exists and `overwrite` is false, or it can't be written (disk full).
        DataError: The folder can't be created, or the existing folder may not be replaced.
    """
    folder = Path(folder)
    if folder.exists() and not overwrite:
        raise CheckpointError(f"{folder}: exists already; choose another name or ask to overwrite")
    weights = _dumped(potential)
    content = _card_content(potential, card, hashlib.sha256(weights).hexdigest())
    try:
        with new_folder(folder, overwrite=overwrite, kind=CHECKPOINT) as partial:
            write_durably(partial / WEIGHTS, weights)
            write_durably(partial / CARD, (json.dumps(content, indent=2) + "\n").encode())
    except OSError as error:
        raise CheckpointError(f"{folder}: can't be written ({error.strerror}); nothing was left behind") from error
    logger.info("wrote %s", folder)
    return folder


def weights_sha256(potential: Potential) -> str:
    """Return the sha256 of the `model.safetensors` of a potential, which need not have been written."""
    return hashlib.sha256(_dumped(potential)).hexdigest()


def load_checkpoint(folder: Path | str) -> tuple[Potential, Card]:
    """Load the potential and card of a checkpoint folder.

    Args:
        folder: A folder written by `save_checkpoint`, with this version of gnnpot or an earlier one.

    Returns:
        The potential, in evaluation mode, and its card.

    Raises:
        CheckpointError: The files are missing, damaged or invalid.
    """
    folder = Path(folder)
    content = read_card(folder)
    path = folder / WEIGHTS
    if path.exists() and not path.is_file():
        raise CheckpointError(f"{path}: is no ordinary file; get the checkpoint again")
    try:
        weights = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path}: can't be read ({error.strerror}); get the checkpoint again") from None
    if hashlib.sha256(weights).hexdigest() != content["weights_sha256"]:
        raise CheckpointError(f"{path}: is damaged (its sha256 is not the card's); get the checkpoint again")
    where = str(folder / CARD)
    try:
        content, tensors = upgrade(content, load_tensors(weights))
        with default_modes():
            potential = _potential(content, tensors, where)
        _check_summary(content, potential)
        card = from_mapping(Card, content["card"], where=f"{where}: card")
    except (ConfigError, DataError, SafetensorError) as error:
        reason = " ".join(str(error).split())
        raise CheckpointError(f"{folder}: does not fit this version of gnnpot ({reason})") from error
    return potential.eval(), card


def _built(part: _ModelPart, references: ElementReferences) -> Potential:
    """Return the potential with initial weights. Raises `ConfigError` for invalid options."""
    try:
        return Potential(build_model(part.model), references, terms=[build_model(t) for t in part.terms])
    except ValueError as error:
        raise ConfigError(str(error)) from None


def _check_tensors(part: _ModelPart, tensors: dict[str, Tensor]) -> None:
    """Raise `ConfigError` if the weights do not match the model; the model is not allocated for this check."""
    with torch.device("meta"):
        skeleton = _built(part, ElementReferences.from_mapping({"energies": {}}))
    expected = {name: tuple(tensor.shape) for name, tensor in skeleton.state_dict().items()}
    for name in sorted(expected.keys() | tensors.keys()):
        if name not in tensors:
            raise ConfigError(f"{WEIGHTS}: '{name}' is missing, which the model of the card has")
        if name not in expected:
            raise ConfigError(f"{WEIGHTS}: holds '{name}', which the model of the card does not have")
        shape = tuple(tensors[name].shape)
        if shape != expected[name]:
            raise ConfigError(f"{WEIGHTS}: '{name}' has shape {shape}, the model of the card {expected[name]}")
        if not torch.isfinite(tensors[name]).all() and name not in _UNBOUNDED:
            raise ConfigError(f"{WEIGHTS}: '{name}' has values that are no finite numbers")


def _check_summary(content: dict[str, Any], potential: Potential) -> None:
    """Raise `ConfigError` if the card's description of the potential is wrong."""
    for name in ("elements", "cutoff", "three_body_cutoff", "energy_scale"):
        found = getattr(potential, name)
        found = float(found) if name == "energy_scale" else list(found) if name == "elements" else found
        if content[name] != found:
            raise ConfigError(f"{CARD}: {name} is not that of the model ({content[name]!r:.60} and {found!r:.60})")


def _potential(content: dict[str, Any], tensors: dict[str, Tensor], where: str) -> Potential:
    """Create the potential from the contents of a card and the tensors."""
    if content.get("plugin") is not None:
        content, tensors = _upgraded_by_its_package(content, tensors, where)
    part = from_mapping(_ModelPart, {"model": content["model"], "terms": content["terms"]}, where=where)
    references = ElementReferences.from_mapping(content["references"], f"{where}: references")
    _check_tensors(part, tensors)
    potential = _built(part, references)
    dtype = next((t.dtype for k, t in tensors.items() if k.startswith("model.") and t.is_floating_point()), None)
    if dtype is not None:
        potential.to(dtype)
    potential.load_state_dict(tensors)
    return potential


def _upgraded_by_its_package(
    content: dict[str, Any], tensors: dict[str, Tensor], where: str
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Upgrade options and tensors of a model of another package to its installed version."""
    name, plugin = content["model"].get("architecture"), content["plugin"]
    if name not in architecture_names():
        raise CheckpointError(
            f"{where}: its architecture '{name}' is of the package {plugin['package']} ({plugin['version']}), which is "
            f"not installed; install it: pip install {plugin['package']}"
        )
    architecture, version = find_architecture(name), plugin["architecture_version"]
    if version > architecture.version:
        raise CheckpointError(
            f"{where}: was written by {plugin['package']} {plugin['version']}, the installed version is older; update "
            f"it: pip install --upgrade {plugin['package']}"
        )
    if version == architecture.version or architecture.upgrade is None:
        return content, tensors
    inner = {key.removeprefix("model."): t for key, t in tensors.items() if key.startswith("model.")}
    try:
        options, inner = architecture.upgrade(version, dict(content["model"]), inner)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        # raised by code of the other package
        raise ConfigError(f"{where}: {plugin['package']} can't upgrade it ({error})") from error
    rest = {key: t for key, t in tensors.items() if not key.startswith("model.")}
    return {**content, "model": options}, {**rest, **{f"model.{key}": t for key, t in inner.items()}}


def _dumped(potential: Potential) -> bytes:
    return dump_tensors({name: t.detach().cpu().contiguous() for name, t in potential.state_dict().items()})


def _card_content(potential: Potential, card: Card, weights_sha256: str) -> dict[str, Any]:
    content: dict[str, Any] = {
        "format_version": FORMAT_VERSION,
        "weights_sha256": weights_sha256,
        "model": to_mapping(potential.model.config),
        "terms": [to_mapping(term.config) for term in potential.terms],
        "elements": list(potential.elements),
        "cutoff": potential.cutoff,
        "three_body_cutoff": potential.three_body_cutoff,
        "energy_scale": float(potential.energy_scale),
        "references": potential.references.to_mapping(),
        "card": {**asdict(card), "gnnpot_version": _version()},
    }
    package = find_package(potential.model.config.architecture)
    if package is not None:
        content["plugin"] = {
            "package": package.package,
            "version": package.version,
            "architecture_version": find_architecture(package.name).version,
        }
    content["card_sha256"] = card_digest(content)
    return content


def _version() -> str:
    try:
        return version("gnnpot")
    except PackageNotFoundError:
        return "not installed"
