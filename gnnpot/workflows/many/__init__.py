"""Calculations of many structures: relaxations, predictions, properties, in processes or on a cluster.

    model = Model(make, "ase.calculators.emt:EMT")
    with open_executor("processes", 4) as executor:
        found = run_many(open_structures("pool.extxyz"), Relaxing(RelaxConfig()), model, "relaxed", executor=executor)
    found.structures, found.failed

This writes the folder `relaxed` with `table.parquet`, which has a row for each structure, `structures.extxyz`, and
`failed.extxyz` with the structures that failed; their rows contain the error. A call that was stopped or killed resumes
with the same arguments. The results depend only on structures, options and model, not on the executor.
"""

from gnnpot.workflows.many.calculations import Calculation, Predicting, PropertyOf, Relaxing
from gnnpot.workflows.many.run import Many, run_many
from gnnpot.workflows.many.structures import Structures, open_structures
from gnnpot.workflows.many.worker import Model

__all__ = [
    "Calculation",
    "Many",
    "Model",
    "Predicting",
    "PropertyOf",
    "Relaxing",
    "Structures",
    "open_structures",
    "run_many",
]
