"""Potentials in OpenMM, through openmm-ml, as the potential `gnnpot`.

    from openmmml import MLPotential

    system = MLPotential("gnnpot", model="7net-0").createSystem(topology)

`GnnpotPotentialFactory` is registered through the entry point `openmmml.potentials`; openmm-ml creates it on import.
The potential is opened when forces are added to a system. Energies and forces are calculated by `gnnpot.Calculator`,
which OpenMM's `PythonForce` calls through openmm-ml's potential for ASE calculators. Requires openmm-ml:
pip install "gnnpot[openmm]".
"""

from typing import Any

from gnnpot.extras import needs_extra

with needs_extra("gnnpot.engines.openmm_ml"):
    from openmmml.mlpotential import MLPotentialImplFactory
    from openmmml.models.asepotential import ASEPotentialImpl


class GnnpotPotentialFactory(MLPotentialImplFactory):
    """Creates the implementation of `MLPotential("gnnpot", ...)`."""

    def createImpl(self, name: str, model: Any = None, **args: Any) -> "GnnpotPotential":
        """Create a potential for OpenMM.

        Args:
            name: Name under which openmm-ml has registered this factory.
            model: A name, a folder or a `Potential`, as for `gnnpot.Calculator`; default: the default potential.
            args: Further arguments of `gnnpot.Calculator`: `device`, `dtype`, `skin`, `warn`.
        """
        return GnnpotPotential(name, model, args)


class GnnpotPotential(ASEPotentialImpl):
    """openmm-ml's potential for ASE calculators, with the calculator of gnnpot."""

    def __init__(self, name: str, model: Any, options: dict[str, Any]) -> None:
        super().__init__(name)
        self._model, self._options = model, options

    def addForces(self, topology: Any, system: Any, atoms: Any, *args: Any, **options: Any) -> None:
        """Add the force to a system, in a force group (in `args`); `atoms` are indices, or `None` for all atoms."""
        # imported here, since every import of openmm-ml imports this module
        from gnnpot.engines.calculator import Calculator

        calculator = Calculator(self._model, **self._options)
        super().addForces(topology, system, atoms, *args, calculator=calculator, **options)

    def getMLLongRange(self) -> bool:
        """False: atoms depend only on others within the cutoffs of the message-passing layers."""
        return False
