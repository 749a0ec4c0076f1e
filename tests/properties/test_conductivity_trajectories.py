"""Displacements from trajectories of other programs."""

import shlex

import numpy as np
import pytest
import typer
from ase import Atoms
from ase.io import write
from typer.testing import CliRunner

from gnnpot.data.structure_files import read_structure
from gnnpot.engines.trajectories import create_trajectory
from gnnpot.errors import ConfigError, DataError
from gnnpot.properties.conductivity import read_displacements
from tests.properties.random_walks import SIDE, walk


def test_a_foreign_trajectory(tmp_path):
    """Wrapped into the cell, with a framework that drifts: displacements come out relative to it."""
    moved = walk(2e-5, frames=60, ions=6)
    frames = []
    for k, positions in enumerate(moved.ions):
        drift = np.array([0.05 * k, 0, 0])
        fixed = np.array([[1.0, 2, 3], [11, 12, 13]]) + drift
        atoms = Atoms("Li6S2", np.vstack([positions + drift, fixed]), cell=SIDE * np.eye(3), pbc=True)
        atoms.wrap()
        frames.append(atoms)
    path = tmp_path / "foreign.extxyz"
    write(path, frames)
    with pytest.raises(DataError, match="frame-time"):
        read_displacements(path, "Li")
    found = read_displacements(path, "Li", frame_time=200.0)
    expected = moved.ions - moved.ions[0]
    np.testing.assert_allclose(found.ions - found.ions[0], expected, atol=1e-4)
    np.testing.assert_allclose(found.framework["S"] - found.framework["S"][0], 0, atol=1e-4)
    assert found.frame_time == pytest.approx(0.2) and found.atoms == 8
    with pytest.raises(DataError, match="no Na"):
        read_displacements(path, "Na", frame_time=200.0)
    frames[30].positions[0] += 9.0
    write(path, frames)
    with pytest.raises(DataError, match="too far to be followed"):
        read_displacements(path, "Li", frame_time=200.0)


def test_elements_that_change_their_order_are_refused(tmp_path):
    moved = walk(2e-5, frames=30, ions=6)
    frames = [Atoms("Li5S", positions, cell=SIDE * np.eye(3), pbc=True) for positions in moved.ions]
    frames[20].symbols[[0, 5]] = ["S", "Li"]
    write(tmp_path / "sorted.extxyz", frames)
    with pytest.raises(DataError, match="frame 20 has its elements in another order"):
        read_displacements(tmp_path / "sorted.extxyz", "Li", frame_time=200.0)


@pytest.mark.parametrize("elements", [(), ("Li",), ("Li", "Na")])
def test_the_framework_is_of_all_other_atoms(tmp_path, caplog, elements):
    """Also of those that were not written: a second ion that is written is not the framework."""
    path, moved = tmp_path / "run.zarr", walk(2e-5, frames=40, ions=6)
    still = np.random.default_rng(1).uniform(0, SIDE, (20, 3))
    writer = None
    for k, positions in enumerate(moved.ions):
        atoms = Atoms("Li4Na2S20", np.vstack([positions, still]), cell=SIDE * np.eye(3), pbc=True)
        state = {"step": 50 * k, "time": 100.0 * k}
        if writer is None:
            writer = create_trajectory(path, atoms, state, elements)
        else:
            writer.write(atoms, state)
    writer.close()
    found = read_displacements(path, "Li")
    mean = (moved.ions[:, 4:].sum(axis=1) - moved.ions[0, 4:].sum(axis=0)) / 22
    expected = moved.ions[:, :4] - moved.ions[0, :4] - mean[:, None]
    np.testing.assert_allclose(found.ions - found.ions[0], expected, atol=1e-4)
    assert found.atoms == 26 and not caplog.records


@pytest.mark.parametrize("elements", [(), ("Li",)])
def test_a_cell_that_breathes_moves_no_ion(tmp_path, elements):
    """Neither where the framework is in the file nor where only its mean position is."""
    path, rng, writer = tmp_path / "run.zarr", np.random.default_rng(0), None
    atoms = Atoms("Li4S8", rng.uniform(0, SIDE, (12, 3)), cell=SIDE * np.eye(3), pbc=True)
    for k in range(30):
        atoms.set_cell(SIDE * (1 + 0.01 * rng.normal()) * np.eye(3), scale_atoms=True)
        state = {"step": 50 * k, "time": 100.0 * k}
        if writer is None:
            writer = create_trajectory(path, atoms, state, elements)
        else:
            writer.write(atoms, state)
    writer.close()
    found = read_displacements(path, "Li")
    np.testing.assert_allclose(found.ions, np.broadcast_to(found.ions[0], found.ions.shape), atol=1e-4)


def frames_of(moved, symbols="Li5S"):
    """Frames of a trajectory, with the time that gnnpot writes."""
    cell = SIDE * np.eye(3)
    return [
        Atoms(symbols, x, cell=cell, pbc=True, info={"time_fs": 200.0 * k}) for k, x in enumerate(moved.ions)
    ]  # fmt: skip


def dump(path, moved, elements=None):
    """Write a LAMMPS dump of five atoms of type 1 and one of type 2, with or without the column of elements."""
    lines = []
    for k, positions in enumerate(moved.ions):
        lines += ["ITEM: TIMESTEP", f"{100 * k}", "ITEM: NUMBER OF ATOMS", "6", "ITEM: BOX BOUNDS pp pp pp"]
        lines += 3 * [f"0.0 {SIDE}"]
        lines += [f"ITEM: ATOMS id type{' element' if elements else ''} xu yu zu"]
        for i, (x, y, z) in enumerate(positions):
            kind = 2 if i == 5 else 1
            lines.append(f"{i + 1} {kind} {f'{elements[kind - 1]} ' if elements else ''}{x:.5f} {y:.5f} {z:.5f}")
    path.write_text("\n".join(lines) + "\n")


def test_dumps_of_lammps(tmp_path):
    """Types are no elements; ASE reads them as atomic numbers."""
    moved = walk(2e-5, frames=30, ions=6)
    bare, named, light = (tmp_path / name for name in ("bare.dump", "named.dump", "light.dump"))
    dump(bare, moved)
    dump(named, moved, ("Li", "S"))
    dump(light, moved, ("H", "He"))
    expected = read_displacements(named, "Li", 200.0)
    assert expected.ions.shape == (30, 5, 3) and list(expected.framework) == ["S"]
    with pytest.raises(DataError, match="types and no elements"):
        read_displacements(bare, "Li", 200.0)
    with pytest.raises(DataError, match="types and no elements"):
        read_structure(bare)
    assert read_structure(named).get_chemical_formula() == "Li5S"
    np.testing.assert_array_equal(read_displacements(bare, "Li", 200.0, ("Li", "S")).ions, expected.ions)
    # elements whose atomic numbers are their types
    assert read_displacements(light, "H", 200.0).ions.shape == (30, 5, 3)
    for types, message in ((("Li",), "types 1 to 2, and 1 are named"), (("Li", "Xx"), "'Xx' is no element")):
        with pytest.raises(DataError, match=message):
            read_displacements(bare, "Li", 200.0, types)
    other = tmp_path / "other.extxyz"
    write(other, frames_of(moved))
    with pytest.raises(DataError, match="has no types of a LAMMPS dump"):
        read_displacements(other, "Li", 200.0, ("Li", "S"))


def test_intervals_of_frames(tmp_path):
    """Frames that are missing or repeated, or another time than the file has, would give a wrong coefficient."""
    path, frames = tmp_path / "run.extxyz", frames_of(walk(2e-5, frames=40, ions=6))
    write(path, frames)
    assert read_displacements(path, "Li").frame_time == read_displacements(path, "Li", 200.0).frame_time == 0.2
    with pytest.raises(DataError, match="are 200 fs apart, and 100 are given"):
        read_displacements(path, "Li", 100.0)
    write(path, frames[:20] + frames[22:])
    with pytest.raises(DataError, match="not equally far apart in time .*3800, 4400 of frames 19, 20"):
        read_displacements(path, "Li")
    # as after a restart from an earlier frame, which writes it again
    write(path, frames[:20] + frames[19:])
    with pytest.raises(DataError, match="frame 20 has the same positions as frame 19"):
        read_displacements(path, "Li")


def test_steps_of_a_dump_must_be_equally_far_apart(tmp_path):
    path, moved = tmp_path / "run.dump", walk(2e-5, frames=30, ions=6)
    dump(path, moved, ("Li", "S"))
    text = path.read_text()
    path.write_text(text.replace("TIMESTEP\n1500\n", "TIMESTEP\n1550\n"))
    with pytest.raises(DataError, match="step 0, 100 of frames 0, 1, and 1400, 1550 of frames 14, 15"):
        read_displacements(path, "Li", 200.0)


def test_broken_files_name_the_frame(tmp_path):
    path = tmp_path / "run.extxyz"
    write(path, frames_of(walk(2e-5, frames=40, ions=6)))
    lines = path.read_text().splitlines()
    path.write_text("\n".join(lines[: 8 * 30 + 5]) + "\n")
    with pytest.raises(DataError, match="frame 30 can't be read"):
        read_displacements(path, "Li")


def test_a_vacuum_is_found(tmp_path):
    frames = frames_of(walk(2e-6, frames=30, ions=300), "Li299S")
    write(tmp_path / "bulk.traj", frames)
    assert read_displacements(tmp_path / "bulk.traj", "Li").vacuum == ()
    for atoms in frames:
        atoms.cell[2, 2] += 30.0
    write(tmp_path / "slab.traj", frames)
    assert read_displacements(tmp_path / "slab.traj", "Li").vacuum == (2,)


def test_the_command_needs_the_temperature_of_a_trajectory(tmp_path, monkeypatch):
    from gnnpot.cli import conductivity

    monkeypatch.chdir(tmp_path)
    app = typer.Typer()
    conductivity.register(app)
    app.command("other")(lambda: None)

    def run(line):
        return CliRunner().invoke(app, shlex.split(line))

    write("run.extxyz", frames_of(walk(2e-5, frames=40, ions=6)))
    error = run("conductivity --trajectory run.extxyz --ion Li").exception
    assert isinstance(error, ConfigError) and "--temperatures: is not given" in str(error)
    error = run("conductivity run.extxyz --trajectory run.extxyz --ion Li -T 600").exception
    assert isinstance(error, ConfigError) and "give one of them" in str(error)
    assert run("conductivity --trajectory run.extxyz --ion Li -T 600K").exit_code == 0
