"""Published benchmarks (suites), one in each file, for any ASE calculator.

This subpackage contains the items and reference data of each suite, the resumable run of a suite in several processes,
and reports with tables and plots. Properties are calculated in `gnnpot.properties`; errors on labelled frames in
training are in `gnnpot.training.evaluate`.

    suite = open_suite("phonons", data=Path("benchmarks"), count=50)
    evaluate_suite(suite, Subject("7net-0", make_calculator, sha256, training="MPtrj"), Path("evaluation"), processes=2)
    write_report(Path("evaluation"))              # table.md, table.json, and a PNG for each suite
"""

from gnnpot.properties.suites.base import Suite, SuiteOptions
from gnnpot.properties.suites.registry import SUITES, open_suite
from gnnpot.properties.suites.report import write_report
from gnnpot.properties.suites.run import Subject, evaluate_suite

__all__ = ["SUITES", "Subject", "Suite", "SuiteOptions", "evaluate_suite", "open_suite", "write_report"]
