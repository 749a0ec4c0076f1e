"""Executors: one function for each kind of step, mostly thin wrappers of ASE and pymatgen.

Each takes a step and a `State` and changes the structure of the state. It notes the values that it chose, and refuses
steps that can't be executed. `gnnpot.builder.execution.execute` calls the executors.
"""
