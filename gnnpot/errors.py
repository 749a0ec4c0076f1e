"""Errors that a user can act on: one sentence that says what is wrong, where, and what to do.

The command line prints the sentence of a `GnnpotError` and exits with status 1; every other exception is a
defect of gnnpot and keeps its traceback.
"""

import difflib
from collections.abc import Iterable


class GnnpotError(Exception):
    """Base of all errors that come from input, not from a defect."""


class DataError(GnnpotError):
    """A file, frame or label that can't be used."""


class ConfigError(GnnpotError):
    """A configuration that says something gnnpot does not know or can't do."""


class CheckpointError(GnnpotError):
    """A checkpoint, card or published potential that is missing, damaged or of another format."""


class DownloadError(CheckpointError):
    """A published file that can't be had: no network, no such file, nothing of it in the mirror."""


class PluginError(GnnpotError):
    """A package that adds to gnnpot and can't be used: it can't be imported, or its name is taken."""


class UnknownElementError(GnnpotError):
    """A structure with an element that the potential has not seen."""


class MemoryNeedError(GnnpotError):
    """A structure that needs more memory than the machine has to spare."""


class SimulationError(GnnpotError):
    """A relaxation or a run of molecular dynamics that left physics: exploded, or met energies that aren't finite."""


class BuilderError(GnnpotError):
    """A sentence or a recipe of which no structure can be made."""


def counted(number: int, noun: str, plural: str = "") -> str:
    """A number with its noun.

    >>> counted(1, "frame"), counted(20, "frame")
    ('1 frame', '20 frames')
    """
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"


def suggest(name: str, known: Iterable[str]) -> str:
    """The end of an error sentence: the nearest known name, or all of them.

    >>> suggest("cutof", ["cutoff", "units"])
    "did you mean 'cutoff'?"
    """
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=1)
    if close:
        return f"did you mean '{close[0]}'?"
    return f"known are: {', '.join(known)}" if known else "none is known"
