"""Orbital-free density functional theory: the density and energy of crystals from a kinetic energy functional.

The package contains Kohn-Sham references with local pseudopotentials (`kohn_sham`), classical and learned functionals
(`functionals`, `kernels`, `network`), their training, and the solver for the density (`solver`). Molecular dynamics and
relaxations (`gnnpot.engines`) use it through the ASE calculator:

    from gnnpot.functional import Calculator
    atoms.calc = Calculator()
"""

from gnnpot.functional.calculator import Calculator
from gnnpot.functional.store import open_functional

__all__ = ["Calculator", "open_functional"]
