"""What a job computes, with EMT in this process: numbers, stop and resume, marks, options."""

import json
import threading

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.calculator import Calculator
from ase.calculators.emt import EMT
from ase.io import read

from gnnpot.errors import ConfigError, SimulationError
from gnnpot.studio.options import check_options
from gnnpot.studio.worker.running import Report, Stopped
from gnnpot.studio.worker.structures import decode, to_atoms, to_payload
from gnnpot.studio.worker.tasks import TASKS, TRAJECTORY


class NoMinimum(Calculator):
    """An energy that falls with the volume for ever."""

    implemented_properties = ["energy"]

    def calculate(self, atoms=None, properties=None, system_changes=()):
        super().calculate(atoms, properties, system_changes)
        self.results = {"energy": -0.1 * atoms.get_volume() ** 2}


class Run:
    """A task with a list of its messages; it stops itself after `stop_after` messages of progress."""

    def __init__(self, stop_after=None):
        self.messages, self.stop, self.stop_after = [], threading.Event(), stop_after
        self.report = Report(self.send, self.stop, EMT())

    def send(self, message):
        json.dumps(message, allow_nan=False)
        self.messages.append(message)
        if self.stop_after is not None and len(self.rows()) >= self.stop_after:
            self.stop.set()

    def rows(self):
        return [row for m in self.messages if m["event"] == "progress" for row in m["rows"]]

    def __call__(self, kind, atoms, folder, resume=False, **options):
        return TASKS[kind](atoms, self.report, folder, check_options(kind, options, "en"), resume)


@pytest.fixture
def copper():
    atoms = bulk("Cu", cubic=True) * (2, 1, 1)
    atoms.rattle(0.15, seed=1)
    return atoms


def test_relaxation_lowers_the_energy_and_the_force(copper, tmp_path):
    run = Run()
    found = run("relax", copper, tmp_path, fmax=0.02)
    rows = run.rows()
    assert found["values"]["converged"] and found["values"]["fmax"] <= 0.02
    assert rows[-1][1] < rows[0][1] and rows[-1][2] < rows[0][2]
    assert [row[0] for row in rows] == list(range(len(rows)))
    last = run.messages[-1]
    assert last["done"] == pytest.approx(1, abs=0.02)
    shown = decode(last["frame"]["positions"], "float32").reshape(-1, 3)
    assert np.allclose(shown, found["atoms"].positions, atol=1e-4)


def test_a_relaxation_stops_and_resumes(copper, tmp_path):
    first = Run(stop_after=1)
    with pytest.raises(Stopped):
        first("relax", copper, tmp_path, fmax=0.001)
    before = len(read(tmp_path / TRAJECTORY, ":"))
    again = Run()
    found = again("relax", copper, tmp_path, resume=True, fmax=0.001)
    assert found["values"]["converged"]
    # it resumes where it was, not at the start
    assert again.rows()[0][1] == pytest.approx(first.rows()[-1][1], abs=1e-6)
    assert len(read(tmp_path / TRAJECTORY, ":")) > before


def test_dynamics_that_was_stopped_is_the_run_without_a_stop(copper, tmp_path):
    options = {"temperature": 400, "steps": 20, "interval": 2}
    for name in ("whole", "parts"):
        (tmp_path / name).mkdir()
    whole = Run()("md", copper, tmp_path / "whole", **options)
    with pytest.raises(Stopped):
        Run(stop_after=1)("md", copper, tmp_path / "parts", **options)
    parts = Run()("md", copper, tmp_path / "parts", resume=True, **options)
    assert np.allclose(whole["atoms"].positions, parts["atoms"].positions, atol=1e-9)
    assert parts["values"]["steps"] == 20


@pytest.mark.parametrize("periodic", [True, False])
def test_dynamics_shows_the_pressure_of_a_crystal(copper, tmp_path, periodic):
    copper.pbc = periodic
    run, options = Run(), {"temperature": 400, "steps": 6, "interval": 2}
    found = run("md", copper, tmp_path, **options)
    k = next(m["columns"] for m in run.messages if m["event"] == "columns").index("pressure")
    known = [row[k] for row in run.rows() if row[k] is not None]
    assert len(known) == (3 if periodic else 0) and ("pressure" in found["values"]) == periodic
    if periodic:
        # the mean includes the initial structure
        assert found["values"]["pressure"] == pytest.approx(np.mean(known), abs=2)


def test_equation_of_state_of_copper(tmp_path):
    run = Run()
    found = run("eos", bulk("Cu", cubic=True), tmp_path, points=7)
    assert found["values"]["volume"] == pytest.approx(4 * 11.57, rel=0.01)  # EMT's copper
    assert found["values"]["bulk_modulus"] == pytest.approx(134, rel=0.05)
    assert found["atoms"].get_volume() == pytest.approx(found["values"]["volume"])
    kept = json.loads((tmp_path / "points.json").read_text())
    (tmp_path / "points.json").write_text(json.dumps(kept[:3]))
    again = Run()("eos", bulk("Cu", cubic=True), tmp_path, resume=True, points=7)
    assert again["values"] == pytest.approx(found["values"])


def test_a_minimum_outside_of_the_volumes_is_said(tmp_path):
    found = Run()("eos", bulk("Cu", a=3.9, cubic=True), tmp_path, points=7)
    assert found["extrapolated"] and "atoms" not in found


def test_an_equation_of_state_without_a_minimum_says_so(tmp_path):
    run = Run()
    run.report.calculator = NoMinimum()
    with pytest.raises(SimulationError, match="relax the cell first"):
        run("eos", bulk("Cu", cubic=True), tmp_path, points=7)


def test_atoms_outside_of_the_training_range_are_marked(copper):
    run = Run()
    assert "outside" not in run.report.frame(copper)
    run.report.calculator.extrapolation_count = np.array([0, 3] + [0] * 6)
    assert run.report.frame(copper)["outside"] == [1]


def test_fixed_atoms_stay(tmp_path):
    from ase.constraints import FixAtoms

    atoms = bulk("Cu", cubic=True) * (2, 1, 1)
    atoms.rattle(0.1, seed=2)
    atoms.set_constraint(FixAtoms([0, 3]))
    again = to_atoms(json.loads(json.dumps(to_payload(atoms))))
    found = Run()("relax", again, tmp_path)["atoms"]
    assert np.array_equal(found.positions[[0, 3]], atoms.positions[[0, 3]])
    assert not np.allclose(found.positions[1], atoms.positions[1])


@pytest.mark.parametrize(
    ("kind", "options"),
    [("relax", {"fmax": -1}), ("md", {"temperature": 1e9}), ("md", {"steps": 10**9}), ("md", {"ensemble": "xyz"}),
     ("eos", {"points": 1e6}), ("md", {"trajectory": "/etc/passwd"}), ("relax", {"fmax": "nan"}), ("unknown", {})],
)  # fmt: skip
def test_wrong_options_are_refused(kind, options):
    with pytest.raises(ConfigError):
        check_options(kind, options, "ja")


def test_elastic_constants_of_copper(tmp_path):
    run = Run()
    found = run("elastic", bulk("Cu"), tmp_path)
    assert found["values"]["stable"] and found["values"]["bulk_modulus"] == pytest.approx(134, rel=0.05)
    assert found["table"][0][0] == pytest.approx(173, rel=0.05)  # EMT's C11, GPa
    stages = [m["what"] for m in run.messages if m["event"] == "stage"]
    assert stages == ["elastic: relaxation", "elastic: strained cells"]
    assert all(m["done"] <= 1 for m in run.messages if m["event"] == "progress")


def test_phonons_of_copper(tmp_path):
    pytest.importorskip("phonopy")
    pytest.importorskip("seekpath")
    run = Run()
    found = run("phonons", bulk("Cu"), tmp_path, min_length=6)
    assert found["values"]["stable"] and 20 < found["values"]["heat_capacity"] < 25  # 3R is 24.9 J/K/mol
    assert len(found["bands"]) % 3 == 0 and found["ticks"][0][1] == "Γ"
    assert max(y for line in found["bands"] for _, y in line) == pytest.approx(7.7, rel=0.2)  # THz
    json.dumps(found, allow_nan=False)
