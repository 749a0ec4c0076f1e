"""Weights that anyone can draw again, in place of files of weights.

    state = made_up_state({"model.embedding.layer_node_embedding.weight": [89, 64], …})
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch

#: RandomState's streams never change
SEED = 20250306
#: large enough for forces of 0.1 to 1 eV/Å in an M3GNet, small enough for activations not to run away
GAIN = 1.6


def made_up_state(shapes: Mapping[str, Sequence[int]]) -> dict[str, torch.Tensor]:
    """Normal numbers, drawn in the order of `shapes`, as float32: `GAIN` over the root of the number of inputs for
    matrices, 0.1 `GAIN` for vectors."""
    random = np.random.RandomState(SEED)  # noqa: NPY002 - see SEED
    state = {}
    for name, shape in shapes.items():
        scale = GAIN * (shape[-1] ** -0.5 if len(shape) > 1 else 0.1)
        state[name] = torch.tensor(scale * random.standard_normal(shape), dtype=torch.float32)
    return state
