"""Executors: one function for each kind of step, thin over ASE and pymatgen.

Each takes a step and a `State` and changes the state's structure; it says what it chose and refuses what can't be done.
Reading of text and the recipe's types stand elsewhere; `gnnpot.builder.execution.execute` calls these.
"""
