"""`gnnpot label`, as a user types it."""

import pytest
from ase.build import bulk
from ase.io import write

from gnnpot.cli import label
from gnnpot.data import FrameStore
from gnnpot.errors import ConfigError, DataError
from tests.cli.conftest import typed

EMT = "ase.calculators.emt:EMT"


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write("cu.cif", bulk("Cu", cubic=True))
    write("POSCAR", bulk("Al", cubic=True))
    write("more.extxyz", [bulk("Ag"), bulk("Si")])
    return typed(label)


def test_structures_of_any_format_become_a_store(run):
    assert "Example: gnnpot label" in run("--help")
    out = run(
        "cu.cif", "POSCAR", "more.extxyz", "-m", EMT, "-o", "a.store", "-q", "--distort", "rattled rattle=0.05 count=2",
        "--distort", "original", "--seed", "4",
    )  # fmt: skip
    store = FrameStore("a.store", verify="sha256")
    assert len(store) == 9 and "labeller failed: NotImplementedError: 3" in out
    assert [f.provenance.source for f in store][::3] == ["cu.cif", "POSCAR", "more.extxyz"]
    assert store[0].provenance.code.startswith(f"{EMT} (ase 3.") and "seed 4" in store[0].provenance.source_id
    again = run("a.store", "-m", EMT, "-o", "b.store", "-q", "--distort", "original")
    assert "9 of 9 frames" in again and FrameStore("b.store")[0].energy == store[0].energy


def test_what_is_wrong_is_said_before_any_work(run, tmp_path):
    for arguments, error, problem in [
        (("cu.cif", "-m", "no.such:EMT"), ConfigError, "can't be imported"),
        (("none.cif", "-m", EMT), DataError, "none.cif: there is no such file"),
        (("cu.cif", "-m", EMT, "--distort", "boiled"), ConfigError, "kind 'boiled' is not known"),
        (("cu.cif", "-m", EMT, "--config", "none.yaml"), ConfigError, "none.yaml: can't be read"),
    ]:
        with pytest.raises(error, match=problem):
            run(*arguments, "-o", "x.store")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["POSCAR", "cu.cif", "more.extxyz"]
