"""Distillation: a small, fast potential learns from a large one, on the frames that its own dynamics lead to.

    config = read_distil_config("7net-0", ["frames.extxyz.gz"], student="hdnnp", run="runs/student")     # config.py
    potential = distil(config)                                                                           # run.py

The teacher labels the given structures, undistorted and distorted; a committee of students learns from them. In each
round the students explore by molecular dynamics (`sampling.trajectories`). The teacher labels a random sample of the
states, which measures the students' error there, and those where the committee disagrees most (`sampling.selection`);
the students are trained with these too (`rounds.py`, `students.py`). When the error no longer falls (`limits.py`), a
last student is trained on all frames, and measured on dynamics of its own (`measure.py`, `report.py`).
"""

from gnnpot.workflows.distil.config import STUDENTS, DistilConfig, read_distil_config
from gnnpot.workflows.distil.run import distil

__all__ = ["STUDENTS", "DistilConfig", "distil", "read_distil_config"]
