"""One try: a command line (or Python code), and its expected outcome."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Try:
    """A command in its own folder, and the expected outcome.

    A try is misleading if one of `words` is missing in its output; alternatives are separated by `|`.
    """

    group: str  #: row of the table in docs/reliability.md
    name: str  #: unique name
    command: tuple[str, ...]  #: arguments of `gnnpot`; `("python", code)`: Python
    status: tuple[int, ...] = (1, 2)  #: allowed exit statuses
    words: tuple[str, ...] = ()  #: required in the output, ignoring case
    absent: tuple[str, ...] = ()  #: not allowed in the output
    files: tuple[str, ...] = ()  #: names in `files.FILES` that are copied to the folder
    changes: tuple[str, ...] = ()  #: patterns of paths that may be created, changed or deleted
    environment: Mapping[str, str] = field(default_factory=dict)
    setup: str = ""  #: Python code that prepares the folder, if `files` is not enough
    memory: float = 4.0  #: memory limit beyond the loaded modules, GB
    open_files: int = 0  #: limit of open files; 0: the system's limit
    fresh: bool = False  #: in a new Python process, not in a fork
