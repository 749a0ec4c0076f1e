"""Published benchmarks, a file each, which any ASE calculator can run.

Here belong what a suite asks of a potential, what it compares the answers with, and the run of one: processes, a
results log from which it resumes, the table and the picture. Not here: the calculation of a property itself
(`gnnpot.properties`), and the errors on one's own labelled frames (`gnnpot.training.evaluate`).

    suite = open_suite("phonons", data=Path("benchmarks"), count=50)
    evaluate_suite(suite, Subject("7net-0", make_calculator, sha256, training="MPtrj"), Path("evaluation"), processes=2)
    write_report(Path("evaluation"))              # table.md, table.json, and a PNG for each suite
"""

from gnnpot.properties.suites.base import Suite, SuiteOptions
from gnnpot.properties.suites.registry import SUITES, open_suite
from gnnpot.properties.suites.report import write_report
from gnnpot.properties.suites.run import Subject, evaluate_suite

__all__ = ["SUITES", "Subject", "Suite", "SuiteOptions", "evaluate_suite", "open_suite", "write_report"]
