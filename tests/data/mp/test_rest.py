"""The interface: a small stand-in on this machine, asked through mp-api's own client."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlparse

import pytest

from gnnpot.data.mp import Curation, DeltaSource, TaskInterface, TrajectoryTable, curate, query_tasks
from gnnpot.data.mp.filters import Deprecated, FarFromFinal, Labels, TaskJumps
from gnnpot.data.mp.rest import canonical
from gnnpot.errors import DataError

from .conftest import identifier, row, write_table

KEY = "k" * 32
#: task numbers: Al (100, 101), Cu (102, 103), Mg (104)
MATERIALS = [
    {"material_id": "mp-134", "task_ids": ["mp-100", "mp-101"], "deprecated": False, "deprecated_tasks": []},
    {"material_id": "mp-30", "task_ids": ["mp-102", "mp-103", "mp-7"], "deprecated": False,
     "deprecated_tasks": ["mp-103"]},
    {"material_id": "mp-153", "task_ids": ["mp-104"], "deprecated": True, "deprecated_tasks": []},
]  # fmt: skip


class StandIn(ThreadingHTTPServer):
    """Answers like the interface; remembers what it was asked for, and fails from request `broken` on."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[tuple[str, list[str]]] = []
        self.structures: dict[int, dict] = {}
        self.broken: int | None = None

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/"


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *_) -> None:
        pass

    def answer(self, content: dict, status: int = 200) -> None:
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self) -> None:
        url = urlparse(self.path)
        if url.path.startswith("/heartbeat"):
            beat = {"db_version": "2026.1.1", "version": "0.87.3", "access_controlled_batch_ids": []}
            return self.answer(beat)
        if self.headers.get("x-api-key") != KEY:
            return self.answer({"detail": "Invalid authentication credentials"}, 401)
        tasks = parse_qs(url.query)["task_ids"][0].split(",")
        self.server.asked.append((url.path, tasks))
        if self.server.broken is not None and len(self.server.asked) >= self.server.broken:
            return self.answer({"detail": "out of order"}, 500)
        numbers = {canonical(t) for t in tasks}
        if url.path.startswith("/materials/core"):
            data = [m for m in MATERIALS if numbers & {canonical(t) for t in m["task_ids"]}]
        else:
            data = [{"task_id": f"mp-{n}", "structure": s} for n, s in self.server.structures.items() if n in numbers]
        return self.answer({"data": data, "meta": {"total_doc": len(data)}})


@pytest.fixture
def server():
    made = StandIn()
    thread = threading.Thread(target=made.serve_forever, daemon=True)
    thread.start()
    yield made
    made.shutdown()
    made.server_close()


@pytest.fixture
def opened(trajectories, tmp_path) -> TrajectoryTable:
    """Trajectories 100 to 105 of the table, all GGA; nobody knows 105."""
    rows = [row(frames, 100 + k) for k, frames in enumerate(trajectories[:6])]
    return TrajectoryTable.open(write_table(tmp_path / "table", rows))


def quiet(*_) -> None:
    pass


def test_canonical_names():
    assert canonical("mp-149") == canonical("mp-aaaaaaft") == canonical("aaaaaaft") == 149
    assert canonical(identifier(123456)) == canonical("mp-123456") == 123456


def test_materials_deprecation_and_final_energies(server, opened, tmp_path, trajectories):
    tasks = query_tasks(opened, Curation(), TaskInterface(KEY, server.endpoint), tmp_path / "f", quiet)
    of = {number: tasks[identifier(number), "GGA"] for number in range(100, 106)}
    assert [of[n].material_id for n in range(100, 106)] == ["mp-134", "mp-134", "mp-30", "mp-30", "mp-153", ""]
    assert [of[n].deprecated for n in range(100, 106)] == [False, False, False, True, True, False]
    last = {100 + k: f[-1].energy / len(f[-1]) for k, f in enumerate(trajectories[:6])}
    assert of[100].final_energy == of[101].final_energy == min(last[100], last[101])
    assert of[102].final_energy == of[103].final_energy == last[102]
    assert of[105].final_energy == last[105]
    store = curate(DeltaSource(opened, tasks), Curation(filters=(Labels(), Deprecated())), tmp_path / "s")
    assert {f.provenance.material_id for f in store if len(f.provenance.material_id) > 3} == {"mp-134", "mp-30"}
    assert store.manifest.filters[Deprecated().reason] == len(trajectories[3]) + len(trajectories[4])
    limit = abs(last[100] - last[101]) / 2
    store = curate(DeltaSource(opened, tasks), Curation(filters=(TaskJumps(limit=limit),)), tmp_path / "t")
    assert store.manifest.filters[TaskJumps(limit=limit).reason] >= len(trajectories[0 if last[100] > last[101] else 1])
    store = curate(DeltaSource(opened, tasks), Curation(), tmp_path / "u")
    assert {"deprecated", "task-jumps"} < {f["filter"] for f in store.manifest.curation["options"]["filters"]}
    assert FarFromFinal().reason in store.manifest.filters


def test_magnetic_moments_of_the_last_frames(server, opened, tmp_path, trajectories):
    from pymatgen.core import Structure

    last = trajectories[2][-1]
    moments = [0.25 * k for k in range(len(last))]
    made = Structure(last.cell, last.symbols, last.positions, coords_are_cartesian=True)
    made.add_site_property("magmom", moments)
    server.structures[102] = made.as_dict()
    interface = TaskInterface(KEY, server.endpoint, magmoms=True)
    tasks = query_tasks(opened, Curation(), interface, tmp_path / "f", quiet)
    store = curate(DeltaSource(opened, tasks), Curation(filters=(Labels(),)), tmp_path / "s")
    found = [f for f in store if f.magmoms is not None]
    assert len(found) == 1 and found[0].magmoms.tolist() == moments and found[0].energy == last.energy


def test_asking_is_resumed_where_it_ended(server, opened, tmp_path, monkeypatch):
    monkeypatch.setattr("gnnpot.data.mp.rest.PAGE", 2)
    server.broken = 3
    interface = TaskInterface(KEY, server.endpoint)
    with pytest.raises(DataError, match="did not answer .*run the same command again"):
        query_tasks(opened, Curation(), interface, tmp_path / "f", quiet)
    before, server.broken = len(server.asked), None
    shown = []
    tasks = query_tasks(opened, Curation(), interface, tmp_path / "f", lambda *words: shown.append(words))
    assert len(server.asked) == before + 1 and {canonical(t) for t in server.asked[-1][1]} == {104, 105}
    assert len(tasks) == 6 and shown[-1][0] == pytest.approx(1)
    again = query_tasks(opened, Curation(), interface, tmp_path / "f", quiet)
    assert again == tasks and len(server.asked) == before + 1


def test_a_wrong_key(server, opened, tmp_path):
    with pytest.raises(DataError, match="401 .*Invalid authentication.* check the key"):
        query_tasks(opened, Curation(), TaskInterface("x" * 32, server.endpoint), tmp_path / "f", quiet)
    with pytest.raises(DataError, match="32 characters.*check the key"):
        query_tasks(opened, Curation(), TaskInterface("x", server.endpoint), tmp_path / "g", quiet)


def test_an_address_that_nobody_answers(opened, tmp_path):
    with pytest.raises(DataError, match="did not answer"):
        query_tasks(opened, Curation(), TaskInterface(KEY, "http://127.0.0.1:9/"), tmp_path / "f", quiet)
