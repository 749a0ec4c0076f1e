"""Events of compilation, for programs that display its progress: the first call of a kernel takes up to a minute."""

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator

log = logging.getLogger("gnnpot")

#: called with the name of a kernel and whether its compilation begins (True) or has ended (False)
Event = Callable[[str, bool], None]


class _Compilations:
    """Number and total time of the compilations of this process, and the listeners that are told of them."""

    def __init__(self) -> None:
        self.listeners: list[Event] = []
        self.count = 0
        # held while listeners are called, so that one thread at a time calls them
        self._lock = threading.RLock()
        self._seconds, self._running, self._since = 0.0, 0, 0.0

    @property
    def seconds(self) -> float:
        """Wall time spent on compilation so far."""
        return self._seconds + (time.monotonic() - self._since if self._running else 0.0)

    def begin(self, name: str) -> None:
        with self._lock:
            first, self.count = self.count == 0, self.count + 1
            # compilations are nested: the kernels that a kernel calls are compiled within its own compilation
            if self._running == 0:
                self._since = time.monotonic()
            self._running += 1
            if first and not self.listeners:
                log.warning(
                    "compiling kernels for this processor, once; it takes minutes ('gnnpot warm' does it in advance)"
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
    """Return `time.monotonic()` minus the time that this process has spent on compilation, for time limits."""
    return time.monotonic() - COMPILATIONS.seconds


@contextlib.contextmanager
def compilation_events(listener: Event) -> Iterator[None]:
    """Context manager in which `listener` is called when the compilation of a kernel begins and when it has ended."""
    COMPILATIONS.listeners.append(listener)
    try:
        yield
    finally:
        COMPILATIONS.listeners.remove(listener)
