"""Distillation: a small, fast potential learns from a large one, on the frames that its own dynamics lead to.

    config = read_distil_config("7net-0", ["frames.extxyz.gz"], student="hdnnp", run="runs/student")     # config.py
    potential = distil(config)                                                                           # run.py

The teacher labels the given structures, as they are and distorted; a committee of students learns from them. Then, in
each round, the students explore by molecular dynamics (`explore.py`), the teacher labels states that were drawn at
random, whose error says how good the students are where they go, and states where the committee disagrees most
(`committee.py`); the students are trained on, with these too (`students.py`). When the error falls no longer, a last
student is trained on everything, and measured on dynamics of its own (`measure.py`, `report.py`).
"""

from gnnpot.workflows.distil.config import STUDENTS, DistilConfig, read_distil_config
from gnnpot.workflows.distil.run import distil

__all__ = ["STUDENTS", "DistilConfig", "distil", "read_distil_config"]
