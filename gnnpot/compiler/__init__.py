"""Compiled kernels: how they are decorated, where they are kept, what makes them safe in threads and forks, and how
freed memory is kept for their arrays.

Each module with kernels imports `njit` and `prange` from here, not from Numba; what a kernel calculates does not belong
here. `events` does not import Numba, so that commands which compile nothing start at once.

    from gnnpot.compiler.decorator import njit, prange

    @njit(parallel=True, cache=True)
    def scale(x, factor, out): ...

    from gnnpot.compiler.together import compiled_together

    with compiled_together(lambda: overloads):              # in several processes, if they are not in the cache
        ...

    from gnnpot.compiler.events import compilation_events

    with compilation_events(lambda name, running: ...):     # called when a compilation begins and ends
        ...
"""
