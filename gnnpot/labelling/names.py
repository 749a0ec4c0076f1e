"""What a labeller is called in the provenance of its labels."""

import hashlib
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from ase.calculators.calculator import BaseCalculator

from gnnpot.errors import CheckpointError


def describe(model: str, calculator: BaseCalculator) -> tuple[str, str]:
    """(name, functional) of the calculator that `model` opens.

    Of a potential, the name holds the sha256 of its weights as they are used, that of the file if the precision is the
    file's own; of other calculators, the version of their package.
    """
    potential = getattr(calculator, "potential", None)
    if potential is None:
        return f"{model} ({_package(type(calculator).__module__)})", ""
    from safetensors.torch import save

    tensors = {name: t.detach().cpu().contiguous() for name, t in potential.state_dict().items()}
    name, functional = _card(model)
    return f"{name} (sha256 {hashlib.sha256(save(tensors)).hexdigest()})", functional


def _card(model: str) -> tuple[str, str]:
    """(name, functional) by the checkpoint's card; without one, the name that it was called by."""
    from gnnpot.checkpoint import read_card
    from gnnpot.hub import locate

    try:
        card = read_card(locate(model))["card"]
    except CheckpointError:
        return Path(model).name, ""
    return card["name"] or Path(model).name, card["functional"]


def _package(module: str) -> str:
    package = module.split(".")[0]
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:
        return f"{package} {getattr(sys.modules.get(package), '__version__', 'of unknown version')}"
