"""Orbital-free density functional theory: the density and energy of crystals from a kinetic energy functional.

Here belong Kohn-Sham references with local pseudopotentials (`kohn_sham`), classic and learned functionals
(`functionals`, `kernels`, `network`), their training, and the self-consistent density (`solver`). What moves atoms does
not (`gnnpot.engines`): others use the ASE calculator,

    from gnnpot.functional import Calculator
    atoms.calc = Calculator()
"""

from gnnpot.functional.calculator import Calculator
from gnnpot.functional.store import open_functional

__all__ = ["Calculator", "open_functional"]
