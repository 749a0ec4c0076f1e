"""Compilation of kernels with Numba: the decorator `njit`, the cache of compiled kernels, compilation in several
processes, safety in threads and after forks, and memory for the arrays of kernels.

Modules with kernels import `njit` and `prange` from `gnnpot.compiler.decorator`, not from Numba. The kernels themselves
are in other subpackages. `events` does not import Numba, so that commands that compile nothing start quickly.

    from gnnpot.compiler.decorator import njit, prange

    @njit(parallel=True, cache=True)
    def scale(x, factor, out): ...

    from gnnpot.compiler.together import compiled_together

    with compiled_together(lambda: overloads):              # compiles missing kernels in several processes
        ...

    from gnnpot.compiler.events import compilation_events

    with compilation_events(lambda name, running: ...):     # called when a compilation begins and when it ends
        ...
"""
