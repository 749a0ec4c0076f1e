"""One try: a command line (or a line of Python), and what is expected of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Try:
    """A command in a folder of its own, with what is expected.

    The first of `words` that is missing in the output makes the try misleading; alternatives stand with `|` between.
    """

    group: str  #: row of the table in docs/reliability.md
    name: str  #: unique
    command: tuple[str, ...]  #: arguments of `gnnpot`; `("python", code)`: Python
    status: tuple[int, ...] = (1, 2)  #: any of these
    words: tuple[str, ...] = ()  #: must be in the output, in any case of letters
    absent: tuple[str, ...] = ()  #: must not be in it
    files: tuple[str, ...] = ()  #: of `files.FILES`, put into the folder
    changes: tuple[str, ...] = ()  #: patterns of paths that may be new, changed or gone
    environment: Mapping[str, str] = field(default_factory=dict)
    setup: str = ""  #: Python that prepares the folder, where a table of files is not enough
    memory: float = 4.0  #: GB that the try may take beyond what is loaded
    open_files: int = 0  #: how many files may be open; 0: as the machine allows
    fresh: bool = False  #: in a new Python process, not in a fork
