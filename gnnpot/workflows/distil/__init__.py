"""Distillation: train a small, fast potential (student) on the labels of a large one (teacher).

    config = read_distil_config("7net-0", ["frames.extxyz.gz"], student="hdnnp", run="runs/student")     # config.py
    potential = distil(config)                                                                           # run.py

The teacher labels the given structures, undistorted and distorted, and a committee of students is trained on them. In
each round, the students run molecular dynamics (`sampling.trajectories`). The teacher labels a random sample of the
states, on which the errors of the students are measured, and the states with the highest disagreement of the committee
(`sampling.selection`). The students are trained on both (`rounds.py`, `students.py`). When the error no longer falls
(`limits.py`), a final student is trained on all frames and evaluated on its own dynamics (`measure.py`, `report.py`).
"""

from gnnpot.workflows.distil.config import STUDENTS, DistilConfig, read_distil_config
from gnnpot.workflows.distil.run import distil

__all__ = ["STUDENTS", "DistilConfig", "distil", "read_distil_config"]
