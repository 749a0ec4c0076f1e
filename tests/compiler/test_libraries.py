"""Functions that a kernel calls are compiled into it, and are executable once they are called from Python."""

import gc

import numpy as np
import pytest

from gnnpot.compiler.decorator import njit, prange


@njit
def inner(x):
    if x < 0:
        raise ValueError("negative")
    return x * x


@njit(inline="always")
def middle(x):
    return inner(x) + 1.0


@njit
def outer(x):
    total = 0.0
    for k in range(len(x)):
        total += middle(x[k])
    return total


@njit(parallel=True)
def in_parallel(x, out):
    for k in prange(len(x)):
        out[k] = inner(x[k]) + outer(x[k : k + 1])


def test_parts_are_executable_on_demand():
    x = np.arange(4.0)
    assert outer(x) == 18.0 and gc.isenabled()
    (part,) = inner.overloads.values()
    assert not part.library.is_executable
    assert inner(3.0) == 9.0 and inner(3) == 9 and inner(2.0) == 4.0
    assert next(iter(inner.overloads.values())).library.is_executable
    out = np.empty(4)
    in_parallel(x, out)
    np.testing.assert_array_equal(out, 2 * x**2 + 1)
    # another kernel, of what has become executable
    assert middle(2.0) == 5.0


def test_errors_of_parts_reach_python():
    for call in (lambda: outer(np.array([1.0, -1.0])), lambda: inner(-1.0)):
        with pytest.raises(ValueError, match="negative"):
            call()


def test_kernels_of_numba_itself_are_left_alone():
    import numba

    @numba.njit
    def theirs(x):
        return inner(x) + np.sum(np.ones(3))

    assert theirs(2.0) == 7.0 and theirs(1.0) == 4.0
    assert type(theirs.targetctx).__name__ == "CPUContext"
