"""Parallel kernels in several threads and in forked processes.

Numba runs parallel kernels in one of its threading layers. On Linux this is GNU OpenMP, which terminates a process
that was forked after the first use of OpenMP; a process pool then waits for this process forever. The cause is that the
child process does not have OpenMP's threads. Therefore, each kernel in a forked process runs in one thread.

The threading layer `workqueue`, used if there is no OpenMP, terminates a process in which two threads run kernels at
the same time. With this layer, one thread waits for the other.
"""

import contextlib
import ctypes
import importlib
import os
import sys
import threading
from typing import Any

import numba
from numba.np.ufunc import parallel


class _Process:
    """State of this process: whether it was forked, and the lock for parallel kernels."""

    def __init__(self) -> None:
        self.is_forked = False
        self.lock = threading.RLock()

    def after_fork(self) -> None:
        """Update the state in a child process, where no other thread holds the lock and OpenMP has no threads."""
        self.lock = threading.RLock()
        if not parallel._is_initialized:
            return
        self.is_forked = True
        if parallel._threading_layer == "omp":
            omppool = importlib.import_module("numba.np.ufunc.omppool")
            # makes the child the process that the threading layer belongs to
            ctypes.CFUNCTYPE(None, ctypes.c_int)(omppool.launch_threads)(1)
        numba.set_num_threads(1)
        if "torch" in sys.modules:
            # PyTorch's operations use OpenMP's threads, too
            sys.modules["torch"].set_num_threads(1)


_PROCESS = _Process()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_PROCESS.after_fork)


def is_forked() -> bool:
    """Whether this process was forked after the first use of kernels, so that each kernel runs in one thread."""
    return _PROCESS.is_forked


def one_at_a_time() -> contextlib.AbstractContextManager[Any]:
    """Context manager in which no other thread runs a parallel kernel, if the threading layer requires this."""
    if parallel._threading_layer in (None, "workqueue"):
        return _PROCESS.lock
    return contextlib.nullcontext()
