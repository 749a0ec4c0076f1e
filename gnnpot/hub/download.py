"""Files over HTTP; a download that was cut off is resumed.

    download("https://…/state.pt", Path(".state.pt.part"), size=1228529, report=LogProgress())

A connection that breaks is taken up again with a Range request as long as each one brings something; what has come
stays in the file, so a later call resumes from it.
"""

import http.client
import logging
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from gnnpot.errors import DownloadError
from gnnpot.hub.cache import writing

logger = logging.getLogger(__name__)

#: told what is fetched, the bytes that are there, and the bytes in all
Report = Callable[[str, int, int], None]

#: seconds without a byte after which a connection is given up
TIMEOUT = 30.0
_CHUNK = 1 << 16


class LogProgress:
    """Reports to the log: start, end, and every few seconds the time that is left."""

    def __init__(self, interval: float = 5.0) -> None:
        self.interval = interval  #: seconds
        self._what, self._done, self._last = "", -1, 0.0
        self._began, self._first = 0.0, 0

    def __call__(self, what: str, done: int, total: int) -> None:
        now = time.monotonic()
        if what != self._what:
            self._what, self._began, self._first = what, now, done
        elif done == self._done or (done < total and now - self._last < self.interval):
            return
        self._done, self._last = done, now
        rest = ""
        if self._first < done < total:
            rest = f", {(now - self._began) / (done - self._first) * (total - done):.0f} s left"
        logger.info("%s: %.1f of %.1f MB%s", what, done / 1e6, total / 1e6, rest)


class MissingError(DownloadError):
    """The server has no such file."""


class _BrokenError(Exception):
    """The connection ended early."""


def download(url: str, partial: Path, size: int, report: Report) -> None:
    """Fill `partial`, which may hold a beginning, up to `size` bytes.

    Raises `DownloadError` if nothing more comes, `CheckpointError` if the file can't be written.
    """
    what = url.rpartition("/")[2]
    while (before := _size(partial)) < size:
        try:
            _continue(url, partial, size, lambda done: report(what, done, size))
        except _BrokenError as broken:
            if _size(partial) <= before:
                raise DownloadError(
                    f"{url}: can't be had ({broken}); {before} of {size} bytes are there, and the same command resumes"
                ) from None
            logger.info("%s: the connection ended (%s); resuming", what, broken)
    report(what, size, size)


def _continue(url: str, partial: Path, size: int, report: Callable[[int], None]) -> None:
    """One request, for what is missing."""
    done = _size(partial)
    request = urllib.request.Request(url, headers={"Range": f"bytes={done}-"} if done else {})  # noqa: S310 - of the registry, or of a mirror that a user names
    response = _open(request)
    with response, writing(), _open_to_extend(partial) as file:
        resumed = response.status == 206 and response.headers.get("Content-Range", "").startswith(f"bytes {done}-")
        # a server that does not know ranges sends all of it
        done = done if resumed else 0
        file.truncate(done)
        file.seek(done)
        report(done)
        for chunk in _chunks(response, size - done):
            file.write(chunk)
            done += len(chunk)
            report(done)
        file.flush()
        os.fsync(file.fileno())
    if done < size:
        raise _BrokenError(f"it ended after {done} bytes")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _open_to_extend(path: Path) -> BinaryIO:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.open("r+b" if path.exists() else "wb")


def _open(request: urllib.request.Request) -> http.client.HTTPResponse:
    try:
        return urllib.request.urlopen(request, timeout=TIMEOUT)  # noqa: S310
    except urllib.error.HTTPError as error:
        error.close()
        kind = MissingError if error.code in (404, 410) else DownloadError
        raise kind(
            f"{request.full_url}: the server refuses ({error.code} {error.reason}); see whether it is still there, or "
            "set GNNPOT_MIRROR to a folder or URL that has it"
        ) from None
    except ValueError as error:
        raise DownloadError(f"{request.full_url}: is no URL ({error}); give one with http:// or https://") from None
    except (OSError, http.client.HTTPException) as error:
        raise DownloadError(
            f"{request.full_url}: can't be reached ({getattr(error, 'reason', None) or error}); without internet, set "
            "GNNPOT_MIRROR to a folder or URL that has the files"
        ) from None


def _chunks(response: BinaryIO, most: int) -> Iterator[bytes]:
    """At most so many bytes of what comes."""
    while most > 0:
        try:
            chunk = response.read(min(_CHUNK, most))
        except http.client.IncompleteRead as error:
            chunk, most = error.partial, len(error.partial)
        except (OSError, http.client.HTTPException) as error:
            raise _BrokenError(str(error) or type(error).__name__) from None
        if not chunk:
            return
        most -= len(chunk)
        yield chunk
