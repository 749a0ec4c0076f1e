"""gnnpot: universal interatomic potentials, from DFT labels to atoms in motion.

    import gnnpot
    atoms.calc = gnnpot.Calculator()                    # the potential that comes with gnnpot
    potential = gnnpot.load("path/to/checkpoint")       # or the name of a published one
"""

from typing import Any

__all__ = ["Calculator", "load"]


def __getattr__(name: str) -> Any:
    # on demand, so that `gnnpot --help` and the data tools start without torch
    if name == "load":
        from gnnpot.hub.opening import load

        return load
    if name == "Calculator":
        from gnnpot.engines.calculator import Calculator

        return Calculator
    raise AttributeError(f"module 'gnnpot' has no attribute '{name}'")
