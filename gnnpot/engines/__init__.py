"""What moves atoms, and what gives other programs energies and forces.

Here belong the ASE calculator, relaxation, molecular dynamics with its thermostats and barostats, trajectories and
restart files, and the links to LAMMPS, OpenMM and torch-sim. What opens a potential does not (`gnnpot.hub`), nor what
calculates a property from a run (`gnnpot.properties`). Others call

    from gnnpot.engines.calculator import Calculator
    from gnnpot.engines.relax import relax
    from gnnpot.engines.md import run_md
"""
