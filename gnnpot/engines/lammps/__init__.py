"""Potentials in LAMMPS, over the ranks of MPI: a pair style that is compiled once, and calls gnnpot for each rank.

Here belong the pair style, its compilation and what it calls; not LAMMPS's own commands. Others call

    with open_lammps() as lammps:                     # lammps.lammps, which knows `pair_style gnnpot`
        lammps.file("in.lammps")

    mpirun -n 2 gnnpot lammps in.lammps
"""

from gnnpot.engines.lammps.build import check_versions, plugin_path
from gnnpot.engines.lammps.session import RankError, input_lines, open_lammps, run_input

__all__ = ["RankError", "check_versions", "input_lines", "open_lammps", "plugin_path", "run_input"]
