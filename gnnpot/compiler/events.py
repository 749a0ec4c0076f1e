"""What is being compiled, for those who show it: a first call takes up to a minute."""

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator

log = logging.getLogger("gnnpot")

#: called with the name of a kernel, and whether its compilation begins (True) or has ended
Event = Callable[[str, bool], None]


class _Compilations:
    """The compilations of this process."""

    def __init__(self) -> None:
        self.listeners: list[Event] = []
        self.count = 0
        # listeners too are called by one thread at a time
        self._lock = threading.RLock()
        self._seconds, self._running, self._since = 0.0, 0, 0.0

    @property
    def seconds(self) -> float:
        """What compiling has taken so far, of wall time."""
        return self._seconds + (time.monotonic() - self._since if self._running else 0.0)

    def begin(self, name: str) -> None:
        with self._lock:
            first, self.count = self.count == 0, self.count + 1
            # kernels that a kernel calls are compiled within its own compilation
            if self._running == 0:
                self._since = time.monotonic()
            self._running += 1
            if first and not self.listeners:
                log.warning(
                    "compiling kernels for this processor, once; it takes minutes ('gnnpot warm' does it ahead)"
                )
            log.debug("compiling %s", name)
            for listener in self.listeners:
                listener(name, True)

    def end(self, name: str) -> None:
        with self._lock:
            self._running -= 1
            if self._running == 0:
                self._seconds += time.monotonic() - self._since
            for listener in self.listeners:
                listener(name, False)


COMPILATIONS = _Compilations()


def working_time() -> float:
    """`time.monotonic()` without what this process has compiled so far, for budgets of time."""
    return time.monotonic() - COMPILATIONS.seconds


@contextlib.contextmanager
def compilation_events(listener: Event) -> Iterator[None]:
    """Within the block, `listener` is called when the compilation of a kernel begins, and when it has ended."""
    COMPILATIONS.listeners.append(listener)
    try:
        yield
    finally:
        COMPILATIONS.listeners.remove(listener)
