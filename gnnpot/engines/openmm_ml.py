"""Potentials in OpenMM, by the name gnnpot among those of openmm-ml.

    from openmmml import MLPotential

    system = MLPotential("gnnpot", model="7net-0").createSystem(topology)

The entry point `openmmml.potentials` of this package names `GnnpotPotentialFactory`, which openmm-ml makes when it is
imported; the potential itself is opened when forces are added to a system. Energies and forces are those of
`gnnpot.Calculator`, called from OpenMM's `PythonForce` by openmm-ml's own potential for ASE's calculators. An extra:
pip install "gnnpot[openmm]".
"""

from typing import Any

from gnnpot.extras import needs_extra

with needs_extra("gnnpot.engines.openmm_ml"):
    from openmmml.mlpotential import MLPotentialImplFactory
    from openmmml.models.asepotential import ASEPotentialImpl


class GnnpotPotentialFactory(MLPotentialImplFactory):
    """Makes what `MLPotential("gnnpot", ...)` holds."""

    def createImpl(self, name: str, model: Any = None, **args: Any) -> "GnnpotPotential":
        """A potential for OpenMM.

        Args:
            name: By which openmm-ml knows this factory.
            model: What `gnnpot.Calculator` takes: a name, a folder, a `Potential`; default: the default potential.
            args: Further arguments of `gnnpot.Calculator`: `device`, `dtype`, `skin`, `warn`.
        """
        return GnnpotPotential(name, model, args)


class GnnpotPotential(ASEPotentialImpl):
    """openmm-ml's potential of an ASE calculator, with gnnpot's."""

    def __init__(self, name: str, model: Any, options: dict[str, Any]) -> None:
        super().__init__(name)
        self._model, self._options = model, options

    def addForces(self, topology: Any, system: Any, atoms: Any, *args: Any, **options: Any) -> None:
        """Add the force to a system, in a force group (`args`); `atoms` are indices, `None` means all."""
        # openmm-ml loads this module whenever it is imported itself
        from gnnpot.engines.calculator import Calculator

        calculator = Calculator(self._model, **self._options)
        super().addForces(topology, system, atoms, *args, calculator=calculator, **options)

    def getMLLongRange(self) -> bool:
        """Atoms depend on others within the cutoffs of the layers only."""
        return False
