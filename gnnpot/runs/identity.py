"""Identity of a run: options and inputs that must be equal for a run to be resumed.

    record = fingerprints(["frames.extxyz", "runs/start/model"])     # when the run starts
    changed = changed_inputs(record, fingerprints(paths, record))    # when it is resumed
    require_same(initial, requested, where=folder, kind="a training")

Options that limit time and steps are not part of the identity, so that a run can be extended; each kind of run defines
which options these are. An input is compared by size and modification time, and by its SHA-256 if these differ. A
folder created by gnnpot is represented by the file that holds the digests of all others. A file with the same SHA-256
at a different path is the same input, so that runs and inputs can be moved.
"""

import hashlib
import json
import operator
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gnnpot.errors import ConfigError, DataError

#: files with the digests of all other files of a folder; the last one is for the potential of a run
_CONTENTS = ("manifest.json", "card.json", "model/card.json")
#: largest number of characters of a value in messages
_SHOWN = 60


@dataclass(frozen=True)
class Fingerprint:
    """Size, modification time and SHA-256 of an input file."""

    size: int  #: bytes
    mtime_ns: int  #: modification time, ns
    sha256: str


def fingerprint(path: Path, known: Fingerprint | None = None) -> Fingerprint:
    """Return the fingerprint of a file.

    Args:
        path: The file.
        known: An earlier fingerprint; the file is not read if size and time are the same.

    Raises:
        DataError: The file can't be read.
    """
    try:
        status = path.stat()
        if known is not None and (known.size, known.mtime_ns) == (status.st_size, status.st_mtime_ns):
            return known
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{path}: can't be read ({error.strerror}); give a file that you may read") from None
    return Fingerprint(status.st_size, status.st_mtime_ns, digest)


def fingerprints(paths: Iterable[Path | str], known: Mapping[str, Any] | None = None) -> dict[str, dict[str, Any]]:
    """Return the fingerprints of inputs by path, as JSON values.

    Args:
        paths: Files and folders; names that are not paths (`bundled:NAME`, published potentials) are ignored.
        known: The result of this function when the run started.
    """
    found = {}
    for path in map(Path, paths):
        file = _standing_for(path)
        if file is None:
            continue
        before = (known or {}).get(str(path))
        found[str(path)] = asdict(fingerprint(file, None if before is None else Fingerprint(**before)))
    return found


def changed_inputs(initial: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return the paths whose contents have changed since the start; new or missing paths are differences of options."""
    return [path for path in now if path in initial and initial[path]["sha256"] != now[path]["sha256"]]


@dataclass(frozen=True)
class SameInputs:
    """Comparison of paths by the contents of the inputs, at the start of a run and now."""

    initial: Mapping[str, Any]  #: result of `fingerprints` when the run started
    now: Mapping[str, Any]  #: result of `fingerprints` now

    def __call__(self, initial: Any, now: Any) -> bool:
        """Return whether two values of an option, at the start and now, are paths of inputs with the same contents."""
        if not (isinstance(initial, str) and isinstance(now, str) and initial in self.initial and now in self.now):
            return False
        return bool(self.initial[initial]["sha256"] == self.now[now]["sha256"])


def differences(
    initial: Mapping[str, Any],
    requested: Mapping[str, Any],
    ignored: Iterable[str] = (),
    same: Callable[[Any, Any], bool] = operator.eq,
) -> dict[str, str]:
    """Return the differences between two mappings of JSON values, by dotted name: "was 1, is now 2".

    Args:
        initial: Options at the start of the run.
        requested: Options requested now.
        ignored: Dotted names that may differ.
        same: Returns whether two unequal values are equivalent.
    """
    found: dict[str, str] = {}
    meaning = _Meaning(set(ignored), same)
    for name in dict.fromkeys((*requested, *initial)):
        _compare(name, initial.get(name), requested.get(name), meaning, found)
    return found


def require_same(
    initial: Mapping[str, Any], requested: Mapping[str, Any], *, where: Path, kind: str, ignored: Iterable[str] = ()
) -> None:
    """Check that a run has the requested options.

    Args:
        initial: Options at the start of the run, JSON values.
        requested: Options requested now.
        where: Folder of the run.
        kind: Kind of run, for messages, such as "a training".
        ignored: Dotted names that may differ.

    Raises:
        ConfigError: Options differ; the message lists them.
    """
    if different := differences(initial, requested, ignored):
        raise other_run(where, kind, different)


def require_inputs(initial: Mapping[str, Any], now: Mapping[str, Any], *, where: Path, kind: str) -> None:
    """Raise `ConfigError` if inputs of a run have changed since its start."""
    if changed := changed_inputs(initial, now):
        raise other_run(where, kind, dict.fromkeys(changed, "the content has changed since"))


def other_run(where: Path, kind: str, different: Mapping[str, str]) -> ConfigError:
    """Return the error for a folder that contains a different run."""
    named = "; ".join(f"{name}: {how}" for name, how in different.items())
    return ConfigError(
        f"{where}: contains {kind} that was begun with other options or inputs ({named}); restore them, name another "
        "folder, or begin anew with --fresh"
    )


def _standing_for(path: Path) -> Path | None:
    if path.is_dir():
        return next((path / name for name in _CONTENTS if (path / name).is_file()), None)
    return path if path.is_file() else None


@dataclass(frozen=True)
class _Meaning:
    """Comparison of options."""

    ignored: Container[str]
    same: Callable[[Any, Any], bool]

    def __call__(self, initial: Any, requested: Any) -> bool:
        if isinstance(initial, list) and isinstance(requested, list) and len(initial) == len(requested):
            return all(map(self, initial, requested))
        return initial == requested or self.same(initial, requested)


def _compare(name: str, initial: Any, requested: Any, meaning: _Meaning, found: dict[str, str]) -> None:
    if name in meaning.ignored or meaning(initial, requested):
        return
    if isinstance(initial, Mapping) and isinstance(requested, Mapping):
        for key in dict.fromkeys((*requested, *initial)):
            _compare(f"{name}.{key}", initial.get(key), requested.get(key), meaning, found)
    else:
        found[name] = f"was {_short(initial)}, is now {_short(requested)}"


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    # the end is longer, because paths often differ only at their end
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN // 3]}…{text[-2 * _SHOWN // 3 :]}"
