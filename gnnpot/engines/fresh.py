"""Copies of calculators without state from earlier calculations, which could affect the results.

atoms.calc = fresh(calculator)
"""

import copy

from ase.calculators.calculator import BaseCalculator


def fresh(calculator: BaseCalculator) -> BaseCalculator:
    """Copy any ASE calculator, so that later calculations on the original do not affect the copy, or the reverse.

    The copy shares the potential. A calculator that can't be copied, as in some other packages, is reset instead.
    """
    potential = getattr(calculator, "potential", None)
    shared = {} if potential is None else {id(potential): potential}
    try:
        return copy.deepcopy(calculator, shared)
    except (TypeError, AttributeError, RuntimeError):
        getattr(calculator, "reset", lambda: None)()
        return calculator
