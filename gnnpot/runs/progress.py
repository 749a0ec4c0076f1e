"""How long work reports what is done: one call, which the command line draws and other programs log or ignore.

Example::

    def work(progress: Progress = no_progress) -> None:
        for k in range(100):
            progress("labelling", k, 100)
"""

from collections.abc import Callable
from typing import Protocol


class Progress(Protocol):
    """Takes the progress of one kind of work after the other."""

    def __call__(self, what: str, done: float, total: float, note: str = "") -> None:
        """Report a step.

        Args:
            what: the work: "labelling", "round 2: dynamics".
            done: how much of it, in its own unit (tasks, steps); the first call may report more than 0.
            total: of all; with `done` equal to it, this work has ended.
            note: figures of the moment: "step 120, MAE 3.1 meV/atom".
        """


def no_progress(what: str, done: float, total: float, note: str = "") -> None:
    """Reports nothing."""


def of_one(progress: Progress, what: str) -> Callable[[int, int], None]:
    """The progress of one kind of work, as a function of done and total."""
    return lambda done, total: progress(what, done, total)
