"""Number of threads of the kernels: the same as PyTorch's."""

import numba
import torch

from gnnpot.compiler.processes import is_forked

#: number of threads that Numba was started with, which is the maximum; `vars`, because the module of settings defines
#: its attributes only when it is imported
_MOST_THREADS: int = vars(numba.config)["NUMBA_NUM_THREADS"]


def follow_torch() -> int:
    """Let the kernels that this thread calls use as many threads as PyTorch's operations.

    PyTorch and Numba share OpenMP's threads, and Numba sets their number to the number of processors when it starts its
    threading layer. A forked process has none of these threads and uses one (`gnnpot.compiler.processes`).

    Returns:
        The number of threads of PyTorch.
    """
    count = 1 if is_forked() else torch.get_num_threads()
    numba.set_num_threads(min(count, _MOST_THREADS))
    if torch.get_num_threads() != count:
        torch.set_num_threads(count)
    return count
