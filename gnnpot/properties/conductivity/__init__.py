"""Diffusion of an ion and ionic conductivity, from molecular dynamics at several temperatures or any trajectory.

This subpackage contains displacements of ions, transport coefficients with their intervals, Arrhenius fits and plots.
Molecular dynamics is in `engines.md`. Main entry points:

    result = calc(atoms, make_calculator, ConductivityConfig(ion="Li", temperatures=(500, 650, 800)), folder)
    transport = analyse(read_displacements(Path("run.traj"), "Li"), temperature=600)
"""

from gnnpot.properties.conductivity.config import AnalysisConfig, ConductivityConfig
from gnnpot.properties.conductivity.displacements import Displacements, read_displacements
from gnnpot.properties.conductivity.transport import Transport, analyse

__all__ = ["AnalysisConfig", "ConductivityConfig", "Displacements", "Transport", "analyse", "read_displacements"]
