"""The results of a distillation so far, on disk: a small JSON file, whole at any moment.

The frames and weights of a run are in its folders; here are the rounds' results, the time that stages took, and values
that must not change when a run resumes.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gnnpot.compiler.events import working_time
from gnnpot.config import from_mapping, to_mapping
from gnnpot.errors import ConfigError, DataError
from gnnpot.runs.files import write_text
from gnnpot.workflows.committee import StudentErrors
from gnnpot.workflows.distil.config import LIMITS, DistilConfig


@dataclass(frozen=True)
class RoundResult:
    """A round: the students' errors on states of their own dynamics, before they were trained on these."""

    number: int  #: from 1
    trained_on: int  #: frames that the students had been trained on
    # `drawn` and `picked` are keys of the results logs of existing runs, and of cards, which must load
    drawn: int  #: labelled frames of the random sample
    picked: int  #: labelled frames of the high-uncertainty sample
    left_out: dict[str, int]  #: frames that could not be labelled, by reason
    errors: StudentErrors  #: on the random sample, against the teacher
    picked_errors: StudentErrors | None
    limit: float  #: eV/Å, disagreement at which trajectories ended
    disagreement: float  #: eV/Å, median over the states of the dynamics
    ends: dict[str, int]  #: trajectories by how they ended: complete, limit, exploded
    picoseconds: float  #: of dynamics, mean over the trajectories


@dataclass(frozen=True)
class _Content:
    rounds: tuple[RoundResult, ...] = ()
    #: by stage
    seconds: dict[str, float] = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict)


def end_name(config: DistilConfig, number: int) -> str:
    """The name under which the reason to end after a round is kept: with other limits, there may be another."""
    limits = ", ".join(f"{name}={getattr(config, name)}" for name in LIMITS)
    return f"end {number} ({limits})"


class DistilResults:
    """The results in the file `path`, made at the first entry. Raises `DataError` if it is damaged."""

    def __init__(self, path: Path) -> None:
        self._path = path
        content = _Content()
        if path.is_file():
            try:
                content = from_mapping(_Content, json.loads(path.read_text(encoding="utf-8")), where=str(path))
            except (ValueError, ConfigError) as error:
                raise DataError(f"{path}: is damaged ({error}); begin anew with --fresh") from None
        self.rounds = list(content.rounds)
        self._seconds, self._values = dict(content.seconds), dict(content.values)

    def add(self, result: RoundResult) -> None:
        """Keep a round's result."""
        self.rounds.append(result)
        self._write()

    def once(self, name: str, make: Callable[[], Any]) -> Any:
        """The value that `make` gave when it was first asked for under this name; JSON."""
        if name not in self._values:
            self._values[name] = json.loads(json.dumps(make()))
            self._write()
        return self._values[name]

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time what is done within, but for compiling kernels; the times of a resumed stage add up."""
        begin = working_time()
        try:
            yield
        finally:
            self._seconds[name] = self._seconds.get(name, 0.0) + working_time() - begin
            self._write()

    @property
    def minutes(self) -> float:
        """Of all stages, resumed runs included."""
        return sum(self._seconds.values()) / 60

    def minutes_of(self, beginning: str) -> float:
        """Of the stages whose names begin so."""
        return sum(s for name, s in self._seconds.items() if name.startswith(beginning)) / 60

    def _write(self) -> None:
        content = _Content(tuple(self.rounds), self._seconds, self._values)
        write_text(self._path, json.dumps(to_mapping(content), indent=1, ensure_ascii=False) + "\n")
