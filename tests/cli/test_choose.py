"""`gnnpot data choose`, as a user types it."""

import pytest
from ase.build import bulk
from ase.io import read, write

from gnnpot.cli import choose
from gnnpot.errors import ConfigError, DataError
from tests.cli.conftest import typed


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    images = [bulk("Cu", cubic=True).repeat(2) for _ in range(8)]
    for seed, atoms in enumerate(images):
        atoms.rattle(0.01 if seed < 6 else 0.3, seed=seed)
    write("md.traj", images)
    return typed(choose)


@pytest.mark.parametrize("name", ["chosen.extxyz", "chosen.extxyz.gz", "chosen.traj"])
def test_the_chosen_are_written_with_their_places(run, name):
    assert "Example: gnnpot data choose" in run("--help")
    out = run("md.traj", "-n", "3", "-o", name, "-q")
    images, chosen = read("md.traj", ":"), read(name, ":")
    assert len(chosen) == 3 and "md.traj" in out and "distance" in out
    assert {6, 7} < {atoms.info["chosen"] for atoms in chosen}
    for atoms in chosen:
        assert abs(atoms.positions - images[atoms.info["chosen"]].positions).max() < 1e-6


def test_what_is_wrong_is_said_before_any_work(run, tmp_path):
    (tmp_path / "old.extxyz").write_text("kept")
    for arguments, error, problem in [
        (("md.traj", "-n", "9", "-o", "a.extxyz"), ConfigError, "9 can't be chosen of 8 frames"),
        (("md.traj", "-n", "2", "-o", "old.extxyz"), DataError, "exists already"),
        (("md.traj", "-n", "2", "-o", "a.vasp"), DataError, "no file of many structures"),
        (("md.traj", "-n", "2", "-o", "a.nonsense"), DataError, "no file of many structures"),
        (("md.traj", "-n", "2", "-o", "gone/a.extxyz"), DataError, "does not exist"),
        (("none.traj", "-n", "2", "-o", "a.extxyz"), DataError, "none.traj"),
    ]:
        with pytest.raises(error, match=problem):
            run(*arguments, "-q")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["md.traj", "old.extxyz"]
    assert (tmp_path / "old.extxyz").read_text() == "kept"
