"""Names of labellers in the provenance of labels."""

import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from ase.calculators.calculator import BaseCalculator


def describe(model: str, calculator: BaseCalculator) -> tuple[str, str]:
    """Return (name, functional) of the calculator of `model`.

    For a potential, the name contains the sha256 of its weights in the precision used, which is that of the file if the
    precision is unchanged. For other calculators, it contains the version of their package.
    """
    potential = getattr(calculator, "potential", None)
    if potential is None:
        return f"{model} ({_package(type(calculator).__module__)})", ""
    # imports PyTorch, which other calculators may not need
    from gnnpot.hub.checkpoint import Card, weights_sha256

    card = getattr(calculator, "card", None) or Card()
    return f"{card.name or Path(model).name} (sha256 {weights_sha256(potential)})", card.functional


def _package(module: str) -> str:
    package = module.split(".", maxsplit=1)[0]
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:
        return f"{package} {getattr(sys.modules.get(package), '__version__', 'of unknown version')}"
