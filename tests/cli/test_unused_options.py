"""An option that would have no effect is refused in one sentence, and nothing is written."""

import json
import shlex

import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.io import write
from typer.testing import CliRunner

from gnnpot.cli import app
from gnnpot.data import bundled_path
from gnnpot.errors import ConfigError

POTENTIAL = "-m ase.calculators.emt:EMT"


@pytest.fixture
def files(tmp_path, monkeypatch):
    """The working folder, with two crystals."""
    monkeypatch.chdir(tmp_path)
    atoms = bulk("Cu", cubic=True)
    write("cu.cif", atoms)
    atoms.calc = EMT()
    atoms.get_stress()
    write("frames.extxyz", [atoms, atoms])
    return tmp_path


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (f"label cu.cif {POTENTIAL} --melt-model gnnpot-1 -o x", "--melt-model: moves atoms for the distortion"),
        ("data mp -o x --table nowhere --endpoint http://a", "--endpoint: is asked only for --with-ids"),
        ("data mp -o x --mptrj nowhere.json --task-types Static", "--task-types: selects tasks of the table"),
        (f"relax cu.cif {POTENTIAL} --cell none --stress-max 1", "--stress-max: has no effect with --cell none"),
        (f"check {POTENTIAL[3:]} cu.cif --elements Cu", "--elements: is of built structures"),
        ("build copper --explain --llm --yes", "--yes: has no effect here, --explain builds nothing"),
        ("property --set a=1 --json", "--set, --json: has no effect on the list of properties"),
        ("property elastic -m gnnpot-1", "--model: has no effect on the list of options"),
        ("property rdf frames.extxyz --index 0", "--index: has no effect on rdf, which is of a whole file"),
        ("property rdf frames.extxyz --dtype float64", "--dtype: has no effect on rdf, which needs no potential"),
        ("evaluate gnnpot-1 --suite phonons --picoseconds 1", "--picoseconds: is for --suite dynamics"),
        ("evaluate gnnpot-1 --suite phonons --seed 1", "--seed: is for --suite relaxations or dynamics"),
        ("evaluate gnnpot-1 --suite speed --data frames.extxyz", "--data: is for any suite but speed"),
        ("evaluate gnnpot-1 frames.extxyz --stress none --stress-key s", "--stress-key: has no effect with --stress"),
    ],
)  # fmt: skip
def test_options_without_effect_are_refused(files, line, words):
    before = sorted(files.iterdir())
    found = CliRunner().invoke(app, shlex.split(line))
    assert isinstance(found.exception, ConfigError), found.output
    assert str(found.exception).startswith(words) and sorted(files.iterdir()) == before


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("--fractions train=0.5,test=0.5", "--fractions: has no effect on a split by the published files"),
        ("--seed 3", "--seed: has no effect on a split by the published files"),
    ],
)
def test_a_split_by_source_has_neither_fractions_nor_chance(files, options, words):
    assert CliRunner().invoke(app, ["data", "convert", str(bundled_path()), "-o", "a.store"]).exit_code == 0
    line = "data split a.store -o s.json --by source --part train=bundled"
    found = CliRunner().invoke(app, shlex.split(f"{line} {options}"))
    assert isinstance(found.exception, ConfigError), found.output
    assert str(found.exception).startswith(words) and not (files / "s.json").exists()


def test_no_ranges_of_a_file_either(files):
    line = ["data", "info", "frames.extxyz", "--json"]
    assert json.loads(CliRunner().invoke(app, line).stdout)["ranges"]
    assert not json.loads(CliRunner().invoke(app, [*line, "--no-ranges"]).stdout)["ranges"]


def test_a_model_for_melting_is_used_with_melting(files):
    """Also where the distortion is that of a configuration."""
    (files / "label.yaml").write_text("distortions: [{kind: melted, steps: 2, count: 1}]\n")
    line = f"label cu.cif {POTENTIAL} --melt-model {POTENTIAL[3:]} -o x -q --config label.yaml"
    found = CliRunner().invoke(app, shlex.split(line))
    assert found.exit_code == 0, found.output
