"""A distillation as a whole: it ends with a student that says who taught it; and it resumes where it was killed."""

import json
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.io import write
from typer.testing import CliRunner

from gnnpot import load
from gnnpot.config import from_mapping, to_mapping
from gnnpot.data import FrameStore
from gnnpot.errors import CheckpointError, ConfigError, DataError, GnnpotError, UnknownElementError
from gnnpot.hub.checkpoint import load_checkpoint, save_checkpoint
from gnnpot.training.config import OptimizerConfig
from gnnpot.workflows.distil import STUDENTS, DistilConfig, distil, read_distil_config
from gnnpot.workflows.distil.report import errors_rows, rounds_rows
from tests.child_process import environment

CONFIGS = Path(__file__).parents[3] / "configs"
TEACHER = "ase.calculators.emt:EMT"

#: distils, and kills itself when it is told what argv[2] is
CHILD = """
import os, signal, sys, yaml
from ase.calculators.emt import EMT
from gnnpot.config import from_mapping
from gnnpot.workflows.distil import DistilConfig, distil

def watch(*news):
    if sys.argv[2] in " ".join(map(str, news)):
        os.kill(os.getpid(), signal.SIGKILL)

with open(sys.argv[1]) as file:
    config = from_mapping(DistilConfig, yaml.safe_load(file))
distil(config, make_teacher=EMT, on_event=watch, progress=watch)
"""


def same(a, b):
    for name, t in a.state_dict().items():
        assert torch.equal(t, b.state_dict()[name]), name


def test_it_ends_with_a_student_that_says_who_taught_it(whole):
    config, told = whole
    student, card = load_checkpoint(config.run / "model")
    assert student.elements == ("Ni", "Cu") and student.model.config.architecture == "hdnnp" and len(student.terms) == 1
    teacher = card.training["teacher"]
    assert teacher["name"] == TEACHER and teacher["labels"].startswith(f"{TEACHER} (ase 3.")
    assert TEACHER in card.description and teacher["labels"] in card.training_data
    assert from_mapping(DistilConfig, card.training["distillation"]) == config
    found = card.metrics["distil"]
    rounds = found["rounds"]
    assert [r["number"] for r in rounds] == [1, 2] and found["end"] == "2 were asked for"
    assert [r["trained_on"] for r in rounds] == [18, 27] and found["frames"] == 36
    assert all(r["drawn"] == 4 and r["picked"] == 5 and sum(r["ends"].values()) == 4 for r in rounds)
    measured = found["measured"]
    # the test's labels are EMT's own
    assert measured["test"]["teacher"]["forces_mae"] < 1e-9 < measured["test"]["student"]["forces_mae"] < 1
    assert card.metrics["fresh"]["forces_count"] == 4 * 12 and all(s["teacher"] > 0 for s in measured["speeds"])
    assert "labelling 6 structures" in told[0] and any("the rounds end: 2 were asked for" in text for text in told)
    report = (config.run / "report" / "report.md").read_text()
    assert TEACHER in report and "the test's labels" in report and "| 2 | 27 | 4 | 5 |" in report
    assert (config.run / "report" / "distil.png").stat().st_size > 1000
    assert len(rounds_rows(card)) == 3 and len(errors_rows(card)) == 4


def test_errors_are_measured_before_the_students_learn(whole):
    """What a round reports is what the students of the round before say of frames that the teacher labelled."""
    config, _ = whole
    reported = json.loads((config.run / "journal.json").read_text())["rounds"][1]["errors"]["forces_mae"]
    errors = []
    for k in range(2):
        student = load(config.run / "round-01" / f"student-{k}" / "model")
        for frame in FrameStore(config.run / "round-02" / "drawn.store"):
            forces = student(student.graph(frame)).forces.detach().numpy()
            atoms = frame.to_atoms()
            atoms.calc = EMT()
            assert np.allclose(atoms.get_forces(), frame.forces, atol=1e-9)
            errors.append(np.abs(forces - frame.forces).mean())
    assert reported == pytest.approx(np.mean(errors), rel=1e-5)


def test_a_second_call_finds_it_done(whole):
    config, _ = whole
    told = []
    same(distil(config, make_teacher=EMT, on_event=told.append), load(config.run / "model"))
    assert told == []
    with pytest.raises(ConfigError, match=r"a distillation .* other options or inputs \(seed: was 0, is now 1\)"):
        distil(replace(config, seed=1), make_teacher=EMT)


def test_killed_again_and_again_it_ends_at_the_same_weights(config, whole, tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(to_mapping(config)))
    for place in ("round 1: dynamics 2", "round 1 of at most 2: training student 2", "measuring"):
        result = subprocess.run(
            [sys.executable, "-c", CHILD, str(path), place], capture_output=True, text=True, timeout=900, check=False,
            env=environment(),
        )  # fmt: skip
        assert result.returncode == -signal.SIGKILL, result.stderr[-2000:]
    assert not (config.run / "model").exists()
    same(distil(config, make_teacher=EMT), load(whole[0].run / "model"))
    first, second = (load_checkpoint(c.run / "model")[1].metrics for c in (whole[0], config))
    assert first["distil"]["rounds"] == second["distil"]["rounds"] and first["fresh"] == second["fresh"]


@pytest.mark.parametrize(
    ("architecture", "sizes"),
    [("m3gnet", "units=8 blocks=1 cutoff=3.5 three_body_cutoff=3.0"), ("nequix", "channels=[4,4] cutoff=3.5 radial=4")],
)
def test_a_student_teaches_another_architecture(whole, small, structures, tmp_path, architecture, sizes):
    """A gnnpot potential as the teacher: its licence and functional are handed on."""
    potential, card = load_checkpoint(whole[0].run / "model")
    card = replace(card, name="tiny", licence="CC0-1.0", functional="EMT", references=["a paper"])
    teacher = save_checkpoint(tmp_path / "teacher", potential, card)
    options = [o for o in small if not o.startswith(("student.", "rounds=", "learn.first", "learn.final"))]
    options += [f"student.{size}" for size in sizes.split()]
    options += ["rounds=1", "learn.first_steps=5", "learn.final_steps=5", "explore.trajectories=2"]
    options += ["start.structures=3", "learn.final_batch={frames: 2}"]
    run = tmp_path / "run"
    config = read_distil_config(str(teacher), [structures], student=architecture, run=run, overrides=options)
    student = distil(config)
    runs = [yaml.safe_load((config.run / run / "config.yaml").read_text()) for run in ("round-00/student-0", "final")]
    assert [run["batch"]["frames"] for run in runs] == [4, 2]
    card = load_checkpoint(config.run / "model")[1]
    assert student.model.config.architecture == architecture and card.licence == "CC0-1.0" and card.functional == "EMT"
    assert card.references == ["a paper"] and card.training["teacher"]["labels"].startswith("tiny (sha256 ")
    assert card.metrics["fresh"]["stress_count"] == 4 * 6 and card.metrics["distil"]["measured"]["test"] == {}


def test_bad_input_is_one_sentence(whole, structures, tmp_path):
    def configure(teacher=TEACHER, given=structures, **more):
        return read_distil_config(teacher, [given], run=tmp_path / "run", **more)

    with pytest.raises(ConfigError, match="--student: 'hdnp' is not known; did you mean 'hdnnp'"):
        configure(student="hdnp")
    with pytest.raises(ConfigError, match="unknown option 'temperature'; did you mean 'temperatures'"):
        configure(overrides=["explore.temperature=300"])
    with pytest.raises(ConfigError, match="committee: 1 is not a whole number from 2 on"):
        configure(overrides=["committee=1"])
    with pytest.raises(CheckpointError, match="no-such-teacher"):
        distil(configure("no-such-teacher"))
    with pytest.raises(DataError, match=r"none\.extxyz: there is no such file"):
        distil(configure(given="none.extxyz"), make_teacher=EMT)
    empty = tmp_path / "empty.extxyz"
    empty.write_text("")
    with pytest.raises(DataError, match=r"empty\.extxyz"):
        distil(configure(given=empty), make_teacher=EMT)
    salt = tmp_path / "salt.extxyz"
    write(salt, [bulk("NaCl", "rocksalt", a=5.6)])
    with pytest.raises(UnknownElementError, match=r"salt\.extxyz \[0\]: .* not seen Cl, Na; .*name another teacher"):
        distil(configure(str(whole[0].run / "model"), salt))
    with pytest.raises(DataError, match=r"will not know Cl, Na, which no structure has"):
        distil(configure(overrides=[f"test={salt}", "reader.energy_key=''"]), make_teacher=EMT)
    # an ASE calculator can only be asked
    with pytest.raises(DataError, match="no frame could be labelled .*NotImplementedError"):
        distil(configure(given=salt), make_teacher=EMT)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["empty.extxyz", "run", "salt.extxyz"]


def test_options_by_file_and_by_name(structures, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("student: {architecture: hdnnp, hidden: [7]}\nexplore: {temperatures: [50]}\n")
    mine = read_distil_config(TEACHER, [structures], run=tmp_path, student="hdnnp", path=path)
    assert mine.student.hidden == (7,) and mine.explore.temperatures == (50.0,)
    shipped = read_distil_config(TEACHER, [structures], run=tmp_path, path=CONFIGS / "distil.yaml")
    assert shipped == read_distil_config(TEACHER, [structures], run=tmp_path)
    other = read_distil_config(TEACHER, [structures], run=tmp_path, student="sevennet", path=path)
    assert other.student == STUDENTS["sevennet"] and other.explore.temperatures == (50.0,)
    assert read_distil_config(TEACHER, [structures], run=tmp_path).student == STUDENTS["hdnnp"]
    assert from_mapping(DistilConfig, to_mapping(other)) == other
    assert (mine.learn.optimizer.lr, other.learn.optimizer.lr) == (3e-3, 3e-2)
    slow = read_distil_config(
        TEACHER, [structures], run=tmp_path, student="sevennet", overrides=["learn.optimizer.lr=0.001"]
    )
    assert slow.learn.optimizer == replace(other.learn.optimizer, lr=0.001)
    path.write_text("student: {architecture: sevennet}\nlearn: {optimizer: {name: adamw}}\n")
    by_file = read_distil_config(TEACHER, [structures], run=tmp_path, path=path)
    by_option = read_distil_config(
        TEACHER, [structures], run=tmp_path, student="sevennet", overrides=["learn.optimizer.name=adamw"]
    )
    assert by_file.learn.optimizer == by_option.learn.optimizer == OptimizerConfig(name="adamw", lr=3e-3)


def test_bars_give_way(capsys):
    from gnnpot.cli.progress import Bars

    with Bars(quiet=False) as bars:
        for done in (0, 1, 2):
            bars("dynamics", done, 3)
        bars.pause()
        bars("labelling", 4, 5)
        bars("labelling", 5, 5)
        # it was removed at its end: there is nothing to pause
        bars.pause()
    shown = capsys.readouterr().err
    assert "dynamics" in shown and "2/3" in shown and "labelling" in shown and "4/5" in shown
    with Bars(quiet=True) as bars:
        bars("dynamics", 1, 3)
    assert capsys.readouterr().err == ""


def test_command_line(small, structures, labelled, tmp_path):
    from gnnpot.cli import app

    runner, run = CliRunner(), tmp_path / "run"
    options = ["distil", TEACHER, str(structures), "-o", str(run), "--quiet", "--test", str(labelled)]
    options += ["--temperature", "200"]
    for option in [o for o in small if not o.startswith("rounds") and "temperatures" not in o]:
        options += ["--set", option]
    options += ["--set", "rounds=1", "--set", "learn.first_steps=5", "--set", "learn.final_steps=5"]
    result = runner.invoke(app, options, env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    for text in ("round 1: on 4 fresh frames", "Errors of the final student", "the test's labels", "report.md"):
        assert text in result.output
    assert yaml.safe_load((run / "distil.yaml").read_text())["explore"]["temperatures"] == [200.0]
    # the terminal has fewer columns than the report
    head = "high-uncertainty sample: force MAE"
    assert head not in result.output and head in (run / "report" / "report.md").read_text()
    assert "has ended before" not in result.output and "training data do not have" not in result.output
    # again: only the tables
    again = runner.invoke(app, options, env={"COLUMNS": "200"}).output
    assert "Errors of the final student" in again and "training" not in again and "has ended before" in again
    # and with more steps
    longer = runner.invoke(app, [*options, "--set", "learn.final_steps=8"], env={"COLUMNS": "200"})
    assert longer.exit_code == 0, longer.output
    assert "training the final student" in longer.output and "has ended before" not in longer.output
    failed = runner.invoke(app, ["distil", "no.such:EMT", str(structures), "-o", str(tmp_path / "x")])
    assert isinstance(failed.exception, GnnpotError)
    assert "Example" in runner.invoke(app, ["distil", "--help"]).output


def test_an_ended_run_is_extended(config, tmp_path):
    """By a longer final training, then by a further round: to the numbers of a run that was asked for all at once."""
    short = replace(config, rounds=1)
    first, told = distil(short, make_teacher=EMT), []
    # so many that a training of as many from the beginning would warm up longer
    longer = replace(short, learn=replace(config.learn, final_steps=config.learn.final_steps + 40))
    second = distil(longer, make_teacher=EMT, on_event=told.append)
    card = load_checkpoint(config.run / "model")[1]
    assert card.training["max_steps"] == card.training["distillation"]["learn"]["final_steps"]
    assert card.training["max_steps"] == longer.learn.final_steps and not any("training student" in t for t in told)
    assert any(not torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    same(distil(longer, make_teacher=EMT), second)
    further = replace(longer, rounds=2)
    distil(further, make_teacher=EMT)
    distil(replace(further, run=tmp_path / "at once"), make_teacher=EMT)
    runs = [load_checkpoint(run / "model") for run in (config.run, tmp_path / "at once")]
    same(runs[0][0], runs[1][0])
    assert runs[0][1].metrics["fresh"] == runs[1][1].metrics["fresh"]
    assert [len(card.metrics["distil"]["rounds"]) for _, card in runs] == [2, 2]


def test_a_run_that_is_allowed_more_rounds_but_needs_none_ends_again(whole, tmp_path, monkeypatch):
    """The final student stays, and is measured once more."""
    config, told = whole[0], []
    run = Path(shutil.copytree(config.run, tmp_path / "run"))
    monkeypatch.setattr("gnnpot.workflows.distil.run.reason_to_end", lambda *_: "the error falls no longer")
    potential = distil(replace(config, run=run, rounds=config.rounds + 2), make_teacher=EMT, on_event=told.append)
    same(potential, load(config.run / "model"))
    assert not any("training" in t for t in told) and told[-1] == "measuring the student"
    assert load_checkpoint(run / "model")[1].training["distillation"]["rounds"] == config.rounds + 2
