"""Workers of the tests of processes and tasks; importable where they run."""

import functools
import os
import signal
from collections.abc import Sequence
from pathlib import Path


def square(x):
    return x * x


def fail(_):
    raise ValueError("not today")


def lambda_of(_):
    """What can't be sent back."""
    return lambda: None


def die(_):
    os.kill(os.getpid(), signal.SIGKILL)


class Squares:
    """Squares numbers; `deadly` ones kill the process, one `once` kills it while its file is there."""

    def __init__(self, deadly: tuple[int, ...] = (), once: tuple[int, Path] | None = None) -> None:
        self.deadly, self.once = deadly, once

    def __call__(self, numbers: Sequence[int]) -> list[bytes]:
        for number in numbers:
            if number in self.deadly:
                die(number)
            if self.once is not None and number == self.once[0] and self.once[1].exists():
                self.once[1].unlink()
                die(number)
            if number < 0:
                raise ValueError(f"{number} is negative")
        return [str(square(number)).encode() for number in numbers]


def squares(**options):
    return functools.partial(Squares, **options)
