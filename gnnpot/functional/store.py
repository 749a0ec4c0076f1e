"""Open functionals by name, and save and load learned ones, with weights in safetensors and a card in JSON format.

Example::

    functional = open_functional("gnnpot-kedf-1")       # the functional included in gnnpot
    functional = open_functional("wt")                  # a classical functional
    functional = open_functional("runs/kedf")           # a folder with functional.safetensors and card.json
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from gnnpot.config import from_mapping, to_mapping
from gnnpot.errors import CheckpointError, ConfigError, suggest
from gnnpot.functional.functionals import (
    Functional,
    LuoKarasievTrickey,
    PauliGaussianLaplacian,
    ThomasFermi,
)
from gnnpot.functional.kernels import HuangCarter, WangTeter
from gnnpot.functional.network import LearnedFunctional, NetworkConfig, build
from gnnpot.runs.files import new_folder, write_bytes, write_text
from gnnpot.runs.guard import FolderKind

FORMAT = 1
WEIGHTS, CARD = "functional.safetensors", "card.json"
#: functional included in gnnpot, and folder of such functionals
DEFAULT = "gnnpot-kedf-1"
SHIPPED = Path(__file__).parent / "shipped"

CLASSIC: dict[str, Callable[[], Functional]] = {
    "tf": lambda: ThomasFermi("tf"),
    "vw": lambda: ThomasFermi("vw", 0.0, 1.0),
    "tfvw": lambda: ThomasFermi("tfvw", 1.0, 0.2),
    "tf+vw": lambda: ThomasFermi("tf+vw", 1.0, 1.0),
    "wt": WangTeter,
    "hc": HuangCarter,
    "lkt": LuoKarasievTrickey,
    "pgsl": PauliGaussianLaplacian,
}


def open_functional(name: str | Path) -> Functional:
    """Open a functional by name or folder.

    Args:
        name: `gnnpot-kedf-1`, the name of a classical functional, or the folder of a trained functional.

    Returns:
        The functional; its energies are in Ha, its densities in 1/bohr³.

    Raises:
        ConfigError: There is no functional or folder with this name.
        CheckpointError: A file in the folder can't be read or is damaged.
    """
    if str(name) in CLASSIC:
        return CLASSIC[str(name)]()
    return load(locate(name))


def locate(name: str | Path) -> Path:
    """Folder of a learned functional. Raises `ConfigError` if there is none."""
    if str(name) == DEFAULT:
        return SHIPPED / DEFAULT
    folder = Path(name)
    if folder.is_dir():
        return folder
    raise ConfigError(f"{name}: is no functional and no folder of one; {suggest(str(name), [DEFAULT, *CLASSIC])}")


def read_card(folder: Path) -> dict[str, Any]:
    """Read the card of a functional: architecture, data, errors. Raises `CheckpointError`."""
    path = folder / CARD
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CheckpointError(f"{path}: can't be read ({error.strerror}); give the folder of a functional") from None
    except ValueError as error:
        raise CheckpointError(f"{path}: is damaged ({error}); train or fetch the functional again") from None
    if not isinstance(card, dict) or card.get("format") != FORMAT:
        raise CheckpointError(f"{path}: is not a functional's card of format {FORMAT}; update gnnpot, or train again")
    return card


def load(folder: Path) -> LearnedFunctional:
    """Load a learned functional from its folder, with fixed weights. Raises `CheckpointError`."""
    card = read_card(folder)
    try:
        functional = build(from_mapping(NetworkConfig, card.get("network"), where=f"{folder / CARD}: network"))
    except ConfigError as error:
        raise CheckpointError(str(error)) from None
    path = folder / WEIGHTS
    try:
        tensors = load_tensors(path.read_bytes())
        functional.load_state_dict(tensors)
    except OSError as error:
        raise CheckpointError(
            f"{path}: can't be read ({error.strerror}); train or fetch the functional again"
        ) from None
    except (SafetensorError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:120]
        raise CheckpointError(f"{path}: is damaged ({reason}); train or fetch the functional again") from None
    if not all(torch.isfinite(value).all() for value in tensors.values()):
        raise CheckpointError(f"{path}: is damaged (weights that aren't numbers); train or fetch the functional again")
    return functional.requires_grad_(False)


def save(
    functional: LearnedFunctional, folder: Path, about: dict[str, Any] | None = None, overwrite: bool = False
) -> None:
    """Write weights and card; `about` is added to the card."""
    state = {name: value.detach().contiguous() for name, value in functional.state_dict().items()}
    card = {"format": FORMAT, "network": to_mapping(functional.config), **(about or {})}
    kind = FolderKind("a functional", CARD, FORMAT, (WEIGHTS,))
    with new_folder(folder, overwrite, kind) as partial:
        write_bytes(partial / WEIGHTS, save_tensors(state))
        write_text(partial / CARD, json.dumps(card, indent=1) + "\n")
