"""Dispersion by DFT-D3, added to a potential that was trained on a functional without it.

    calculator = with_dispersion(gnnpot.Calculator("7net-0"), functional="pbe")
    calculator.todict()["dispersion"]

The energy of D3 (Grimme, Antony, Ehrlich and Krieg, J. Chem. Phys. 132, 154104 (2010)) with the damping of Becke and
Johnson depends on the functional whose errors it corrects, and counts dispersion twice for a potential that has it in
its data. By the package dftd3 (s-dftd3), an extra: pip install "gnnpot[dispersion]".
"""

import re
from collections.abc import Callable

from ase.calculators.calculator import BaseCalculator
from ase.calculators.mixing import SumCalculator

from gnnpot.errors import ConfigError
from gnnpot.extras import needs_extra

#: in the functional of a card: dispersion is in the data
_IN_FUNCTIONAL = re.compile(r"\bD[234]\b|-D[234]|VV10|vdW|MBD|\bTS\b", re.IGNORECASE)


class DispersionCorrected(SumCalculator):
    """A potential and D3: energy, forces and stress are the sums."""

    def __init__(self, potential: BaseCalculator, dispersion: BaseCalculator, described: str) -> None:
        super().__init__([potential, dispersion])
        self._described = {**potential.todict(), "dispersion": described}
        self._name = f"{potential.name}+d3"

    @property
    def name(self) -> str:
        return self._name

    def todict(self) -> dict[str, str]:
        """What says which potential it is, and the dispersion."""
        return self._described


def with_dispersion(
    calculator: BaseCalculator,
    functional: str = "pbe",
    *,
    damping: str = "d3bj",
    make: Callable[[str, str], BaseCalculator] | None = None,
) -> DispersionCorrected:
    """A calculator with the energy of D3 added.

    Args:
        calculator: Of a potential without dispersion.
        functional: Whose parameters D3 takes, as dftd3 names it: pbe, r2scan.
        damping: d3bj, d3zero, d3bjm, d3zerom or d3op.
        make: Makes D3's calculator from damping and functional; default: `dftd3.ase.DFTD3`.

    Raises:
        ConfigError: The card of the potential says that dispersion is in its functional.
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
