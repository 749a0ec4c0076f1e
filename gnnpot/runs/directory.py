"""Run folders: created, locked, emptied for a fresh run, and rejected if they contain a different run.

    with RUN.open(config, resume, inputs=paths): ...

Besides its configuration, a run folder has the marker file `run.json`, which shows that the folder was created by
gnnpot, and holds the fingerprints of the inputs. Folders of version 0.1 have no marker; they are identified by their
configuration.
"""

import json
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import yaml

from gnnpot.config import from_mapping, read_yaml, to_mapping
from gnnpot.errors import ConfigError, DataError
from gnnpot.runs.files import write_text
from gnnpot.runs.guard import check_name, check_not_input, check_run_folder
from gnnpot.runs.identity import SameInputs, differences, fingerprints, other_run, require_inputs
from gnnpot.runs.lock import RunLock

MARKER, FORMAT = "run.json", "gnnpot-run"


class HasRun(Protocol):
    """Protocol of configurations: dataclasses with the folder of the run."""

    @property
    def run(self) -> Path: ...


@dataclass(frozen=True)
class RunDirectory:
    """Contents of the folder of a kind of run. File names may be glob patterns."""

    what: str  #: kind of run, for messages, such as "a training"
    config: str  #: name of the configuration file
    names: tuple[str, ...]  #: names of all other files that the run writes
    resume_files: tuple[str, ...]  #: files needed to resume; a run without any of them can be replaced without loss
    free: tuple[str, ...]  #: options that are not part of the identity of the run

    @contextmanager
    def open(self, config: HasRun, resume: bool, inputs: Iterable[Path | str] = ()) -> Iterator[None]:
        """Create and lock the folder, empty it unless resuming, and write the configuration.

        The folder is locked until the end of the `with` block.

        Args:
            config: Configuration of the run.
            resume: Continue an interrupted run; otherwise its files are removed.
            inputs: Files and folders that the run reads.

        Raises:
            ConfigError: The folder can't be created, has files that gnnpot did not write and would replace, or contains
                a run with different options or inputs.
            DataError: Another process is using the folder.
        """
        paths = [Path(path) for path in inputs]
        run = config.run
        self._check_inputs(run, paths, resume)
        made = self._made(run, type(config))
        try:
            check_run_folder(run, made, "run, --output")
            run.mkdir(parents=True, exist_ok=True)
        except DataError as error:
            raise ConfigError(str(error)) from None
        except OSError as error:
            raise ConfigError(f"{run}: can't be made ({error.strerror}); name another folder for the run") from None
        if not made and (present := self._present(run)):
            raise ConfigError(
                f"{run}: contains {', '.join(present)}, which gnnpot did not make and would replace; name another "
                "folder for the run"
            )
        with RunLock(run, self.what):
            if not resume:
                self._empty(run)
            self._identify(config, paths)
            yield

    def _check_inputs(self, run: Path, inputs: Iterable[Path], resume: bool) -> None:
        """Raise `ConfigError` if an input is the folder of the run, or would be removed by a fresh run."""
        try:
            check_name(run, "run, --output")
        except DataError as error:
            raise ConfigError(str(error)) from None
        check_not_input({"run": run}, inputs)
        removed = [] if resume else [path.resolve() for name in self._names for path in run.glob(name)]
        for path in inputs:
            place = path.resolve()
            if any(place == one or one in place.parents for one in removed):
                raise ConfigError(
                    f"{path}: belongs to the run in {run}, which would be removed; name another folder for the run"
                )

    @property
    def _names(self) -> tuple[str, ...]:
        return (self.config, *self.names, *self.resume_files)

    def _identify(self, config: HasRun, inputs: Iterable[Path | str]) -> None:
        run, wanted = config.run, to_mapping(config)
        path, record = run / self.config, _read_record(run)
        now = fingerprints(inputs, record.get("inputs"))
        if path.exists():
            before = _read(path, type(config))
            inputs_begun = record.get("inputs", {})
            # the folder and its inputs may have been moved
            different = differences(before, wanted, (*self.free, "run"), SameInputs(inputs_begun, now))
            has_something = any(True for name in self.resume_files for _ in run.glob(name))
            if different and has_something:
                raise other_run(run, self.what, different)
            if has_something:
                require_inputs(inputs_begun, now, where=run, kind=self.what)
            elif different or record.get("inputs", now) != now:
                # the previous run ended before its first step
                self._empty(run)
        content = {"format": FORMAT, "version": 1, "kind": self.what, "inputs": now}
        write_text(run / MARKER, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
        write_text(path, yaml.safe_dump(wanted, sort_keys=False, allow_unicode=True))

    def _made(self, run: Path, config: type) -> bool:
        """Return whether gnnpot created the folder."""
        if not run.is_dir():
            return False
        if _read_record(run).get("format") == FORMAT:
            return True
        if not (run / self.config).is_file():
            return False
        try:
            from_mapping(config, read_yaml(run / self.config), where=self.config)
        except ConfigError:
            return False
        return True

    def _present(self, run: Path) -> list[str]:
        return sorted({path.name for name in self._names for path in run.glob(name)})

    def _empty(self, run: Path) -> None:
        for name in (MARKER, *self._names):
            for path in run.glob(name):
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink(missing_ok=True)


def _read_record(run: Path) -> dict[str, Any]:
    try:
        record = json.loads((run / MARKER).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def _read(path: Path, kind: type) -> dict[str, Any]:
    """Read the configuration of a run; options that are newer than the run have their defaults."""
    mapping = read_yaml(path)
    try:
        return to_mapping(from_mapping(kind, mapping, where=str(path)))
    except ConfigError:
        # the configuration of a different kind of run is compared unchanged
        return mapping if isinstance(mapping, dict) else {}
