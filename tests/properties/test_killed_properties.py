"""Every property that calculates: killed half-way, the same command continues, to the same result."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from ase.build import bulk, fcc111

from gnnpot.properties.options import arguments_of
from gnnpot.properties.registry import find_property, property_names
from tests.child_process import environment
from tests.properties.killed import Mortal, property_command

ROOT = Path(__file__).parents[2]
#: structure and options of each
CASES = {
    "adsorption": ("slab", ["molecule=CO", "binding_atom=1", "fmax=0.2"]),
    "dimers": ("Cu", []),
    "elastic": ("Cu", []),
    "equation-of-state": ("Cu", []),
    "formation-energy": ("CuAl", ["references=[Cu.vasp, Al.vasp]"]),
    "interstitial": ("Al", ["most=2", "supercell=[2,2,2]", "fmax=0.1"]),
    "neb": ("Al", ["ion=Al", "images=1", "supercell=[2,2,2]", "fmax=0.1"]),
    "phonons": ("Cu", ["supercell=[2,2,2]", "mesh_length=20"]),
    "quasi-harmonic": ("Cu", ["supercell=[2,2,2]", "mesh_length=20"]),
    "surface": ("Cu", ["thickness=6", "vacuum=8", "fmax=0.05"]),
    "thermal-conductivity": ("Cu", ["supercell=[2,2,2]", "mesh=[3,3,3]", "temperatures=[300]"]),
    "vacancy": ("Al", ["supercell=[2,2,2]", "fmax=0.05"]),
    "voltage": ("CuAl", ["ion=Al", "metal=Al.vasp", "fmax=0.05"]),
}


def words_of(name: str, output: str) -> list[str]:
    structure, options = CASES[name]
    return [name, f"{structure}.vasp", "-o", output, *(word for option in options for word in ("--set", option))]


def calculations(words: list[str]) -> int:
    """How many a command makes here."""
    Mortal.left = 10**9
    property_command(words)
    return 10**9 - Mortal.left


def test_all_that_calculate_are_killed():
    assert set(CASES) == {name for name in property_names() if arguments_of(find_property(name).calc).needs_calculator}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_killed_half_way_the_same_command_continues(tmp_path, monkeypatch):
    pytest.importorskip("phono3py", reason="needs phono3py: pip install gnnpot[properties]")
    monkeypatch.chdir(tmp_path)
    for symbol in ("Cu", "Al"):
        bulk(symbol).write(f"{symbol}.vasp")
    ordered = bulk("Cu", a=3.8, cubic=True)
    ordered.symbols[:2] = "Al"
    ordered.write("CuAl.vasp", sort=True)
    fcc111("Cu", (1, 1, 2), vacuum=6.0).write("slab.vasp")
    counts = {name: calculations(words_of(name, f"whole/{name}")) for name in CASES}
    assert min(counts.values()) >= 4, counts
    runs = [(words_of(name, f"killed/{name}"), counts[name] // 2) for name in CASES]
    command = [sys.executable, "-c", "from tests.properties.killed import main; main()", json.dumps(runs)]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [signal.SIGKILL] * len(CASES)
    for name in CASES:
        file = Path("killed", name, f"{name}.json")
        assert not file.exists(), name
        # what was calculated before is not calculated again
        assert calculations(words_of(name, f"killed/{name}")) == counts[name] - counts[name] // 2, name
        whole, resumed = (json.loads(Path(f, name, f"{name}.json").read_text()) for f in ("whole", "killed"))
        assert json.dumps(whole) == json.dumps(resumed), name
