"""Potentials in LAMMPS, with MPI: a pair style that is compiled once and calls gnnpot on each rank.

This subpackage contains the pair style, its compilation, and the functions that it calls. Main entry points:

    with open_lammps() as lammps:                     # lammps.lammps with `pair_style gnnpot`
        lammps.file("in.lammps")

    mpirun -n 2 gnnpot lammps in.lammps
"""

from gnnpot.engines.lammps.build import check_versions, plugin_path
from gnnpot.engines.lammps.session import RankError, input_lines, open_lammps, run_input

__all__ = ["RankError", "check_versions", "input_lines", "open_lammps", "plugin_path", "run_input"]
