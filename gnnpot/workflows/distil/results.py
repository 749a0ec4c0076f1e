"""Results of a distillation, kept in a JSON file that is written atomically.

The file contains the results of the rounds, the times of the stages, and values that must not change when a run
resumes. The frames and weights are in the folders of the run.
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
    """Result of a round: errors of the students on states of their own dynamics, before they are trained on these."""

    number: int  #: number of the round, from 1
    trained_on: int  #: number of frames that the students were trained on
    # `drawn` and `picked` are keys of the results logs of existing runs, and of cards, which must load
    drawn: int  #: number of labelled frames of the random sample
    picked: int  #: number of labelled frames of the high-uncertainty sample
    left_out: dict[str, int]  #: number of frames that could not be labelled, by reason
    errors: StudentErrors  #: errors on the random sample
    picked_errors: StudentErrors | None  #: errors on the high-uncertainty sample, if there is one
    limit: float  #: disagreement above which trajectories ended, eV/Å
    disagreement: float  #: median disagreement over the states of the dynamics, eV/Å
    ends: dict[str, int]  #: number of trajectories by how they ended: complete, limit, exploded
    picoseconds: float  #: mean length of the trajectories, ps


@dataclass(frozen=True)
class _Content:
    rounds: tuple[RoundResult, ...] = ()
    seconds: dict[str, float] = field(default_factory=dict)  #: time of each stage
    values: dict[str, Any] = field(default_factory=dict)  #: values of `DistilResults.get_or_compute`


def end_name(config: DistilConfig, number: int) -> str:
    """Name for `DistilResults.get_or_compute` of the reason to end after a round, which depends on the limits."""
    limits = ", ".join(f"{name}={getattr(config, name)}" for name in LIMITS)
    return f"end {number} ({limits})"


class DistilResults:
    """Results in the file `path`, which is created with the first entry. Raises `DataError` if it is damaged."""

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
        """Add the result of a round."""
        self.rounds.append(result)
        self._write()

    def get_or_compute(self, name: str, make: Callable[[], Any]) -> Any:
        """Return the stored value of `name`; if there is none, call `make` and store its value, as JSON."""
        if name not in self._values:
            self._values[name] = json.loads(json.dumps(make()))
            self._write()
        return self._values[name]

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measure the time of a `with` block, excluding compilation; times of a resumed stage are added."""
        begin = working_time()
        try:
            yield
        finally:
            self._seconds[name] = self._seconds.get(name, 0.0) + working_time() - begin
            self._write()

    @property
    def minutes(self) -> float:
        """Minutes of all stages, including those before a resume."""
        return sum(self._seconds.values()) / 60

    def minutes_of(self, beginning: str) -> float:
        """Minutes of the stages whose names start with `beginning`."""
        return sum(s for name, s in self._seconds.items() if name.startswith(beginning)) / 60

    def _write(self) -> None:
        content = _Content(tuple(self.rounds), self._seconds, self._values)
        write_text(self._path, json.dumps(to_mapping(content), indent=1, ensure_ascii=False) + "\n")
