"""Files come whole and right, or not at all: cut connections, wrong bytes, mirrors, wheels, caches."""

import io
import os
import threading
import tracemalloc
import zipfile
from pathlib import Path

import pytest

from gnnpot.errors import CheckpointError, DownloadError
from gnnpot.hub import wheel
from gnnpot.hub.cache import source_path
from gnnpot.hub.fetch import fetch
from tests.hub.conftest import MEMBERS, WEB, WHEEL, wheel_of


def kept(cache):
    """The published files in the cache, and what is left of downloads."""
    return sorted(path.name for path in cache.rglob("*") if path.is_file() and path.suffix != ".lock")


def test_a_download_goes_on_after_each_cut(entries, server):
    server.cuts = [1000, 5000]
    seen = []
    (path,) = fetch(entries["web"], lambda what, done, total: seen.append((what, done, total))).values()
    assert path == source_path("web", "web.pt") and path.read_bytes() == WEB
    assert [wanted for _, wanted in server.asked] == [None, "bytes=1000-", "bytes=6000-"]
    assert seen[0] == ("web.pt", 0, len(WEB)) and seen[-1] == ("web.pt", len(WEB), len(WEB))
    assert [done for _, done, _ in seen] == sorted(done for _, done, _ in seen)
    fetch(entries["web"])
    assert len(server.asked) == 3


def test_what_came_before_a_failure_is_gone_on_with(entries, server, cache):
    server.cuts = [1000, 0]
    with pytest.raises(DownloadError, match="1000 of 10240 bytes are there, and the same command resumes"):
        fetch(entries["web"])
    assert not source_path("web", "web.pt").exists()
    fetch(entries["web"])
    assert server.asked[-1][1] == "bytes=1000-" and kept(cache) == ["web.pt"]


def test_a_server_without_ranges(entries, server):
    server.cuts, server.ranges = [1000], False
    (path,) = fetch(entries["web"]).values()
    assert path.read_bytes() == WEB


def test_a_beginning_of_something_else_is_thrown_away(entries, server, cache):
    server.cuts = [1000, 0]
    with pytest.raises(DownloadError):
        fetch(entries["web"])
    (partial,) = cache.rglob("*.part")
    partial.write_bytes(b"x" * 1000)
    (path,) = fetch(entries["web"]).values()
    assert path.read_bytes() == WEB


@pytest.mark.parametrize("wrong", [b"x" + WEB[1:], WEB[:-1] + b"x", b"x" * 5 + WEB])
def test_wrong_bytes_are_not_kept_and_nothing_is_lost(entries, server, cache, wrong):
    server.files["/web.pt"] = wrong
    mine = source_path("web", "web.pt")
    mine.parent.mkdir(parents=True)
    mine.write_bytes(b"the user's own")
    with pytest.raises(CheckpointError, match=r"web\.pt: is not the published web\.pt"):
        fetch(entries["web"])
    assert mine.read_bytes() == b"the user's own" and kept(cache) == ["web.pt"]


def test_a_file_that_is_cut_off_on_the_server(entries, server):
    server.files["/web.pt"] = WEB[:5000]
    with pytest.raises(DownloadError, match="416|5000 of 10240"):
        fetch(entries["web"])
    assert not source_path("web", "web.pt").exists()


def test_no_network(entries, server, cache, monkeypatch):
    monkeypatch.setenv("GNNPOT_MIRROR", "http://127.0.0.1:9")
    with pytest.raises(DownloadError, match="can't be reached.*GNNPOT_MIRROR"):
        fetch(entries["web"])
    assert kept(cache) == []


def test_a_mirror_is_asked_and_nothing_else(entries, server, cache, tmp_path, monkeypatch):
    mirror = tmp_path / "mirror"
    (mirror / "web").mkdir(parents=True)
    monkeypatch.setenv("GNNPOT_MIRROR", str(mirror))
    with pytest.raises(DownloadError, match=r"has no web/web\.pt; put it there"):
        fetch(entries["web"])
    with pytest.raises(DownloadError, match=f"has no wheel-a/a.pth nor {WHEEL.file}"):
        fetch(entries["wheel-a"])
    (mirror / "web" / "web.pt").write_bytes(WEB[:-1])
    with pytest.raises(CheckpointError, match="is not the published"):
        fetch(entries["web"])
    (mirror / "web" / "web.pt").write_bytes(WEB)
    (path,) = fetch(entries["web"]).values()
    assert path.read_bytes() == WEB and server.asked == []
    # what the cache keeps is a mirror itself
    monkeypatch.setenv("GNNPOT_CACHE", str(tmp_path / "another"))
    monkeypatch.setenv("GNNPOT_MIRROR", str(cache / "sources"))
    assert fetch(entries["web"])["web.pt"].read_bytes() == WEB


def test_a_wheel_in_a_mirror(entries, tmp_path, monkeypatch):
    (tmp_path / WHEEL.file.replace("win_amd64", "linux_x86_64")).write_bytes(wheel_of(MEMBERS))
    monkeypatch.setenv("GNNPOT_MIRROR", str(tmp_path))
    assert fetch(entries["wheel-b"])["b.pth"].read_bytes() == MEMBERS["made/b.pth"]


def test_a_mirror_on_the_web(entries, server, cache, monkeypatch):
    monkeypatch.setenv("GNNPOT_MIRROR", f"{server.url}/mirror/")
    server.files |= {"/mirror/web/web.pt": WEB, "/mirror/wheel-a/a.pth": MEMBERS["made/a.pth"]}
    assert fetch(entries["web"])["web.pt"].read_bytes() == WEB
    assert fetch(entries["wheel-a"])["a.pth"].read_bytes() == MEMBERS["made/a.pth"]
    with pytest.raises(DownloadError, match="has no wheel-b/b.pth nor"):
        fetch(entries["wheel-b"])
    server.files[f"/mirror/{WHEEL.file}"] = wheel_of(MEMBERS)
    assert fetch(entries["wheel-b"])["b.pth"].read_bytes() == MEMBERS["made/b.pth"]
    assert kept(cache) == ["a.pth", "b.pth", "web.pt"]


def test_pip_gets_a_wheel_for_another_platform_and_it_is_only_read(entries, cache, tmp_path):
    (tmp_path / "links" / WHEEL.file).write_bytes(wheel_of(MEMBERS))
    assert fetch(entries["wheel-a"])["a.pth"].read_bytes() == MEMBERS["made/a.pth"]
    # the wheel brought the other's file too, and is gone
    assert kept(cache) == ["a.pth", "b.pth"]
    (tmp_path / "links" / WHEEL.file).unlink()
    assert fetch(entries["wheel-b"])["b.pth"].read_bytes() == MEMBERS["made/b.pth"]


def test_pip_may_take_its_folders_away_while_it_is_watched(tmp_path, monkeypatch):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{name}.whl").write_bytes(b"12345")
    scandir = os.scandir

    def scandir_after_pip(path):
        if Path(path).name == "b":
            (Path(path) / "b.whl").unlink()
            Path(path).rmdir()
        return scandir(path)

    monkeypatch.setattr(os, "scandir", scandir_after_pip)
    assert wheel._arrived(tmp_path) == 5


def test_pip_finds_nothing(entries, cache):
    with pytest.raises(DownloadError, match=r"made-up==1\.0: pip can't get its wheel \(No matching distribution"):
        fetch(entries["wheel-a"])
    assert kept(cache) == []


@pytest.mark.parametrize(
    ("members", "words"),
    [({}, r"holds no made/a\.pth"), ({"made/a.pth": b"other weights"}, r"is not the published a\.pth")],
)
def test_another_wheel_than_the_published(entries, cache, tmp_path, members, words):
    (tmp_path / "links" / WHEEL.file).write_bytes(wheel_of(members))
    with pytest.raises(CheckpointError, match=words):
        fetch(entries["wheel-a"])
    assert kept(cache) == []


def test_a_damaged_wheel(entries, cache, tmp_path, monkeypatch):
    (tmp_path / WHEEL.file).write_bytes(wheel_of(MEMBERS)[:2000])
    monkeypatch.setenv("GNNPOT_MIRROR", str(tmp_path))
    with pytest.raises(CheckpointError, match="is damaged"):
        fetch(entries["wheel-a"])
    assert kept(cache) == []


def test_a_cache_that_can_not_be_written(entries, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("GNNPOT_CACHE", str(tmp_path / "file"))
    with pytest.raises(CheckpointError, match="the cache can't be written .*; set GNNPOT_CACHE"):
        fetch(entries["web"])


def test_a_cache_on_a_file_system_without_locks(entries, server, monkeypatch):
    def refuse(self, *arguments, **options):
        raise NotImplementedError("FileSystem does not appear to support flock")

    monkeypatch.setattr("filelock.FileLock.acquire", refuse)
    assert fetch(entries["web"])["web.pt"].read_bytes() == WEB


def test_two_at_once_fetch_once(entries, server):
    found = []
    threads = [threading.Thread(target=lambda: found.append(fetch(entries["web"])["web.pt"])) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4 and all(path.read_bytes() == WEB for path in found)
    assert len(server.asked) == 1


def odd_wheel(kind: str) -> bytes:
    """A wheel whose files have a password, an unknown compression, or expand to a thousand times their size."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in MEMBERS.items():
            archive.writestr(name, bytes(50_000_000) if kind == "bomb" else data)
    data = bytearray(content.getvalue())
    for name in MEMBERS:
        # flags and method of the two headers of a file, which stand at these places before its name
        local, central = data.index(name.encode()), data.rindex(name.encode())
        if kind == "password":
            data[local - 24] |= 1
            data[central - 38] |= 1
        elif kind == "compression":
            data[local - 22] = data[central - 36] = 77
    return bytes(data)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("password", "can't be read.*encrypted"),
        ("compression", "can't be read.*compression"),
        ("bomb", "is not the published"),
    ],
)
def test_odd_wheels_in_a_mirror(entries, tmp_path, monkeypatch, kind, words):
    (tmp_path / WHEEL.file).write_bytes(odd_wheel(kind))
    monkeypatch.setenv("GNNPOT_MIRROR", str(tmp_path))
    tracemalloc.start()
    with pytest.raises(CheckpointError, match=words):
        fetch(entries["wheel-a"])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10_000_000
