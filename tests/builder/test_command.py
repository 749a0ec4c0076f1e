"""`gnnpot build` as a user calls it."""

import json

import pytest
from ase.io import read
from typer.testing import CliRunner

from gnnpot.cli import app
from gnnpot.errors import BuilderError, ConfigError, GnnpotError


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def call(*words):
        result = CliRunner().invoke(app, ["build", *words])
        if isinstance(result.exception, GnnpotError):
            raise result.exception
        return result

    return call


def test_a_sentence_becomes_a_file(run, tmp_path):
    result = run("Cu(111) 2x2、3層、真空層12Å、下1層固定", "-o", "cu.extxyz", "--save-recipe", "cu.json")
    assert result.exit_code == 0 and "Cu12" in result.output and "12原子" not in result.output
    atoms = read(tmp_path / "cu.extxyz")
    assert len(atoms) == 12 and len(atoms.constraints[0].index) == 4
    again = run("--recipe", "cu.json", "-o", "again.cif")
    assert again.exit_code == 0 and len(read(tmp_path / "again.cif")) == 12


def test_sentences_follow_on_and_relax(run, tmp_path):
    result = run("Cu 2x2x2", "remove one Cu", "--relax", "ase.calculators.emt:EMT", "-o", "cu.extxyz")
    assert result.exit_code == 0 and "relaxed" in result.output
    assert len(read(tmp_path / "cu.extxyz")) == 31


def test_explain_builds_nothing(run, tmp_path):
    result = run("CeO2(111)表面にPt13クラスターを担持", "--explain", "--save-recipe", "x.json")
    assert "粒子を載せる" in result.output
    assert json.loads((tmp_path / "x.json").read_text())["steps"][0]["formula"] == "CeO2"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--explain", "-o", "cu.cif"), "--output: has no effect here, --explain builds nothing"),
        (("--fmax", "0.1"), "--fmax: has no effect here, it needs --relax"),
        (("--yes",), "--yes: has no effect here, it needs --llm"),
    ],
)
def test_options_without_effect_are_refused(run, options, words):
    with pytest.raises(ConfigError, match=words):
        run("bulk Cu", *options)


def test_errors_come_before_files(run, tmp_path):
    (tmp_path / "there.cif").write_text("mine")
    with pytest.raises(GnnpotError, match="there.cif"):
        run("bulk Cu", "-o", "there.cif")
    with pytest.raises(BuilderError, match="florble"):
        run("Cu florble", "-o", "new.cif")
    with pytest.raises(BuilderError, match="say what to build"):
        run()
    assert (tmp_path / "there.cif").read_text() == "mine" and not (tmp_path / "new.cif").exists()
