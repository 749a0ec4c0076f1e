"""Arrays of a step: freed memory is kept for the next one, and arrays begin with a line of the cache."""

import ctypes
import functools
import math
import os
import sys

import numpy as np

#: bytes
_CACHE_LINE = 64

#: parameters of glibc's mallopt
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
#: bytes that stay in the process; the largest array that is taken from them, as large as glibc allows
_KEPT, _LARGEST = 512 * 2**20, 32 * 2**20
#: by which users set these parameters themselves
_VARIABLES = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")


@functools.cache
def keep_freed_memory() -> bool:
    """Let the C library keep up to 512 MB of freed memory, in this process from now on.

    Kernels make arrays of some MB in each step. Given back to the system after it, their pages are faulted in again in
    the next one, which took a third of the time of a step of 1,600 atoms on two threads.

    Returns:
        Whether it does: not without glibc, nor where its environment variables say something else.
    """
    if not sys.platform.startswith("linux") or any(name in os.environ for name in _VARIABLES):
        return False
    library = ctypes.CDLL(None)
    if not hasattr(library, "mallopt"):
        return False
    return bool(library.mallopt(_MMAP_THRESHOLD, _LARGEST) and library.mallopt(_TRIM_THRESHOLD, _KEPT))


def empty_lines(shape: tuple[int, ...], dtype: np.typing.DTypeLike) -> np.ndarray:
    """As `np.empty`, from the beginning of a line of the cache on.

    NumPy's own arrays begin anywhere. A vector of a kernel that lies across two lines takes two accesses.
    """
    kind = np.dtype(dtype)
    size = math.prod(shape) * kind.itemsize
    room = np.empty(size + _CACHE_LINE, np.uint8)
    start = -room.ctypes.data % _CACHE_LINE
    return room[start : start + size].view(kind).reshape(shape)
