"""DFT-D3 dispersion correction for a potential that was trained on a functional without dispersion.

    calculator = with_dispersion(gnnpot.Calculator("7net-0"), functional="pbe")
    calculator.todict()["dispersion"]

The D3 energy (Grimme, Antony, Ehrlich and Krieg, J. Chem. Phys. 132, 154104 (2010)), by default with Becke-Johnson
damping, has parameters for each functional. Potentials whose training data include dispersion must not be corrected,
since it would be counted twice. Requires the package dftd3 (s-dftd3): pip install "gnnpot[dispersion]".
"""

import re
from collections.abc import Callable

from ase.calculators.calculator import BaseCalculator
from ase.calculators.mixing import SumCalculator

from gnnpot.errors import ConfigError
from gnnpot.extras import needs_extra

#: matches the functional of a model card whose training data include dispersion
_IN_FUNCTIONAL = re.compile(r"\bD[234]\b|-D[234]|VV10|vdW|MBD|\bTS\b", re.IGNORECASE)


class DispersionCorrected(SumCalculator):
    """Sum of a potential and D3: energy, forces and stress."""

    def __init__(self, potential: BaseCalculator, dispersion: BaseCalculator, described: str) -> None:
        super().__init__([potential, dispersion])
        self._described = {**potential.todict(), "dispersion": described}
        self._name = f"{potential.name}+d3"

    @property
    def name(self) -> str:
        return self._name

    def todict(self) -> dict[str, str]:
        """Parameters that identify the potential and the dispersion correction."""
        return self._described


def with_dispersion(
    calculator: BaseCalculator,
    functional: str = "pbe",
    *,
    damping: str = "d3bj",
    make: Callable[[str, str], BaseCalculator] | None = None,
) -> DispersionCorrected:
    """Add D3 to a calculator.

    Args:
        calculator: Calculator of a potential without dispersion.
        functional: Functional whose D3 parameters are used, as named by dftd3: pbe, r2scan.
        damping: d3bj, d3zero, d3bjm, d3zerom or d3op.
        make: Creates the D3 calculator from damping and functional; default: `dftd3.ase.DFTD3`.

    Raises:
        ConfigError: According to its card, the functional of the potential includes dispersion.
        MissingExtraError: dftd3 is not installed.
    """
    card = getattr(calculator, "card", None)
    if card is not None and _IN_FUNCTIONAL.search(card.functional):
        raise ConfigError(
            f"{card.name}: was trained on {card.functional}, which has dispersion in it; D3 would count it twice, so "
            "use the potential alone"
        )
    return DispersionCorrected(calculator, (make or _dftd3)(damping, functional), f"{damping} {functional}")


def _dftd3(damping: str, functional: str) -> BaseCalculator:
    with needs_extra("dispersion"):
        from dftd3.ase import DFTD3
    return DFTD3(method=functional, damping=damping)
