"""Kernels in several threads, and in processes that were forked.

Numba's parallel kernels run in one of its threading layers. That of GNU's OpenMP, which is taken on Linux, ends a
process that was forked after its first use; a pool of processes waits for it for ever. What is not safe after a fork
are OpenMP's threads, which the child does not have: there, kernels run in one thread each.

`workqueue`, which is taken where there is no OpenMP, ends a process in which two threads run kernels at once: there,
one waits for the other.
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
    """What this process is."""

    def __init__(self) -> None:
        self.is_forked = False
        self.lock = threading.RLock()

    def after_fork(self) -> None:
        """In the child: no other thread holds the lock; OpenMP's threads are gone."""
        self.lock = threading.RLock()
        if not parallel._is_initialized:
            return
        self.is_forked = True
        if parallel._threading_layer == "omp":
            omppool = importlib.import_module("numba.np.ufunc.omppool")
            # makes the child's process the one that the layer belongs to
            ctypes.CFUNCTYPE(None, ctypes.c_int)(omppool.launch_threads)(1)
        numba.set_num_threads(1)
        if "torch" in sys.modules:
            # its operations share OpenMP's threads
            sys.modules["torch"].set_num_threads(1)


_PROCESS = _Process()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_PROCESS.after_fork)


def is_forked() -> bool:
    """Whether kernels run in one thread each, as this process was forked after their first use."""
    return _PROCESS.is_forked


def one_at_a_time() -> contextlib.AbstractContextManager[Any]:
    """A block in which no other thread runs a parallel kernel, if the threading layer asks for it."""
    if parallel._threading_layer in (None, "workqueue"):
        return _PROCESS.lock
    return contextlib.nullcontext()
