"""How many threads the kernels use: as many as PyTorch."""

import numba
import torch

from gnnpot.compiler.processes import is_forked

#: what Numba was started with, and can't exceed; its module of settings fills itself when it is imported
_MOST_THREADS: int = vars(numba.config)["NUMBA_NUM_THREADS"]


def follow_torch() -> int:
    """Let Numba's kernels that this thread calls use as many threads as PyTorch's operations.

    Both share OpenMP's threads, and Numba sets their number to that of the processors when it starts its own. A forked
    process does not have them (`gnnpot.compiler.processes`).

    Returns:
        PyTorch's number of threads.
    """
    count = 1 if is_forked() else torch.get_num_threads()
    numba.set_num_threads(min(count, _MOST_THREADS))
    if torch.get_num_threads() != count:
        torch.set_num_threads(count)
    return count
