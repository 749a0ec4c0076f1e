"""A run's folder: made, emptied where a run begins afresh, and refused where it holds another run."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import yaml

from gnnpot.config import from_mapping, read_yaml, to_mapping
from gnnpot.errors import ConfigError
from gnnpot.runs.files import write_text


class HasRun(Protocol):
    """A configuration, a dataclass, that names its folder."""

    @property
    def run(self) -> Path: ...


@dataclass(frozen=True)
class RunFolder:
    """What a kind of run has in its folder; names may be patterns."""

    what: str  #: "a training"
    config: str  #: the file of its configuration
    names: tuple[str, ...]  #: everything else that it writes
    kept: tuple[str, ...]  #: what there is to go on with; without any of these, nothing is lost
    free: tuple[str, ...]  #: options that may differ between the sessions of one run

    def claim(self, config: HasRun, resume: bool) -> None:
        """Make the folder, empty it unless resuming, and write the configuration into it.

        Raises `ConfigError` for a folder that can't be made, or that holds a run with another configuration.
        """
        run = config.run
        try:
            run.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"{run}: can't be made ({error.strerror}); name another folder for the run") from None
        if not resume:
            self._empty(run)
        path, wanted = run / self.config, to_mapping(config)
        if path.exists():
            before = _read(path, type(config))
            differ = [key for key in wanted if key not in self.free and before.get(key) != wanted[key]]
            if differ and any(found for name in self.kept for found in run.glob(name)):
                raise ConfigError(
                    f"{run}: holds {self.what} with another configuration ({', '.join(differ)}); name another folder, "
                    "or begin afresh with --fresh"
                )
            if differ:
                # it failed before its first step
                self._empty(run)
        write_text(path, yaml.safe_dump(wanted, sort_keys=False, allow_unicode=True))

    def _empty(self, run: Path) -> None:
        for name in (self.config, *self.names, *self.kept):
            for path in run.glob(name):
                if path.is_dir():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink(missing_ok=True)


def _read(path: Path, kind: type) -> dict[str, Any]:
    """What a run's configuration says, with options that are newer than the run at their defaults."""
    mapping = read_yaml(path)
    try:
        return to_mapping(from_mapping(kind, mapping, where=str(path)))
    except ConfigError:
        # of another kind of run; what differs is told as it stands there
        return mapping if isinstance(mapping, dict) else {}
