"""scripts/gnnpot-1/make_equations_of_state.py keeps aside what is measured by, and what means something else."""

from pathlib import Path

import pytest
import yaml
from ase.build import bulk
from ase.io import read, write

from gnnpot.data.splits import part_of_material

ROOT = Path(__file__).parents[2]


@pytest.fixture
def script(load_script):
    return load_script("gnnpot-1/make_equations_of_state.py")


def test_what_is_learnt_from_is_neither_measured_nor_magnetic(script, tmp_path):
    crystals = []
    for symbol in ("Na", "Cu", "Al", "W", "Si", "Fe", "Gd", "Po"):
        for structure in ("fcc", "bcc", "sc"):
            atoms = bulk(symbol, structure, a=4.0)
            atoms.info["acwf"] = f"{symbol}-X/{structure.upper()}"
            crystals.append(atoms)
    write(tmp_path / "all.extxyz.gz", crystals, format="extxyz")
    script.main(tmp_path / "all.extxyz.gz", tmp_path / "learnt.extxyz.gz")
    learnt = {atoms.info["acwf"] for atoms in read(tmp_path / "learnt.extxyz.gz", ":")}
    held_out = {a.info["acwf"] for a in crystals if part_of_material(a.info["acwf"], script.FRACTIONS) == "test"}
    assert held_out and learnt and not learnt & held_out
    others = {a.info["acwf"] for a in crystals if set(a.symbols) & {"Fe", "Gd", "Po"}}
    assert learnt == {a.info["acwf"] for a in crystals} - held_out - others


@pytest.mark.parametrize("name", ["train", "train-again"])
def test_training_holds_out_by_the_same_split(script, name):
    split = yaml.safe_load((ROOT / "scripts" / "gnnpot-1" / f"{name}.yaml").read_text())["data"]["split"]
    assert split["test"] == script.FRACTIONS["test"] and split["validation"] == script.FRACTIONS["validation"]
    assert split["seed"] == 0 and split["by"] == "material"
