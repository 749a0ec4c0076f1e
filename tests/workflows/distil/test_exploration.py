"""What a distillation is made of: disagreement, choice of states, frames that validate, reasons to end, budgets."""

import json
from dataclasses import replace

import numpy as np
import pytest
from ase.build import bulk

from gnnpot.data import Frame, FrameStore, Provenance
from gnnpot.engines.calculator import Calculator
from gnnpot.errors import DataError
from gnnpot.hub.checkpoint import load_checkpoint
from gnnpot.sampling.selection import SelectionConfig, select
from gnnpot.sampling.trajectories import SampledTrajectory, run_trajectories
from gnnpot.workflows.committee import Committee, StudentErrors, disagreement
from gnnpot.workflows.distil.limits import final_minutes, reason_to_end, student_minutes
from gnnpot.workflows.distil.results import DistilResults, RoundResult
from gnnpot.workflows.distil.speed import speeds
from gnnpot.workflows.distil.students import TRAIN, VALIDATION, add_frames, students_of


def trajectory(disagreements, number=0, end="complete"):
    frames = []
    for k in range(len(disagreements)):
        frames.append(Frame.from_atoms(bulk("Cu", a=3.6), Provenance("test", f"{number} {k}"), labels=False))
    return SampledTrajectory(tuple(frames), tuple(disagreements), end)


def test_disagreement_is_the_largest_spread_of_a_force():
    rng = np.random.default_rng(0)
    forces = rng.normal(size=(4, 7, 3))
    by_hand = max(np.sqrt(np.mean([np.sum((f[i] - forces[:, i].mean(0)) ** 2) for f in forces])) for i in range(7))
    assert disagreement(forces) == pytest.approx(by_hand, rel=1e-12)
    turned = forces @ np.linalg.qr(rng.normal(size=(3, 3)))[0]
    assert disagreement(turned + 5.0) == pytest.approx(by_hand, rel=1e-12)
    assert disagreement(np.repeat(forces[:1], 3, axis=0)) < 1e-15


def test_a_committee_disagrees_as_its_students_say(whole):
    config, _ = whole
    committee = Committee(students_of(config.run / "round-01", config.committee))
    frame = FrameStore(config.run / "round-01" / VALIDATION)[0]
    forces = []
    for student in committee.students:
        forces.append(student(student.graph(frame)).forces.detach().numpy())
    assert committee.disagreement(frame.to_atoms()) == pytest.approx(disagreement(np.stack(forces)), rel=1e-6)
    assert Committee(committee.students[:1]).disagreement(frame.to_atoms()) == 0


def test_the_random_sample_is_within_the_limit_and_the_other_one_where_the_committee_disagrees_most():
    rng = np.random.default_rng(3)
    trajectories = [trajectory([*rng.uniform(0, 1, 30), 9.0], k, "limit") for k in range(3)]
    trajectories.append(trajectory([], 3, "exploded"))
    pick = SelectionConfig(random=10, uncertain=12, apart=4, level=0.3)
    chosen = select(trajectories, pick, 1.0, np.random.default_rng(1))

    def places(frames):
        return [tuple(map(int, f.provenance.source_id.split())) for f in frames]

    drawn, picked = places(chosen.random), places(chosen.uncertain)
    assert len(drawn) == 10 and len(picked) == 12 and not set(drawn) & set(picked)
    assert all(trajectories[w].disagreements[s] <= 1.0 for w, s in drawn)
    assert all(trajectories[w].disagreements[s] > 0.3 for w, s in picked)
    # the states that ended the trajectories are where most is to be learnt
    assert {(w, 30) for w in range(3)} <= set(picked)
    for w in range(3):
        steps = sorted(s for v, s in picked if v == w)
        assert min(np.diff(steps), default=9) >= 4
    # what was left had less to say, or stands next to one that was picked
    least = min(trajectories[w].disagreements[s] for w, s in picked)
    for w in range(3):
        for s, d in enumerate(trajectories[w].disagreements):
            if d > least and (w, s) not in drawn + picked:
                assert any(v == w and abs(s - t) < 4 for v, t in picked)
    assert select(trajectories, replace(pick, uncertain=0), 1.0, rng).uncertain == ()
    # where nothing is within the limit, something is drawn all the same
    assert len(select(trajectories, pick, 1e-9, rng).random) == 10


def test_dynamics_end_where_the_committee_disagrees_and_are_done_once(whole, tmp_path):
    config, _ = whole
    committee = Committee(students_of(config.run / "round-00", config.committee))
    structures = list(FrameStore(config.structures[0]))
    turns = len(config.explore.temperatures)

    def explore(limit, number, folder, *progress):
        return run_trajectories(
            structures, lambda k: committee.driver(k // turns), committee.disagreement, config.explore, limit,
            (config.seed, number), folder, *progress,
        )  # fmt: skip

    free = explore(np.inf, 1, tmp_path / "free")
    assert [w.end for w in free] == ["complete"] * 4 and all(len(w) == 5 for w in free)
    limit = float(np.median([d for w in free for d in w.disagreements]))
    stopped = explore(limit, 1, tmp_path / "stopped")
    for a, b in zip(free, stopped, strict=True):
        beyond = [d > limit for d in a.disagreements]
        assert len(b) == (beyond.index(True) + 1 if any(beyond) else 5)
        assert b.end == ("limit" if any(beyond) else "complete")
        assert b.disagreements == a.disagreements[: len(b)]
    told = []
    again = explore(limit, 1, tmp_path / "stopped", lambda *news: told.append(news))
    assert told == [(4, 4)] and [w.disagreements for w in again] == [w.disagreements for w in stopped]
    assert np.array_equal(again[0].frames[-1].positions, stopped[0].frames[-1].positions)
    # a strain of their own, the temperature's motion
    volumes = {round(w.frames[0].volume, 6) for w in free}
    assert len(volumes) == 4
    other = explore(np.inf, 2, tmp_path / "other")
    assert other[0].disagreements != free[0].disagreements


def test_a_frame_that_validates_never_trains(whole, tmp_path):
    config, _ = whole
    stores = [[FrameStore(config.run / f"round-0{n}" / name) for name in (TRAIN, VALIDATION)] for n in range(3)]
    prints = [[set(store.index().fingerprint) for store in pair] for pair in stores]
    for (train, validation), (more, more_validation) in zip(prints, prints[1:], strict=False):
        assert train < more and validation <= more_validation and not more & more_validation
    kinds = {frame.provenance.config_type for frame in stores[2][0]}
    assert {"original", "rattled", "drawn", "picked"} <= kinds
    # the one frame with silver trains: a student can't validate on what it does not know
    frames = [f for f in stores[0][0] if "Ni" not in f.symbols][:3]
    frames.append(frames[0].replace(numbers=np.full(4, 47)))
    for seed in range(8):
        add_frames(frames, 0.6, seed, tmp_path / str(seed))
        held = FrameStore(tmp_path / str(seed) / VALIDATION)
        assert len(held) == 2 and all(47 not in f.numbers for f in held)
    with pytest.raises(DataError, match="1 labelled frames can't train and validate"):
        add_frames(frames[3:], 0.1, 0, tmp_path / "one")


def results_of(errors, tmp_path, minutes=0.0):
    path = tmp_path / "journal.json"
    path.write_text(json.dumps({"seconds": {"round 0: labelling": 60 * minutes}}))
    results = DistilResults(path)
    for n, error in enumerate(errors, 1):
        results.add(
            RoundResult(n, 10 * n, 5, 5, {}, StudentErrors(0.01, error, error), None, 1.0, 0.1, {"complete": 4}, 0.1)
        )
    return results


@pytest.mark.parametrize(
    ("errors", "reason"),
    [
        ([0.5], ""),
        ([0.5, 0.3, 0.2], ""),
        ([0.5, 0.3, 0.29], "falls no longer"),
        ([0.5, 0.3, 0.4], "falls no longer"),
        ([0.5, 0.3, 0.2, 0.15, 0.1], "5 were asked for"),
    ],
)
def test_rounds_end_when_the_error_falls_no_longer(config, tmp_path, errors, reason):
    config = replace(config, rounds=5, patience=1, tolerance=0.1)
    results = results_of(errors, tmp_path)
    found = reason_to_end(config, results)
    assert (reason in found) if reason else found == ""
    if len(errors) < 5:
        assert reason_to_end(replace(config, patience=2), results) == ""


def test_minutes_are_shared_out(config, tmp_path):
    assert student_minutes(config, 0) is None and final_minutes(config, 3.0) is None
    config = replace(config, max_minutes=60.0, rounds=6, committee=3)
    students = sum(config.committee * student_minutes(config, n) for n in range(6))
    assert 0.4 * 60 < students < 0.7 * 60 and student_minutes(config, 0) == 2 * student_minutes(config, 1)
    assert final_minutes(config, 10.0) == 50 and final_minutes(config, 55.0) == pytest.approx(18)
    assert reason_to_end(config, results_of([0.5, 0.3], tmp_path, minutes=20)) == ""
    assert "time" in reason_to_end(config, results_of([0.5, 0.3], tmp_path, minutes=39))


def test_results_are_kept(tmp_path):
    results = results_of([0.5, 0.4], tmp_path)
    with results.stage("a"):
        pass
    assert results.get_or_compute("value", lambda: {"x": 1.5}) == {"x": 1.5}
    again = DistilResults(tmp_path / "journal.json")
    assert again.rounds == results.rounds and again.minutes == results.minutes
    assert again.get_or_compute("value", lambda: 7) == {"x": 1.5}
    (tmp_path / "journal.json").write_text('{"rounds": 3}')
    with pytest.raises(DataError, match=r"journal\.json: is damaged .*--fresh"):
        DistilResults(tmp_path / "journal.json")


def test_speeds_are_those_of_the_structure_and_of_a_larger_one(whole):
    config, _ = whole
    potential, _ = load_checkpoint(config.run / "model")
    atoms = FrameStore(config.structures[0])[0].to_atoms()
    small, large = speeds(Calculator(potential), Calculator(potential), atoms, 300.0, 1.0)
    assert small.atoms == 4 and large.atoms >= 400
    assert min(small.teacher, small.student, large.teacher, large.student) > 0
    molecule = atoms.copy()
    molecule.pbc = False
    assert len(speeds(Calculator(potential), Calculator(potential), molecule, 300.0, 1.0)) == 1
