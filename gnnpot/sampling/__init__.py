"""Structures, distorted and labelled by a potential or any other ASE calculator: how a student learns from a teacher.

    config = LabelConfig(distortions=(Rattled(rattle=0.1, count=4), Strained(strain=0.05)), seed=7)
    structures = gnnpot.data.read_structures(["pool.extxyz.gz"])
    store = label(structures, teacher, "pool.store", config, processes=2)

`teacher` makes the calculator, in each process anew, and says what it is (`Labeller`). The frames of a call depend on
the structures, the configuration and the labeller alone, to the last bit: not on the number of processes, nor on where
a run was killed and resumed.

Here belong distortions, sampled trajectories, the choice of frames, and labelling in processes. What trains does not
(`gnnpot.training`), nor the rounds of a distillation (`gnnpot.workflows`). Readers and stores are in `gnnpot.data`.
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
