"""Diffusion of an ion and ionic conductivity, from dynamics at several temperatures or from anyone's trajectory.

Here belong the displacements of the ions, the transport coefficients with their intervals, the Arrhenius fit and their
pictures; not the dynamics themselves (`engines.md`). Others call

    result = calc(atoms, make_calculator, ConductivityConfig(ion="Li", temperatures=(500, 650, 800)), folder)
    transport = analyse(read_displacements(Path("run.traj"), "Li"), temperature=600)
"""

from gnnpot.properties.conductivity.config import AnalysisConfig, ConductivityConfig
from gnnpot.properties.conductivity.displacements import Displacements, read_displacements
from gnnpot.properties.conductivity.transport import Transport, analyse

__all__ = ["AnalysisConfig", "ConductivityConfig", "Displacements", "Transport", "analyse", "read_displacements"]
