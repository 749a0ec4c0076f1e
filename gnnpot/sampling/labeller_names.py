"""What a labeller is called in the provenance of its labels."""

import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from ase.calculators.calculator import BaseCalculator


def describe(model: str, calculator: BaseCalculator) -> tuple[str, str]:
    """(name, functional) of the calculator that `model` opens.

    Of a potential, the name holds the sha256 of its weights as they are used, that of the file if the precision is the
    file's own; of other calculators, the version of their package.
    """
    potential = getattr(calculator, "potential", None)
    if potential is None:
        return f"{model} ({_package(type(calculator).__module__)})", ""
    # imports PyTorch, which other calculators do without
    from gnnpot.hub.checkpoint import Card, weights_sha256

    card = getattr(calculator, "card", None) or Card()
    return f"{card.name or Path(model).name} (sha256 {weights_sha256(potential)})", card.functional


def _package(module: str) -> str:
    package = module.split(".", maxsplit=1)[0]
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:
        return f"{package} {getattr(sys.modules.get(package), '__version__', 'of unknown version')}"
