"""How many threads the kernels use: as many as PyTorch."""

import numba
import torch


def follow_torch() -> None:
    """Let Numba's kernels that this thread calls use as many threads as PyTorch's operations.

    Both share OpenMP's threads, and Numba sets their number to that of the processors when it starts its own.
    """
    count = torch.get_num_threads()
    numba.set_num_threads(min(count, numba.config.NUMBA_NUM_THREADS))
    if torch.get_num_threads() != count:
        torch.set_num_threads(count)
