"""Structures and runs of the tests of many structures."""

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest
from ase import Atoms
from ase.build import bulk
from ase.io import write

from tests.child_process import environment

ROOT = Path(__file__).parents[3]
EMT = "ase.calculators.emt:EMT"
#: few steps
OPTIONS = ("--fmax", "0.2", "--cell", "none")
FILES = ("structures.extxyz", "failed.extxyz", "table.parquet")


def pool() -> list[Atoms]:
    """Ten crystals; number 3 is of gold, two atoms of number 6 stand at one place."""
    found = []
    for k, symbol in enumerate(("Cu", "Al", "Ni", "Au", "Cu", "Al", "Pt", "Ni", "Cu", "Al")):
        atoms = bulk(symbol, cubic=True)
        atoms.rattle(0.05, seed=k)
        atoms.info["name"] = f"crystal {k}"
        found.append(atoms)
    found[6].positions[1] = found[6].positions[0]
    return found


@pytest.fixture
def file(tmp_path) -> Path:
    path = tmp_path / "pool.extxyz"
    write(path, pool())
    return path


def digests(folder: Path) -> dict[str, str]:
    """Of the results; `run.json` names the model, which is another where it kills."""
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in FILES}


def gnnpot(*words: object, before: tuple[str, ...] = (), kill: Path | None = None) -> subprocess.CompletedProcess:
    """Run a command in a process of its own, started by `before`."""
    variables = environment(OMP_NUM_THREADS="1")
    if kill is not None:
        variables["KILL"] = str(kill)
    command = [*before, sys.executable, "-m", "gnnpot", *map(str, words)]
    return subprocess.run(command, env=variables, capture_output=True, text=True, check=False, timeout=900)
