"""The server through the framework's client: building, uploads, limits, jobs, coming back, two sessions."""

import io
import time

import numpy as np
import pytest
from ase.build import bulk
from ase.io import read, write

from gnnpot.studio.jobs import MAX_ROWS, Job
from gnnpot.studio.process import Pool, WorkerError
from gnnpot.studio.sessions import Session, Sessions
from gnnpot.studio.worker.structures import to_payload
from tests.data.cif import cif_text
from tests.studio.conftest import ORIGIN, SOCKETS, PageOf, serving


def _file(atoms, format):
    stream = io.BytesIO() if format == "cif" else io.StringIO()
    write(stream, atoms, format=format)
    value = stream.getvalue()
    return value if isinstance(value, bytes) else value.encode()


def test_sentences_in_both_languages_become_structures(client):
    with PageOf(client) as page:
        assert page.first["entries"] == [] and page.first["jobs"] == []
        english = page.build("Pt(111) slab, 3 layers, 2x2, bottom layer fixed")
        japanese = page.build("Pt(111)表面、3層、2x2、下1層を固定", "ja")
        for entry in (english, japanese):
            assert entry["structure"]["numbers"] == [78] * 12 and len(entry["structure"]["fixed"]) == 4
            assert len(entry["chips"]["ja"]) == len(entry["recipe"]["steps"]) == 3
        changed = page.ask("build", text="now 20 Å vacuum", entry=english["number"], mode="auto")
        assert page.ask("show", entry=changed["entry"])["full"]["recipe"]["steps"][1]["vacuum"] == 20
        # a chip is edited: the whole recipe comes back
        recipe = english["recipe"]
        recipe["steps"][1]["layers"] = 4
        full = page.ask("show", entry=page.ask("execute", recipe=recipe)["entry"])["full"]
        assert len(full["structure"]["numbers"]) == 16
        recipe["steps"][1]["layers"] = -4
        assert "problem" in page.ask("execute", recipe=recipe)


def test_what_is_not_understood_is_marked_and_nothing_is_built(client):
    with PageOf(client) as page:
        text = "Pt(111) slab with some florble"
        answer = page.ask("build", text=text, entry=None)
        (span,) = answer["spans"]
        assert text[span["start"] : span["end"]] == "florble" and "florble" in answer["problem"]
        assert "原子" in page.ask("build", "ja", text="Cu 20x20x20", entry=None)["problem"]
        wrong = {"do": 5}, {"do": "nothing"}, {"do": "show"}, {"do": "show", "entry": "x"}, [], "x", {"do": "start"}
        for message in wrong:
            page.channel.send_json(message)
            assert "problem" in page.channel.receive_json()
        page.channel.send_text("{")
        assert "problem" in page.channel.receive_json()


@pytest.mark.parametrize("format", ["cif", "vasp", "extxyz"])
def test_upload_and_download(client, format):
    atoms = bulk("NaCl", "rocksalt", a=5.64, cubic=True)
    with PageOf(client) as page:
        answer = page.upload(f"../../my crystal.{format}", _file(atoms, format))
        assert answer.status_code == 200, answer.text
        number = answer.json()["entry"]
        found = client.get(f"/sessions/{page.name}/structure/{number}.{format}")
        again = read(io.BytesIO(found.content) if format == "cif" else io.StringIO(found.text), format=format)
        assert again.get_chemical_formula() == "Cl4Na4" and np.allclose(again.cell.lengths(), 5.64, atol=1e-4)
        assert found.headers["content-disposition"].startswith("attachment")
        assert client.get(f"/sessions/{page.name}/structure/{number}.exe").status_code == 404
        assert client.get(f"/sessions/{page.name}/structure/77.cif").status_code == 404


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("rubbish.cif", bytes(range(256)) * 50),
        ("rubbish.extxyz", b"\x00\xff" * 500),
        ("POSCAR", b"not a structure\n" * 20),
        ("empty.cif", b""),
        ("partial.cif", cif_text(4, [("Cu", (0, 0, 0), 0.5)]).encode()),
        ("page.html", b"<script>alert(1)</script>"),
        ("x.pckl", b"cos\nsystem\n(S'true'\ntR."),
        ("huge.xyz", b"999999999\n\nH 0 0 0\n"),
        ("same place.xyz", b'2\nLattice="4 0 0 0 4 0 0 0 4"\nH 0 0 0\nH 0 0 0\n'),
        ("many.xyz", b"600\n\n" + b"".join(b"H %d 0 0\n" % (2 * k) for k in range(600))),
    ],
)
def test_an_upload_that_is_no_structure_gives_a_sentence(client, name, data):
    with PageOf(client) as page:
        answer = page.upload(name, data)
        assert answer.status_code == 422
        assert len(answer.json()["problem"]) > 10 and "/tmp" not in answer.text
        assert page.ask("show", entry=1)["problem"]


def test_an_upload_that_is_too_large_is_not_read(client):
    with PageOf(client) as page:
        answer = page.upload("x.cif", b" " * 10_000_001)
        assert answer.status_code == 413 and "10 MB" in answer.json()["problem"]
    assert client.post("/sessions/unknown/upload?name=x.cif", content=b"x", headers=ORIGIN).status_code == 404
    with client.websocket_connect(f"{SOCKETS}/sessions/unknown/socket", headers=ORIGIN) as socket:
        assert socket.receive()["code"] == 4404


def test_the_life_of_a_job(client):
    with PageOf(client) as page:
        crystal = page.build("Cu 2x1x1")
        crystal["recipe"]["steps"].append({"do": "rattle", "width": 0.1})
        entry = page.ask("execute", recipe=crystal["recipe"])["entry"]
        start = {"entry": entry, "kind": "relax", "model": "gnnpot-1", "options": {"fmax": 0.02}}
        assert "problem" in page.ask("start", **{**start, "model": "../../etc"})
        assert "problem" in page.ask("start", **{**start, "options": {"fmax": -1}})
        job = page.ask("start", **start)["job"]
        state = page.ended(job)
        assert state["state"] == "done", state["problem"]
        rows = [row for m in page.events if m["event"] == "progress" for row in m["rows"]]
        assert rows[-1][1] < rows[0][1] and rows[-1][2] <= 0.02
        made = page.ask("show", entry=state["made"])["full"]
        assert made["made_by"] == "relax" and made["recipe"] is not None
        frames = page.ask("frames", job=job)
        assert frames["count"] == len(rows)
        used = page.ask("use_frame", job=job, index=0)["entry"]
        assert page.ask("show", entry=used)["full"]["structure"]["formula"] == made["structure"]["formula"]
        found = client.get(f"/sessions/{page.name}/job/{job}/trajectory.extxyz")
        assert len(read(io.StringIO(found.text), ":", format="extxyz")) == len(rows)
        # another session knows nothing of it
        with PageOf(client) as other:
            assert other.first["entries"] == [] and other.first["jobs"] == []
            assert "problem" in other.ask("show", entry=entry) and "problem" in other.ask("frames", job=job)
        assert client.get(f"/sessions/{other.name}/job/{job}/trajectory.extxyz").status_code == 404


def test_stop_come_back_resume_and_wait(client):
    with PageOf(client) as page:
        entry = page.build("Cu 2x1x1")["number"]
        options = {"steps": 40_000, "interval": 5, "temperature": 500}
        job = page.ask("start", entry=entry, kind="md", model="gnnpot-1", options=options)["job"]
        page.until(lambda m: m["event"] == "progress")
    # the connection has broken in mid-job
    with PageOf(client, page.name) as again:
        (back,) = again.first["jobs"]
        assert back["state"] == "running" and back["rows"] and back["frame"]["positions"]
        waiting = again.ask("start", entry=entry, kind="eos", model="gnnpot-1", options={"points": 5})["job"]
        with PageOf(client, page.name) as second:
            assert [j["state"] for j in second.first["jobs"]] == ["running", "waiting"]
            steps = second.until(lambda m: m["event"] == "progress" and m["rows"][-1][0] > 30)
            assert steps["job"]["number"] == job
        again.ask("stop", job=job)
        stopped = again.ended(job)
        assert stopped["state"] == "stopped" and not stopped["problem"]
        eos = again.ended(waiting)
        assert eos["state"] == "done" and 90 < eos["result"]["values"]["bulk_modulus"] < 200
        rows = next(m for m in reversed(again.events) if m["event"] == "progress" and m["job"]["number"] == job)["rows"]
        again.events.clear()
        again.ask("resume", job=job)
        resumed = again.until(lambda m: m["event"] == "progress")["rows"]
        assert max(1, rows[-1][0] - 10) <= resumed[0][0] <= rows[-1][0] + 1
        again.ask("remove", job=job)
        assert client.get(f"/sessions/{page.name}/job/{job}/trajectory.extxyz").status_code == 404
        assert "problem" in again.ask("resume", job=job)
        again.ask("clear")
        assert again.until(lambda m: m["event"] == "gone")
    assert page.name not in [s["name"] for s in client.get("/sessions").json()]


def test_limits_of_time_end_a_process(tmp_path):
    with serving(tmp_path, build_seconds=0.001, max_sessions=2) as client, PageOf(client) as page:
        assert "took too long" in page.ask("build", text="Cu", entry=None)["problem"]
        assert client.post("/sessions", headers=ORIGIN).status_code == 200


def test_a_process_that_takes_too_much_memory_is_ended():
    import asyncio

    async def run():
        pool = Pool(0.001)
        try:
            worker = await pool.take("builder")
            with pytest.raises(WorkerError) as ended:
                await worker.receive()
            assert ended.value.reason == "too_much_memory"
        finally:
            await pool.close()

    asyncio.run(run())


def _job(folder, **more):
    structure = to_payload(bulk("Cu", cubic=True))
    return Job(1, "md", "gnnpot-1", "gnnpot-1", 1, "Cu", {}, structure, folder, **more)


def test_a_kept_folder_is_found_again(tmp_path):
    session = Sessions(tmp_path, 5).create()
    session.add("copper", {"structure": to_payload(bulk("Cu", cubic=True))}, text="Cu")
    session.jobs[1] = _job(session.job_folder(1), state="running", started=time.time())
    session.jobs[1].add_rows([[0, 1.0]])
    session.jobs[1].save()
    again = Sessions(tmp_path, 5)
    found = again.all[session.name]
    assert found.entries[1].title == "copper" and found.current == 1
    assert found.jobs[1].state == "stopped" and found.jobs[1].rows == [[0, 1.0]]
    assert again.recent()[0]["title"] == "copper"
    again.forget(found)
    assert not (tmp_path / session.name).exists()


def test_sessions_that_hold_nothing_make_place(tmp_path):
    sessions = Sessions(tmp_path, 2)
    first = sessions.create()
    sessions.create()
    third = sessions.create()
    assert third is not None and len(sessions.all) == 2 and first.name not in sessions.all
    for session in sessions.all.values():
        session.add("x", {"structure": to_payload(bulk("Cu"))})
    assert sessions.create() is None


def test_numbers_of_removed_structures_are_not_given_again(tmp_path):
    """Otherwise, the result of a job would get the recipe of a structure that the job did not start from."""
    session = Session("s", tmp_path / "s")
    for title in "ab":
        session.add(title, {"structure": to_payload(bulk("Cu")), "recipe": {"title": title}})
    session.jobs[1] = _job(tmp_path / "s" / "jobs" / "1")
    session.jobs[1].entry = 2
    session.jobs[1].save()
    session.remove(2)
    assert session.add("c", {"structure": to_payload(bulk("Cu")), "recipe": {"title": "c"}}).number == 3
    session.remove(3)
    again = Session("s", tmp_path / "s")
    again.load()
    assert again.recipe_of(2) == {} and again.add("d", {"structure": to_payload(bulk("Cu"))}).number == 3


def test_a_damaged_file_of_a_session_is_left_out(tmp_path, caplog):
    session = Session("s", tmp_path / "s")
    for title in "ab":
        session.add(title, {"structure": to_payload(bulk("Cu"))})
    (tmp_path / "s" / "entries" / "2.json").write_text('{"number": 2')
    (tmp_path / "s" / "entries" / "notes.json").write_text("{}")
    again = Sessions(tmp_path, limit=2).all["s"]
    assert list(again.entries) == [1] and again.current == 1
    assert "2.json: can't be read" in caplog.text and "notes.json: can't be read" in caplog.text


def test_rows_are_thinned_evenly(tmp_path):
    job = _job(tmp_path)
    for step in range(10 * MAX_ROWS):
        job.add_rows([[step, 0.0]])
    steps = [row[0] for row in job.rows]
    assert len(steps) <= MAX_ROWS and steps[0] == 0 and len(set(np.diff(steps))) == 1
