"""Resumable downloads over HTTP.

    download("https://…/state.pt", Path(".state.pt.part"), size=1228529, report=LogProgress())

After a broken connection, the download is resumed with a Range request, as long as each request receives data. The
received bytes are kept in the file, from which a later call resumes.
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
from gnnpot.hub.cache import cache_errors

logger = logging.getLogger(__name__)

#: called with the name of the file, the bytes received, and the total bytes
Report = Callable[[str, int, int], None]

#: seconds without data after which a connection is closed
TIMEOUT = 30.0
_CHUNK = 1 << 16


class LogProgress:
    """Log the progress of downloads: start, end, and every few seconds the remaining time."""

    def __init__(self, interval: float = 5.0) -> None:
        self.interval = interval  #: seconds between messages
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
    """Download a file of `size` bytes to `partial`, which may already have its beginning.

    Raises `DownloadError` if no more data are received, `CheckpointError` if the file can't be written.
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
    """Send one request for the missing bytes."""
    done = _size(partial)
    request = urllib.request.Request(url, headers={"Range": f"bytes={done}-"} if done else {})  # noqa: S310 - a URL of the registry, or of a mirror set by the user
    response = _open(request)
    with response, cache_errors(), _open_to_extend(partial) as file:
        resumed = response.status == 206 and response.headers.get("Content-Range", "").startswith(f"bytes {done}-")
        # a server without support for ranges sends the whole file
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
    """Yield at most `most` bytes of a response. Raises `_BrokenError` if the connection fails."""
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
