"""Distortion and labelling of structures, with a potential or any ASE calculator, for example to train a student.

    config = LabelConfig(distortions=(Rattled(rattle=0.1, count=4), Strained(strain=0.05)), seed=7)
    structures = gnnpot.data.read_structures(["pool.extxyz.gz"])
    store = label(structures, teacher, "pool.store", config, processes=2)

`teacher` is a `Labeller`: it creates the calculator in each process, and describes it. The frames depend only on the
structures, the configuration and the labeller. They are bitwise reproducible for any number of processes, also if the
run was interrupted and resumed.

This package holds distortions, sampled trajectories, the selection of frames, and labelling in processes. Training is
in `gnnpot.training`, the rounds of a distillation are in `gnnpot.workflows`, readers and stores in `gnnpot.data`.
"""

from gnnpot.sampling.config import LabelConfig, Limits, read_label_config
from gnnpot.sampling.distortions import (
    Distortion,
    Melted,
    Original,
    Pairs,
    Rattled,
    Scaled,
    Strained,
    Substituted,
    Swapped,
    Vacancies,
)
from gnnpot.sampling.label import label
from gnnpot.sampling.tasks import Labeller

__all__ = [
    "Distortion",
    "LabelConfig",
    "Labeller",
    "Limits",
    "Melted",
    "Original",
    "Pairs",
    "Rattled",
    "Scaled",
    "Strained",
    "Substituted",
    "Swapped",
    "Vacancies",
    "label",
    "read_label_config",
]
