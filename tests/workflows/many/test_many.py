"""Many structures: what comes out is what single calls give, failures are rows, and runs resume."""

import functools
import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT as Emt
from ase.io import read, write
from typer.testing import CliRunner

from gnnpot.cli import app
from gnnpot.cli.common import open_calculator
from gnnpot.data import Frame, Provenance, write_store
from gnnpot.engines.relax import RelaxConfig, relax
from gnnpot.errors import ConfigError, DataError
from gnnpot.properties import elastic
from gnnpot.properties.elastic import ElasticConfig
from gnnpot.runs.results_log import ResultsLog
from gnnpot.workflows.many import Model, Predicting, PropertyOf, Relaxing, Structures, open_structures, run_many
from gnnpot.workflows.many.run import _batches
from gnnpot.workflows.many.tables import read_many, write_many
from gnnpot.workflows.many.worker import _pack, failure
from tests.workflows.many.conftest import EMT, OPTIONS, digests, gnnpot, pool

MODEL = Model(functools.partial(open_calculator, EMT), EMT)
CONFIG = RelaxConfig(fmax=0.2, cell="none")


def command(*words) -> tuple[int, dict]:
    found = CliRunner().invoke(app, [*map(str, words), "-q", "--json"])
    if found.exception is not None and not isinstance(found.exception, SystemExit):
        raise found.exception
    return found.exit_code, json.loads(found.stdout)


def test_each_structure_is_relaxed_as_by_itself(file, tmp_path):
    said = []
    found = run_many(
        open_structures(file), Relaxing(CONFIG), MODEL, tmp_path / "relaxed",
        progress=lambda what, done, total, note="": said.append((what, done, total, note)),
    )  # fmt: skip
    assert (found.structures, found.failed, found.not_converged) == (10, 1, 0)
    assert said[0] == ("relaxations", 0, 10, "") and said[-1] == ("relaxations", 10, 10, "1 failed")
    rows = pq.read_table(found.table).to_pylist()
    assert [row["structure"] for row in rows] == list(range(10)) and rows[2]["info_name"] == "crystal 2"
    assert "atoms 0 and 1 stand 0.000 Å apart" in rows[6]["error"] and rows[6]["energy_eV"] is None
    assert [row["error"] for row in rows].count(None) == 9
    single = relax(read(file, index=3), Emt(), CONFIG)
    assert (rows[3]["energy_eV"], rows[3]["steps"], rows[3]["volume_A3"]) == (
        single.energy, single.steps, single.volume,
    )  # fmt: skip
    structures = read(found.folder / "structures.extxyz", index=":")
    assert [atoms.info["structure"] for atoms in structures] == [0, 1, 2, 3, 4, 5, 7, 8, 9]
    assert np.allclose(structures[3].positions, single.atoms.positions, atol=1e-7)
    assert structures[3].get_potential_energy() == pytest.approx(single.energy, abs=1e-7)
    (failed,) = read(found.folder / "failed.extxyz", index=":")
    assert failed.info["structure"] == 6 and str(failed.symbols) == "Pt4"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["pool.extxyz", "relaxed"]


def test_a_file_may_hold_what_can_t_be_computed(tmp_path):
    structures = [bulk("Cu"), bulk("Cu"), bulk("Al", cubic=True)]
    structures[1].info["occupancy"] = {"0": {"Cu": 0.5, "Au": 0.5}}
    structures[2].positions[0, 0] = np.nan
    found = run_many(Structures(structures), Predicting(), MODEL, tmp_path / "out")
    rows = pq.read_table(found.table).to_pylist()
    assert rows[0]["error"] is None and "occupied by 0.5 Cu and 0.5 Au" in rows[1]["error"]
    assert "positions" in rows[2]["error"]
    with pytest.raises(DataError, match="no structures"):
        run_many(Structures([]), Predicting(), MODEL, tmp_path / "none")


def test_a_potential_predicts_batches_as_it_predicts_one_by_one(tmp_path):
    torch = pytest.importorskip("torch")
    from gnnpot.data.references import ElementReferences
    from gnnpot.engines.calculator import Calculator
    from gnnpot.models.m3gnet import M3GNet, M3GNetConfig
    from gnnpot.potential import Potential

    torch.manual_seed(0)
    elements = ("Cu", "Al", "Au", "Ni")  # not platinum
    model = M3GNet(M3GNetConfig(elements=elements, units=8, blocks=1, max_n=2, max_l=2, cutoff=4.0))
    potential = Potential(model, ElementReferences.from_mapping({"energies": dict.fromkeys(elements, -3.0)})).double()
    mended = pool()
    mended[6] = bulk("Pt", cubic=True)
    tiny = Model(functools.partial(Calculator, potential), "tiny")
    found = run_many(Structures(mended), Predicting(max_atoms=12), tiny, tmp_path / "out")
    rows = pq.read_table(found.table).to_pylist()
    # platinum fails alone, not its batch
    assert [row["error"] is None for row in rows] == [k != 6 for k in range(10)] and "Pt" in rows[6]["error"]
    for row, atoms in zip(rows, mended, strict=True):
        if row["error"] is None:
            atoms.calc = Calculator(potential)
            assert row["energy_eV"] == pytest.approx(atoms.get_potential_energy(), abs=1e-9)
            assert row["stress_eV_per_A3"] == pytest.approx(atoms.get_stress(), abs=1e-9)
    assert "stress" not in read(found.folder / "structures.extxyz", index=0).calc.results or rows[0]["stress_eV_per_A3"]


def test_a_property_of_each_structure(tmp_path):
    crystals = [bulk("Cu"), bulk("Si"), bulk("Al")]
    found = run_many(Structures(crystals), PropertyOf("elastic", {"fmax": 0.02}), MODEL, tmp_path / "elastic")
    rows = pq.read_table(found.table).to_pylist()
    single = elastic.calc(bulk("Al"), Emt(), ElasticConfig(fmax=0.02)).to_json()
    assert json.loads(rows[2]["result_json"]) == json.loads(json.dumps(single)) and rows[1]["result_json"] is None
    scalars = {name: value for name, value in single.items() if isinstance(value, float)}
    assert scalars and all(rows[2][name] == value for name, value in scalars.items())
    assert len(read(found.folder / "structures.extxyz", index=":")) == 2
    with pytest.raises(ConfigError, match="rdf: is a property of a whole file"):
        PropertyOf("rdf")
    with pytest.raises(ConfigError, match="did you mean 'fmax'"):
        PropertyOf("elastic", {"fmx": 1})


def test_structures_of_a_store_are_known_by_where_they_come_from(tmp_path):
    frames = [Frame.from_atoms(bulk(s), Provenance("mine", str(k), f"mat-{s}")) for k, s in enumerate(("Cu", "Al"))]
    write_store(frames, tmp_path / "a.store")
    found = run_many(open_structures(tmp_path / "a.store"), Predicting(stress=False), MODEL, tmp_path / "out")
    rows = pq.read_table(found.table).to_pylist()
    assert [(row["info_source"], row["info_source_id"], row["info_material_id"]) for row in rows] == [
        ("mine", "0", "mat-Cu"), ("mine", "1", "mat-Al"),
    ]  # fmt: skip
    assert rows[0]["stress_eV_per_A3"] is None and not (found.folder / "failed.extxyz").exists()


def test_a_stopped_run_resumes_and_other_options_are_refused(file, tmp_path):
    whole = run_many(open_structures(file), Relaxing(CONFIG), MODEL, tmp_path / "whole")

    def stop(what, done, total, note=""):
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_many(open_structures(file), Relaxing(CONFIG), MODEL, tmp_path / "out", progress=stop)
    assert not (tmp_path / "out").exists()
    other = Relaxing(RelaxConfig(fmax=0.5, cell="none"))
    with pytest.raises(ConfigError, match=r"other options or inputs \(options.fmax: was 0.2, is now 0.5"):
        run_many(open_structures(file), other, MODEL, tmp_path / "out")
    found = run_many(open_structures(file), Relaxing(CONFIG), MODEL, tmp_path / "out")
    assert found.resumed_from == 4 and digests(found.folder) == digests(whole.folder)
    assert not (tmp_path / "out.calculations").exists()
    again = run_many(open_structures(file), Relaxing(CONFIG), MODEL, tmp_path / "out")
    assert (again.resumed_from, again.failed, again.errors) == (10, 1, found.errors)
    with pytest.raises(ConfigError, match=r"options.fmax.*--fresh"):
        run_many(open_structures(file), other, MODEL, tmp_path / "out")
    assert run_many(open_structures(file), other, MODEL, tmp_path / "out", fresh=True).resumed_from == 0
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").touch()
    with pytest.raises(DataError, match="is not a folder of results"):
        run_many(open_structures(file), other, MODEL, tmp_path / "mine", fresh=True)


def test_a_column_has_one_type(tmp_path):
    values = [(1, "a", True, [1]), (2.5, "b", False, [2.0]), (None, 3, None, None)]
    records = [
        _pack({"structure": k, "error": None}, {"number": a, "mixed": b, "truth": c, "list": d}, bulk("Cu"))
        for k, (a, b, c, d) in enumerate(values)
    ]
    found = write_many(lambda: iter([*records, failure((3, bulk("Al")), "no")]), tmp_path / "a", {"x": 1}, 2, False)
    table = pq.read_table(found.table)
    assert table["number"].to_pylist() == [1.0, 2.5, None, None] and table["mixed"].to_pylist() == ["a", "b", "3", None]
    assert table["truth"].to_pylist()[:2] == [True, False] and table["list"].to_pylist()[1] == [2.0]
    again = read_many(found.folder)
    assert (again.structures, again.failed, again.errors, again.identity) == (4, 1, {"no": 1}, {"x": 1})


def test_batches_are_the_same_wherever_a_run_stopped(tmp_path):
    structures = Structures(pool())
    with ResultsLog(tmp_path / "log", {}) as results:
        whole = list(_batches(structures, 12, results))
        assert [len(batch) for batch in whole] == [3, 3, 3, 1]
        for number in (0, 1, 2, 3):
            results.add(number, b"")
        left = list(_batches(structures, 12, results))
    assert [[number for number, _ in batch] for batch in left] == [[3, 4, 5], [6, 7, 8], [9]]


def test_a_model_that_is_another_one_in_a_worker_is_refused(tmp_path):
    wrong = Model(MODEL.make, EMT, name="something else")
    with pytest.raises(ConfigError, match=r"a worker has .*EMT \(ase .*\) in place of something else"):
        run_many(Structures([bulk("Cu")]), Predicting(), wrong, tmp_path / "out")


def test_what_a_user_types(file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, found = command("relax", "pool.extxyz", "--many", "-m", EMT, *OPTIONS, "-p", "2")
    assert code == 3 and (found["structures"], found["failed"], found["output"]) == (10, 1, "pool-relaxed")
    one = run_many(open_structures(file), Relaxing(CONFIG), MODEL, tmp_path / "one")
    assert digests(one.folder) == digests(tmp_path / "pool-relaxed")
    write("cu.extxyz", [bulk("Cu"), bulk("Al")])
    code, found = command("predict", "cu.extxyz", "--many", "-m", EMT, "-o", "predicted", "--no-stress")
    assert code == 0 and found["failed"] == 0
    for words, problem in [
        (("relax", "cu.extxyz", "--many", "--index", "0"), "--index: is of one structure"),
        (("relax", "cu.extxyz", "--many", "--trajectory", "a.traj"), "--trajectory: is of one structure"),
        (("relax", "cu.extxyz", "-p", "2"), "--processes: is of many structures; give --many"),
        (("predict", "cu.extxyz", "-o", "a.extxyz", "--executor", "mpi"), "--executor: is of many structures"),
        (("property", "elastic", "cu.extxyz", "--executor", "mpi"), "--executor: is of many structures"),
        (("relax", "cu.extxyz", "--many", "--executor", "slurm"), "executor: 'slurm' is not known"),
        (("relax", "cu.extxyz", "--many", "-o", "cu.extxyz"), "can't be both an input and the output"),
    ]:
        with pytest.raises((ConfigError, DataError), match=problem):
            command(*words, "-m", EMT)


def test_killed_at_any_time_the_same_command_continues(file, tmp_path):
    words = ("relax", file, "--many", *OPTIONS, "-p", "1", "-q", "-m")
    whole = run_many(open_structures(file), Relaxing(CONFIG), MODEL, tmp_path / "whole")
    # the process that hands out the structures
    flag = tmp_path / "flag"
    flag.touch()
    parent = (*words, "tests.workflows.many.calculators:KillsParent", "-o", tmp_path / "parent")
    assert gnnpot(*parent, kill=flag).returncode == -9 and not (tmp_path / "parent").exists()
    second = gnnpot(*parent, "--json", kill=flag)
    assert second.returncode == 3 and json.loads(second.stdout)["resumed_from"] >= 2, second.stderr
    assert digests(tmp_path / "parent") == digests(whole.folder)
    # a worker, each time that it computes gold
    third = gnnpot(*words, "tests.workflows.many.calculators:Deadly", "-o", tmp_path / "deadly")
    assert third.returncode == 3, third.stderr
    rows = pq.read_table(tmp_path / "deadly" / "table.parquet").to_pylist()
    assert [row["structure"] for row in rows if row["error"] is not None] == [3, 6]
    assert "its process died, exit status -9" in rows[3]["error"]
