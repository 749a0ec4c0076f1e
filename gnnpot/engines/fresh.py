"""Calculators without a memory: what is computed of a structure does not depend on those before.

atoms.calc = fresh(calculator)
"""

import copy

from ase.calculators.calculator import BaseCalculator


def fresh(calculator: BaseCalculator) -> BaseCalculator:
    """A copy of any ASE calculator that remembers nothing of structures before.

    A potential in it is shared. A calculator that can't be copied, as some of other packages, forgets by its `reset`.
    """
    potential = getattr(calculator, "potential", None)
    shared = {} if potential is None else {id(potential): potential}
    try:
        return copy.deepcopy(calculator, shared)
    except (TypeError, AttributeError, RuntimeError):
        getattr(calculator, "reset", lambda: None)()
        return calculator
