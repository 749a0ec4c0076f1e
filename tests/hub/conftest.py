"""Two made-up published potentials in a cache of the test's own, and a web server that can misbehave."""

import functools
import hashlib
import io
import sys
import threading
import zipfile
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch

from gnnpot.data.references import ElementReferences
from gnnpot.hub import importers, registry
from gnnpot.hub.checkpoint import Card
from gnnpot.hub.registry import Published, PublishedFile, Wheel, reference_structures
from gnnpot.models import M3GNet, M3GNetConfig
from gnnpot.potential import Potential

#: of the published files
WEB = bytes(range(256)) * 40
MEMBERS = {"made/a.pth": b"weights of a" * 500, "made/b.pth": b"weights of b" * 500}


def wheel_of(members: dict[str, bytes]) -> bytes:
    """A wheel that pip takes, with code that must never run."""
    info = "made_up-1.0.dist-info"
    files = members | {
        "made/__init__.py": b"raise SystemExit('executed')",
        f"{info}/METADATA": b"Metadata-Version: 2.1\nName: made-up\nVersion: 1.0\nRequires-Dist: not-to-be-had\n",
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: false\nTag: cp39-cp39-win_amd64\n",
        f"{info}/RECORD": b"",
    }
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return data.getvalue()


#: for a machine that is not this one
WHEEL = Wheel("made-up==1.0", "made_up-1.0-cp39-cp39-win_amd64.whl", len(wheel_of(MEMBERS)), "3.9", "win_amd64")


def convert(name, files, fidelity=None):
    """A tiny potential; every fidelity has energies of its own."""
    assert all(path.is_file() for path in files.values())
    torch.manual_seed(0)
    elements = ("Na", "Cl", "Sr", "Ti", "O")
    model = M3GNet(M3GNetConfig(elements=elements, units=4, blocks=1, max_n=2, max_l=2))
    offset = -1.0 if fidelity == "HIGH" else 0.0
    references = ElementReferences.from_mapping({"energies": dict.fromkeys(elements, offset)})
    return Potential(model, references).eval(), Card(licence="MIT", functional=fidelity or "PBE")


@functools.cache
def energies(fidelity=None):
    potential = convert("", {}, fidelity)[0].double()
    return tuple(float(potential(potential.graph(s)).energy) for s in reference_structures())


def source(file, data, **where):
    return PublishedFile(file, hashlib.sha256(data).hexdigest(), len(data), **where)


@dataclass
class Server:
    """What a server sends, and what it was asked."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    ranges: bool = True
    #: bytes after which each of the coming connections is cut
    cuts: list[int] = field(default_factory=list)
    asked: list[tuple[str, str | None]] = field(default_factory=list)  #: (path, Range)


@pytest.fixture
def server():
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            wanted = self.headers.get("Range")
            state.asked.append((self.path, wanted))
            data = state.files.get(self.path)
            if data is None:
                return self.send_error(404)
            first = int(wanted.removeprefix("bytes=").split("-")[0]) if wanted and state.ranges else 0
            if first >= len(data):
                return self.send_error(416)
            self.send_response(206 if first else 200)
            if first:
                self.send_header("Content-Range", f"bytes {first}-{len(data) - 1}/{len(data)}")
            self.send_header("Content-Length", str(len(data) - first))
            self.end_headers()
            last = first + state.cuts.pop(0) if state.cuts else len(data)
            self.wfile.write(data[first:last])
            return None

        def log_message(self, *_):
            pass

    web = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{web.server_port}"
    thread = threading.Thread(target=web.serve_forever, args=(0.02,))
    thread.start()
    yield state
    web.shutdown()
    thread.join()
    web.server_close()


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    """An empty cache; no mirror, and pip sees no index and no configuration."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("GNNPOT_CACHE", str(folder))
    monkeypatch.delenv("GNNPOT_MIRROR", raising=False)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "links"))
    (tmp_path / "links").mkdir()
    return folder


@pytest.fixture
def shelf(tmp_path, monkeypatch) -> Path:
    """Where the test's own checkpoints that come with gnnpot go; those of this checkout are out of sight."""
    folder = tmp_path / "shelf"
    folder.mkdir()
    monkeypatch.setattr(sys.modules["gnnpot.hub.shipped"], "FOLDERS", (folder,))
    return folder


@pytest.fixture
def entries(cache, server, shelf, monkeypatch) -> dict[str, Published]:
    """The registry of the test: `web` from a URL (two fidelities), `wheel-a` and `wheel-b` from one wheel."""
    server.files["/web.pt"] = WEB
    common = {
        "family": "made-up", "elements": 5, "licence": "MIT", "energy_reference": "raw PBE",
        "reference_from": "made-up 1.0",
    }  # fmt: skip
    web = Published(
        name="web", sources=(source("web.pt", WEB, url=f"{server.url}/web.pt"),), fidelities=("LOW", "HIGH"),
        reference_energies={"web@LOW": energies("LOW"), "web@HIGH": energies("HIGH")}, **common,
    )  # fmt: skip
    made = [web]
    for name, (member, data) in zip(("wheel-a", "wheel-b"), MEMBERS.items(), strict=True):
        sources = (source(Path(member).name, data, wheel=WHEEL, member=member),)
        made.append(Published(name=name, sources=sources, reference_energies={name: energies()}, **common))
    table = replace(registry._table(), potentials=tuple(made))
    monkeypatch.setattr(registry, "_table", lambda: table)
    monkeypatch.setitem(importers.CONVERTERS, "made-up", convert)
    return {entry.name: entry for entry in made}
