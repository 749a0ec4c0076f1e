"""Formats of trajectories: each ending, resumed and killed; files that are never one, and never half written."""

import os
import shutil
from pkgutil import resolve_name
from types import SimpleNamespace

import numpy as np
import pytest
from ase.build import bulk, fcc111, graphene
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones
from ase.constraints import FixAtoms, FixCartesian
from ase.io import read

from gnnpot.engines import trajectories
from gnnpot.engines.cell_filters import choose_cell, space_group, vacuum_directions
from gnnpot.engines.constraints import fix_atoms
from gnnpot.engines.files import structure_format
from gnnpot.engines.md import MDConfig, run_md
from gnnpot.engines.relax import RelaxConfig, relax
from gnnpot.engines.trajectory_reader import read_trajectory
from gnnpot.errors import ConfigError, DataError

ENDINGS = [".traj", ".extxyz", ".zarr"]


@pytest.fixture
def alloy():
    atoms = bulk("Cu", cubic=True)
    atoms.symbols[0] = "Au"
    return atoms


class Killed(Exception):
    pass


def killed_at(step):
    def stop(sample):
        if sample.step > step:
            raise Killed

    return stop


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_run_in_parts_has_the_frames_of_the_whole(alloy, ending, tmp_path, monkeypatch):
    """Frames after the last state on disk, as a kill leaves them, are done again."""
    whole, parts = tmp_path / f"whole{ending}", tmp_path / f"parts{ending}"
    config = MDConfig(ensemble="npt-full", steps=40, interval=4)
    result = run_md(alloy, EMT(), config, trajectory=whole)
    with pytest.raises(Killed):
        run_md(alloy, EMT(), config, trajectory=parts, resume=True, progress=killed_at(18))
    with monkeypatch.context() as patch:
        # as if the process ended without closing anything
        patch.setattr(trajectories.TimedWriter, "save_state", lambda self, atoms, state: None)
        with pytest.raises(Killed):
            run_md(alloy, EMT(), config, trajectory=parts, resume=True, progress=killed_at(30))
    resumed = run_md(alloy, EMT(), config, trajectory=parts, resume=True)
    np.testing.assert_allclose(resumed.atoms.positions, result.atoms.positions, rtol=0, atol=1e-12)
    first, second = list(read_trajectory(whole)), list(read_trajectory(parts))
    assert len(first) == len(second) == 11
    for a, b in zip(first, second, strict=True):
        np.testing.assert_allclose(a.positions, b.positions, rtol=0, atol=1e-7)
        np.testing.assert_allclose(a.cell, b.cell, rtol=0, atol=1e-7)


@pytest.fixture
def clock(monkeypatch):
    """The wall time by which states are saved; `clock.now` is set."""
    clock = SimpleNamespace(now=0.0)
    # in this module only: others wait by the real time
    monkeypatch.setattr(trajectories, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


def killed_after(step, clock, due=()):
    """Ends a run after `step`; states become due at the steps of `due`."""

    def progress(sample):
        if sample.step > step:
            raise Killed
        clock.now += trajectories.STATE_SECONDS * (sample.step in due)

    return progress


# a changing cell: otherwise EMT's neighbour list, and with it the order of sums, depends on where it was made
@pytest.mark.parametrize("ensemble", ["npt-full", "npt-langevin"])
@pytest.mark.parametrize("ending", ENDINGS)
def test_a_state_between_distant_frames(alloy, ending, ensemble, tmp_path, monkeypatch, clock):
    """Runs that end between frames lose what is after the state by wall time, and nothing else."""
    config = MDConfig(ensemble=ensemble, steps=50, interval=20)
    whole, parts = tmp_path / f"whole{ending}", tmp_path / f"parts{ending}"
    result = run_md(alloy, EMT(), config, trajectory=whole, log=tmp_path / "whole.log")
    done = []

    def run(progress):
        with monkeypatch.context() as patch, pytest.raises(Killed):
            # as if the process ended without closing anything
            patch.setattr(trajectories.TimedWriter, "close", lambda self: None)
            files = {"trajectory": parts, "log": tmp_path / "parts.log", "resume": True}
            run_md(alloy, EMT(), config, **files, progress=lambda s: (done.append(s.step), progress(s)))

    # between the first frames; at once again; after the second frame; and the state before it, the frame's being lost
    for end, due in ((17, (7, 13)), (18, ()), (25, (23,)), (43, (37,))):
        run(killed_after(end, clock, due))
    files = {"trajectory": parts, "log": tmp_path / "parts.log", "resume": True}
    resumed = run_md(alloy, EMT(), config, **files, progress=lambda s: done.append(s.step))
    # ASE's frame of step 40 holds a state; the others' was not due
    last = 41 if ending == ".traj" else 38
    assert done == [*range(1, 19), *range(14, 20), *range(14, 27), *range(24, 45), *range(last, 51)]
    np.testing.assert_array_equal(resumed.atoms.positions, result.atoms.positions)
    np.testing.assert_array_equal(resumed.atoms.get_momenta(), result.atoms.get_momenta())
    assert (resumed.averaged, resumed.temperature) == (result.averaged, result.temperature)
    assert resumed.pressure == result.pressure
    assert (tmp_path / "parts.log").read_text() == (tmp_path / "whole.log").read_text()
    first, second = list(read_trajectory(whole)), list(read_trajectory(parts))
    assert len(first) == len(second) == 4
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a.positions, b.positions)
        np.testing.assert_array_equal(a.cell, b.cell)
    assert not (tmp_path / "parts.traj.restart").exists()


def test_a_state_between_frames_that_is_of_no_use(alloy, tmp_path, clock):
    """In ASE's format: older than the last frame, of other frames, or damaged."""
    config, path = MDConfig(steps=40, interval=20), tmp_path / "run.traj"
    beside = tmp_path / "run.traj.restart"
    with pytest.raises(Killed):
        run_md(alloy, EMT(), config, trajectory=path, progress=killed_after(15, clock, (9,)))
    old = beside.read_bytes()
    with pytest.raises(Killed):
        run_md(alloy, EMT(), config, trajectory=path, resume=True, progress=killed_after(30, clock))
    for useless in (old, old[:200], b""):
        beside.write_bytes(useless)
        steps = []

        def stop(sample, steps=steps):
            steps.append(sample.step)
            raise Killed

        with pytest.raises(Killed):
            run_md(alloy, EMT(), config, trajectory=path, resume=True, progress=stop)
        assert steps == [21]
    run_md(alloy, EMT(), config, trajectory=path, overwrite=True)
    assert not beside.exists() and len(read(path, ":")) == 3


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_run_that_is_made_shorter_ends_with_a_frame(alloy, ending, tmp_path, clock):
    path, log = tmp_path / f"run{ending}", tmp_path / "run.log"
    with pytest.raises(Killed):
        stop = killed_after(15, clock, (9,))
        run_md(alloy, EMT(), MDConfig(steps=40, interval=20), trajectory=path, log=log, progress=stop)
    for _ in range(2):
        result = run_md(alloy, EMT(), MDConfig(steps=9, interval=20), trajectory=path, log=log, resume=True)
        assert result.steps == 9 and result.averaged == 10
        assert np.loadtxt(log)[:, 0].tolist() == [0, 9]
        frames = list(read_trajectory(path))
        assert len(frames) == 2
        np.testing.assert_allclose(frames[1].positions, result.atoms.positions, atol=1e-6)


def test_extended_xyz_is_read_by_ase(alloy, tmp_path):
    run_md(alloy, EMT(), MDConfig(steps=10, timestep=2.0, interval=5), trajectory=tmp_path / "run.extxyz")
    frames = read(tmp_path / "run.extxyz", ":")
    assert [f.info["step"] for f in frames] == [0, 5, 10] and frames[1].info["time_fs"] == 10
    assert np.isfinite(frames[2].get_forces()).all() and frames[2].get_kinetic_energy() > 0
    # for ASE, what follows an @ is an index
    (tmp_path / "run.extxyz").rename(tmp_path / "run@300K.extxyz")
    assert len(list(read_trajectory(tmp_path / "run@300K.extxyz"))) == 3


def test_zarr_with_some_elements(alloy, tmp_path):
    from gnnpot.engines.zarr_trajectory import ZarrFrames

    path = tmp_path / "run.zarr"
    result = run_md(alloy, EMT(), MDConfig(steps=20, interval=5, elements=("Au",)), trajectory=path)
    frames = ZarrFrames(path)
    assert len(frames) == 5 and frames.index.tolist() == [0] and not frames.complete
    np.testing.assert_allclose(frames.positions(4, 5)[0], result.atoms.positions[:1], atol=1e-5)
    np.testing.assert_allclose(frames.framework(4, 5)[0], result.atoms.positions[1:].mean(axis=0), atol=1e-9)
    assert frames.times().tolist() == [0, 5, 10, 15, 20] and np.isfinite(frames.energies()).all()
    with pytest.raises(ConfigError, match="zarr"):
        run_md(alloy, EMT(), MDConfig(elements=("Au",)), trajectory=tmp_path / "x.traj")
    with pytest.raises(DataError, match="has no Li"):
        run_md(alloy, EMT(), MDConfig(elements=("Li",)), trajectory=tmp_path / "y.zarr")
    with pytest.raises(ConfigError, match="holds the positions of Au, not of Cu; resume with the same"):
        run_md(alloy, EMT(), MDConfig(steps=30, elements=("Cu",)), trajectory=path, resume=True)
    assert not (tmp_path / "y.zarr").exists()
    with pytest.raises(DataError, match="exists already"):
        run_md(alloy, EMT(), MDConfig(steps=5), trajectory=path)
    run_md(alloy, EMT(), MDConfig(steps=5, interval=5), trajectory=path, overwrite=True)
    assert len(ZarrFrames(path)) == 2
    (tmp_path / "mine.zarr").mkdir()
    with pytest.raises(DataError, match="not replaced"):
        run_md(alloy, EMT(), MDConfig(steps=5), trajectory=tmp_path / "mine.zarr", overwrite=True)
    shutil.rmtree(path / "particles" / "all" / "index")
    with pytest.raises(DataError, match="missing"):
        ZarrFrames(path)


def test_a_resume_refuses_another_potential_structure_or_seed(alloy, tmp_path):
    path = tmp_path / "run.traj"
    config = MDConfig(steps=10)
    run_md(alloy, EMT(), config, trajectory=path)
    with pytest.raises(ConfigError, match="another potential"):
        run_md(alloy, LennardJones(sigma=2.3), MDConfig(steps=20), trajectory=path, resume=True)
    with pytest.raises(ConfigError, match="seed: was 0, is now 1"):
        run_md(alloy, EMT(), MDConfig(steps=20, seed=1), trajectory=path, resume=True)
    moved = alloy.copy()
    moved.positions[0, 0] += 1e-6
    with pytest.raises(ConfigError, match="another structure"):
        run_md(moved, EMT(), MDConfig(steps=20), trajectory=path, resume=True)
    assert run_md(alloy, EMT(), MDConfig(steps=20), trajectory=path, resume=True).averaged == 21


def test_a_run_killed_before_its_first_frame_begins_again(alloy, tmp_path):
    path, log = tmp_path / "run.traj", tmp_path / "run.log"
    log.write_text("# step  time/fs")
    run_md(alloy, EMT(), MDConfig(steps=10), trajectory=path, log=log, resume=True)
    assert np.loadtxt(log)[:, 0].tolist() == [0, 10]
    # the frame was written, its line was not
    log.write_text("\n".join(log.read_text().splitlines()[:-1]) + "\n")
    run_md(alloy, EMT(), MDConfig(steps=20), trajectory=path, log=log, resume=True)
    assert np.loadtxt(log)[:, 0].tolist() == [0, 10, 20]
    other = tmp_path / "notes.log"
    other.write_text("my notes")
    with pytest.raises(DataError, match="exists already"):
        run_md(alloy, EMT(), MDConfig(steps=1), trajectory=tmp_path / "b.traj", log=other, resume=True)
    assert other.read_text() == "my notes"


def test_outputs_are_checked_before_the_work(alloy, tmp_path):
    with pytest.raises(ConfigError, match="both"):
        run_md(alloy, EMT(), trajectory=tmp_path / "x.traj", log=tmp_path / "." / "x.traj")
    os.symlink(tmp_path / "x.traj", tmp_path / "y.log")
    with pytest.raises(ConfigError, match="both"):
        run_md(alloy, EMT(), trajectory=tmp_path / "x.traj", log=tmp_path / "y.log")
    with pytest.raises(ConfigError, match="ending"):
        run_md(alloy, EMT(), trajectory=tmp_path / "x.nc")
    path = tmp_path / "old.traj"
    alloy.write(path)
    before = path.read_bytes()
    with pytest.raises(NotImplementedError):
        alien = alloy.copy()
        alien.symbols[0] = "Li"
        run_md(alien, EMT(), MDConfig(steps=1), trajectory=path, overwrite=True)
    assert path.read_bytes() == before
    assert structure_format(tmp_path / "POSCAR-relaxed.extxyz", alloy) == "extxyz"
    assert structure_format(tmp_path / "POSCAR", alloy) == "vasp"
    for bad in ("OUTCAR-relaxed.outcar", "x.nonsense", "x"):
        with pytest.raises(DataError, match="ending"):
            structure_format(tmp_path / bad, alloy)


def test_means_leave_the_equilibration_out(alloy):
    samples = []
    config = MDConfig(steps=30, equilibration=20)
    result = run_md(alloy, EMT(), config, progress=samples.append)
    assert result.averaged == 11
    assert result.temperature == pytest.approx(np.mean([s.temperature for s in samples[19:]]))


def test_vacuum_is_found():
    slab = fcc111("Cu", (1, 1, 4), vacuum=8.0)
    slab.pbc = True
    assert vacuum_directions(slab) == (2,) and vacuum_directions(bulk("Cu")) == ()
    assert choose_cell(slab, "auto").described == "vectors a and b; vacuum along c"
    sheet = graphene(vacuum=7.0)
    sheet.pbc = True
    assert vacuum_directions(sheet) == (2,)
    slab.rotate(30, "x", rotate_cell=True)
    assert choose_cell(slab, "auto").axes == (0, 1)


def test_a_slab_keeps_its_vacuum():
    slab = fcc111("Cu", (1, 1, 3), a=3.5, vacuum=8.0)
    slab.pbc = True
    slab.rotate(30, "x", rotate_cell=True)
    found = relax(slab, EMT(), RelaxConfig(cell="auto", fmax=0.02))
    assert found.converged and found.relaxed_cell.vacuum == (2,)
    height = [abs(a.get_volume()) / np.linalg.norm(np.cross(*a.cell[:2])) for a in (slab, found.atoms)]
    assert height[1] == pytest.approx(height[0], abs=1e-6)
    assert np.linalg.norm(found.atoms.cell[0]) > np.linalg.norm(slab.cell[0]) + 0.01


def test_shape_and_volume():
    atoms = bulk("Cu", cubic=True, a=3.5)
    atoms.set_cell(atoms.cell.array @ np.diag([1.03, 1.0, 0.98]), scale_atoms=True)
    shape = relax(atoms, EMT(), RelaxConfig(cell="shape"))
    assert shape.converged and shape.volume == pytest.approx(atoms.get_volume(), rel=1e-8)
    assert np.ptp(shape.atoms.cell.lengths()) < 0.01
    volume = relax(atoms, EMT(), RelaxConfig(cell="volume"))
    assert volume.converged and volume.volume > 1.02 * atoms.get_volume()
    ratio = volume.atoms.cell.lengths() / atoms.cell.lengths()
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-8)


def test_symmetry_is_kept():
    atoms = bulk("Cu", cubic=True, a=3.5)
    atoms.set_cell(atoms.cell.array @ np.diag([1.0, 1.0, 1.04]), scale_atoms=True)
    atoms.rattle(1e-3, seed=0)
    free = relax(atoms, EMT(), RelaxConfig(fmax=0.02))
    kept = relax(atoms, EMT(), RelaxConfig(fmax=0.02, symmetry=0.02))
    assert kept.converged and kept.symmetry == "I4/mmm (139)"
    assert space_group(kept.atoms, 1e-6) != "P1 (1)" and not kept.atoms.constraints
    assert free.symmetry == ""


def test_ctrl_c_keeps_the_last_structure(tmp_path):
    atoms = bulk("Cu", cubic=True, a=3.4)
    atoms.rattle(0.05, seed=0)

    def interrupt(step):
        if step.step == 5:
            raise KeyboardInterrupt

    found = relax(atoms, EMT(), RelaxConfig(fmax=1e-5), trajectory=tmp_path / "r.traj", progress=interrupt)
    assert found.interrupted and not found.converged and found.steps == 5
    assert found.energy < found.initial_energy and len(read(tmp_path / "r.traj", ":")) >= 5


def test_held_atoms():
    slab = fcc111("Cu", (2, 2, 3), vacuum=8.0)
    slab.symbols[-1] = "Au"
    slab.set_constraint(FixAtoms([0]))
    assert fix_atoms(slab, "Au, 1-2, z<8.5") == 5
    assert {i for c in slab.constraints for i in c.index} == {0, 1, 2, 3, 11}
    # an atom that is held twice has three degrees of freedom less, not six
    slab.set_constraint([FixAtoms([0, 1]), FixCartesian([1, 2], (True, False, False))])
    fix_atoms(slab, "0-1")
    assert slab.get_number_of_degrees_of_freedom() == 3 * len(slab) - 7
    for bad in ("Xx", "Li", "99", "z<", ""):
        with pytest.raises(DataError, match="fixed atoms"):
            fix_atoms(slab, bad)


@pytest.mark.parametrize(
    ("ending", "writing"),
    [
        (".traj", "ase.io.ulm.Writer.write"),
        (".extxyz", "gnnpot.engines.trajectories.write_extxyz"),
        (".zarr", "gnnpot.engines.zarr_trajectory.ZarrWriter.place"),
    ],
)
def test_an_interrupt_while_a_frame_is_written_neither_damages_nor_repeats_a_frame(
    alloy, ending, writing, tmp_path, monkeypatch
):
    whole, parts = tmp_path / f"whole{ending}", tmp_path / f"parts{ending}"
    config, near = MDConfig(steps=12, interval=4), []
    run_md(alloy, EMT(), config, trajectory=whole)
    original = resolve_name(writing)

    def interrupted(*args, **kwargs):
        value = original(*args, **kwargs)
        if near:
            near.clear()
            raise KeyboardInterrupt
        return value

    with monkeypatch.context() as patch:
        patch.setattr("gnnpot.engines.zarr_trajectory.FLUSH_SECONDS", 0.0)
        patch.setattr(writing, interrupted)
        with pytest.raises(KeyboardInterrupt):
            # the next frame after step 6 is that of step 8
            run_md(alloy, EMT(), config, trajectory=parts, progress=lambda s: s.step == 6 and near.append(s))
    run_md(alloy, EMT(), config, trajectory=parts, resume=True)
    frames = list(read_trajectory(parts))
    steps = [frame.info.get(trajectories.STATE, frame.info)["step"] for frame in frames]
    assert steps == [0, 4, 8, 12]
    for found, wanted in zip(frames, read_trajectory(whole), strict=True):
        np.testing.assert_allclose(found.positions, wanted.positions, rtol=0, atol=1e-7)


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_run_that_is_killed_while_its_trajectory_is_created_can_be_resumed(alloy, ending, tmp_path, monkeypatch):
    """A file with the name of the trajectory has all that a resume needs."""
    path = tmp_path / f"run{ending}"
    original = os.replace

    def killed(source, target):
        original(source, target)
        if str(target) == str(path):
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            run_md(alloy, EMT(), MDConfig(steps=4, interval=2), trajectory=path)
    assert path.exists()
    result = run_md(alloy, EMT(), MDConfig(steps=4, interval=2), trajectory=path, resume=True)
    assert result.steps == 4 and len(list(read_trajectory(path))) == 3
