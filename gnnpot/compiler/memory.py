"""Memory of the arrays of kernels: freed memory is kept for the next step, and arrays are aligned to cache lines."""

import ctypes
import functools
import math
import os
import sys

import numpy as np

#: size of a cache line, bytes
_CACHE_LINE = 64

#: parameters of glibc's mallopt
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
#: bytes of freed memory that the process keeps; size of the largest array that is allocated from them (glibc's maximum)
_KEPT, _LARGEST = 512 * 2**20, 32 * 2**20
#: environment variables by which users set these parameters themselves
_VARIABLES = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")


@functools.cache
def keep_freed_memory() -> bool:
    """Let the C library keep up to 512 MB of freed memory in this process from now on.

    Kernels allocate arrays of some MB in each step. If this memory is returned to the system after the step, its pages
    are faulted in again in the next step. This took a third of the time of a step of 1,600 atoms on two threads.

    Returns:
        Whether the memory is kept. It is not without glibc, or if environment variables set these parameters.
    """
    if not sys.platform.startswith("linux") or any(name in os.environ for name in _VARIABLES):
        return False
    library = ctypes.CDLL(None)
    if not hasattr(library, "mallopt"):
        return False
    return bool(library.mallopt(_MMAP_THRESHOLD, _LARGEST) and library.mallopt(_TRIM_THRESHOLD, _KEPT))


def empty_lines(shape: tuple[int, ...], dtype: np.typing.DTypeLike) -> np.ndarray:
    """Like `np.empty`, but the data begin at the start of a cache line.

    NumPy's arrays begin at any address. A SIMD vector that crosses the border of two cache lines takes two accesses.

    Args:
        shape: Shape of the array.
        dtype: Data type.

    Returns:
        An uninitialised array.
    """
    kind = np.dtype(dtype)
    size = math.prod(shape) * kind.itemsize
    room = np.empty(size + _CACHE_LINE, np.uint8)
    start = -room.ctypes.data % _CACHE_LINE
    return room[start : start + size].view(kind).reshape(shape)
