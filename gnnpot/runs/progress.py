"""Progress reports of long tasks, as a callback that the command line displays, and other programs log or ignore.

Example::

    def work(progress: Progress = no_progress) -> None:
        for k in range(100):
            progress("labelling", k, 100)
"""

from collections.abc import Callable
from typing import Protocol


class Progress(Protocol):
    """Protocol of callbacks for the progress of consecutive tasks."""

    def __call__(self, what: str, done: float, total: float, note: str = "") -> None:
        """Report progress.

        Args:
            what: Description of the task, such as "labelling" or "round 2: dynamics".
            done: Amount done, in any unit (tasks, steps); the first call may report more than 0.
            total: Total amount; the task has ended when `done` is equal to it.
            note: Current values, such as "step 120, MAE 3.1 meV/atom".
        """


def no_progress(what: str, done: float, total: float, note: str = "") -> None:
    """Ignore progress."""


def progress_of(progress: Progress, what: str) -> Callable[[int, int], None]:
    """Return a function of `done` and `total` that reports the progress of the task `what`."""
    return lambda done, total: progress(what, done, total)
