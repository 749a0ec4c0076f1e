"""Errors that users can fix: one sentence that says what is wrong, where, and what to do.

The command line prints the message of a `GnnpotError` and exits with status 1. Any other exception is a bug in gnnpot,
and its traceback is shown.
"""

import difflib
from collections.abc import Iterable


class GnnpotError(Exception):
    """Base class of all errors that are caused by the input or the environment, not by a bug."""


class DataError(GnnpotError):
    """A file, frame or label that can't be used."""


class ConfigError(GnnpotError):
    """A configuration with an unknown or unsupported option or value."""


class CheckpointError(GnnpotError):
    """A checkpoint, card or published potential that is missing, damaged or in an unsupported format."""


class DownloadError(CheckpointError):
    """A published file that can't be downloaded: no network, or the file does not exist on the server or mirror."""


class PluginError(GnnpotError):
    """A plug-in that can't be used: it can't be imported, or its name is already taken."""


class UnknownElementError(GnnpotError):
    """A structure with an element that the potential does not support."""


class MemoryNeedError(GnnpotError):
    """A structure that needs more memory than the machine has available."""


class SimulationError(GnnpotError):
    """A relaxation or dynamics run that diverged: atoms flew apart, or energies became infinite or NaN."""


class ExplosionError(SimulationError):
    """A dynamics run with energies or a temperature beyond all limits.

    Args:
        what: What happened and where, for callers whose options differ from those that `advice` names.
        advice: What to do about it.
    """

    def __init__(self, what: str, advice: str) -> None:
        # both are arguments of the base class, so that the error can be pickled
        super().__init__(what, advice)
        self.what = what
        self.advice = advice

    def __str__(self) -> str:
        return f"{self.what}; {self.advice}"


class BuilderError(GnnpotError):
    """A sentence or recipe from which no structure can be built."""


def counted(number: int, noun: str, plural: str = "") -> str:
    """Format a number with its noun in singular or plural.

    >>> counted(1, "frame"), counted(20, "frame")
    ('1 frame', '20 frames')
    """
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"


def suggest(name: str, known: Iterable[str]) -> str:
    """End of an error message for an unknown name: the closest known name, or all known names.

    >>> suggest("cutof", ["cutoff", "units"])
    "did you mean 'cutoff'?"
    """
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=1)
    if close:
        return f"did you mean '{close[0]}'?"
    return f"known are: {', '.join(known)}" if known else "none is known"
