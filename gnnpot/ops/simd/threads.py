"""How many threads the kernels use, as many as PyTorch, and what they have found put together."""

import numba
import torch
from torch import Tensor

from gnnpot.compiler.processes import is_forked

#: what Numba was started with, and can't exceed; its module of settings fills itself when it is imported
_MOST_THREADS: int = vars(numba.config)["NUMBA_NUM_THREADS"]


def follow_torch() -> None:
    """Let Numba's kernels that this thread calls use as many threads as PyTorch's operations.

    Both share OpenMP's threads, and Numba sets their number to that of the processors when it starts its own. A forked
    process does not have them (`gnnpot.compiler.processes`).
    """
    count = 1 if is_forked() else torch.get_num_threads()
    numba.set_num_threads(min(count, _MOST_THREADS))
    if torch.get_num_threads() != count:
        torch.set_num_threads(count)


def summed(parts: Tensor) -> Tensor:
    """The sum of what the threads have, [parts, …]; a view of the only part."""
    return parts[0] if len(parts) == 1 else parts.sum(0)
