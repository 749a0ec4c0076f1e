"""Calculators, relaxation, molecular dynamics, and interfaces to other simulation programs.

This subpackage contains the ASE calculator, relaxation, molecular dynamics with its thermostats and barostats,
trajectories and restart files, and the interfaces to LAMMPS, OpenMM and torch-sim. Potentials are opened in
`gnnpot.hub`; properties are calculated in `gnnpot.properties`. Main entry points:

    from gnnpot.engines.calculator import Calculator
    from gnnpot.engines.relax import relax
    from gnnpot.engines.md import run_md
"""
