"""Is it the same run? What must be equal for a run to resume: options and inputs. One comparison, one message.

    record = fingerprints(["frames.extxyz", "runs/start/model"])     # when the run begins
    changed = changed_inputs(record, fingerprints(paths, record))    # when it resumes
    require_same(begun, asked, where=folder, what="a training")

Options that limit time and steps are no part of the identity, so that a run can be extended; each kind of run says
which these are. An input is compared by size and time, and by its SHA-256 where these differ; of a folder that gnnpot
made, the file that names all others stands for it. A file with the same SHA-256 under another path is the same input,
so that runs and inputs may be moved.
"""

import hashlib
import json
import operator
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gnnpot.errors import ConfigError, DataError

#: files that contain the digests of all others in their folder; the last one is of a run, whose potential is meant
_CONTENTS = ("manifest.json", "card.json", "model/card.json")
#: characters of a value that a message shows
_SHOWN = 60


@dataclass(frozen=True)
class Fingerprint:
    """One input file."""

    size: int  #: bytes
    mtime_ns: int
    sha256: str


def fingerprint(path: Path, known: Fingerprint | None = None) -> Fingerprint:
    """Size, time and SHA-256 of a file.

    Args:
        path: of the file.
        known: an earlier fingerprint; with the same size and time the file is not read.

    Raises:
        DataError: if it can't be read.
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
    """Fingerprints of inputs by path, as JSON.

    Args:
        paths: files and folders; names that are no path (`bundled:NAME`, a published potential) are left out.
        known: what this function gave when the run began.
    """
    found = {}
    for path in map(Path, paths):
        file = _standing_for(path)
        if file is None:
            continue
        before = (known or {}).get(str(path))
        found[str(path)] = asdict(fingerprint(file, None if before is None else Fingerprint(**before)))
    return found


def changed_inputs(begun: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Paths whose bytes are not those with which the run began; one that is new or missing is an option's affair."""
    return [path for path in now if path in begun and begun[path]["sha256"] != now[path]["sha256"]]


@dataclass(frozen=True)
class SameInputs:
    """Paths that name the same inputs: those with which a run began, and those that it is given now."""

    begun: Mapping[str, Any]  #: what `fingerprints` gave when the run began
    now: Mapping[str, Any]  #: and gives now

    def __call__(self, begun: Any, now: Any) -> bool:
        """Whether an option, which was `begun`, names an input with the same content."""
        if not (isinstance(begun, str) and isinstance(now, str) and begun in self.begun and now in self.now):
            return False
        return bool(self.begun[begun]["sha256"] == self.now[now]["sha256"])


def differences(
    begun: Mapping[str, Any],
    asked: Mapping[str, Any],
    free: Iterable[str] = (),
    same: Callable[[Any, Any], bool] = operator.eq,
) -> dict[str, str]:
    """What differs between two mappings of JSON values, by dotted name: "was 1, is now 2".

    Args:
        begun: the options with which a run began.
        asked: those that are asked for now.
        free: dotted names that may differ.
        same: whether two values that are not equal mean the same.
    """
    found: dict[str, str] = {}
    meaning = _Meaning(set(free), same)
    for name in dict.fromkeys((*asked, *begun)):
        _compare(name, begun.get(name), asked.get(name), meaning, found)
    return found


def require_same(
    begun: Mapping[str, Any], asked: Mapping[str, Any], *, where: Path, what: str, free: Iterable[str] = ()
) -> None:
    """Refuse to resume what is another run.

    Args:
        begun: the options with which it began, as JSON values.
        asked: those that are asked for now.
        where: the run's folder.
        what: it is: "a training".
        free: names that may differ.

    Raises:
        ConfigError: naming what differs.
    """
    if different := differences(begun, asked, free):
        raise other_run(where, what, different)


def require_inputs(begun: Mapping[str, Any], now: Mapping[str, Any], *, where: Path, what: str) -> None:
    """Refuse to resume a run whose inputs have changed. Raises `ConfigError` that names them."""
    if changed := changed_inputs(begun, now):
        raise other_run(where, what, dict.fromkeys(changed, "the content has changed since"))


def other_run(where: Path, what: str, different: Mapping[str, str]) -> ConfigError:
    """The one message about a folder that contains another run."""
    named = "; ".join(f"{name}: {how}" for name, how in different.items())
    return ConfigError(
        f"{where}: contains {what} that was begun with other options or inputs ({named}); restore them, name another "
        "folder, or begin anew with --fresh"
    )


def _standing_for(path: Path) -> Path | None:
    if path.is_dir():
        return next((path / name for name in _CONTENTS if (path / name).is_file()), None)
    return path if path.is_file() else None


@dataclass(frozen=True)
class _Meaning:
    """Which options mean the same."""

    free: Container[str]
    same: Callable[[Any, Any], bool]

    def __call__(self, begun: Any, asked: Any) -> bool:
        if isinstance(begun, list) and isinstance(asked, list) and len(begun) == len(asked):
            return all(map(self, begun, asked))
        return begun == asked or self.same(begun, asked)


def _compare(name: str, begun: Any, asked: Any, meaning: _Meaning, found: dict[str, str]) -> None:
    if name in meaning.free or meaning(begun, asked):
        return
    if isinstance(begun, Mapping) and isinstance(asked, Mapping):
        for key in dict.fromkeys((*asked, *begun)):
            _compare(f"{name}.{key}", begun.get(key), asked.get(key), meaning, found)
    else:
        found[name] = f"was {_short(begun)}, is now {_short(asked)}"


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    # paths differ at their ends
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN // 3]}…{text[-2 * _SHOWN // 3 :]}"
