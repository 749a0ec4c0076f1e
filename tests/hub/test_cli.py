"""gnnpot models and gnnpot import, and names wherever a command takes a model."""

import json

import pytest
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from typer.testing import CliRunner

from gnnpot.cli import app
from gnnpot.errors import CheckpointError, DownloadError
from gnnpot.hub.cache import checkpoint_folder
from gnnpot.hub.checkpoint import load_checkpoint, save_checkpoint
from gnnpot.properties import contract
from gnnpot.properties.contract import Check


@pytest.fixture
def run(entries, tmp_path, monkeypatch):
    """A function that runs a command line in a folder with a crystal in it."""
    monkeypatch.chdir(tmp_path)
    salt = bulk("NaCl", "rocksalt", 5.6)
    salt.write("salt.cif")
    salt.calc = SinglePointCalculator(salt, energy=-6.7)
    write("salt.extxyz", salt)
    return lambda line: CliRunner().invoke(app, line.split())


def test_models_before_and_after_an_import(run, cache):
    before = json.loads(run("models --json").stdout)
    assert [row["name"] for row in before] == ["web@LOW", "web@HIGH", "wheel-a", "wheel-b"]
    assert not any(row["cached"] for row in before) and not cache.exists()
    result = run("import web@HIGH web")
    assert result.exit_code == 0 and str(checkpoint_folder("web@HIGH")) in result.stdout
    after = json.loads(run("models --json").stdout)
    assert [row["cached"] for row in after] == [True, True, False, False]
    row = after[0]
    assert row["bytes"] == 10240 and row["licence"] == "MIT" and row["energy_reference"] == "raw PBE"
    shown = run("models").stdout
    assert all(row["name"] in shown for row in after) and "here" in shown


def test_the_table_fits_a_narrow_terminal(cache):
    lines = CliRunner().invoke(app, ["models"]).stdout.splitlines()
    assert max(map(len, lines)) <= 80 and not any("…" in line for line in lines)


@pytest.mark.parametrize(
    ("line", "error", "words"),
    [
        ("import web wheel_a", CheckpointError, "did you mean 'wheel-a'"),
        ("import wheel-a", DownloadError, "pip can't get its wheel"),
        ("card web@MIDDLE", CheckpointError, "no fidelity 'MIDDLE'"),
        ("check wheel_b", CheckpointError, "did you mean 'wheel-b'"),
        ("relax salt.cif --model wbe -q", CheckpointError, "did you mean 'web'"),
    ],
)
def test_errors_are_sentences(run, line, error, words):
    result = run(line)
    assert isinstance(result.exception, error) and words in str(result.exception), result.output
    # a wrong name is found before anything is fetched
    assert not checkpoint_folder("web@LOW").exists()


@pytest.mark.parametrize(
    "line",
    [
        "relax salt.cif --model web --steps 1 -q",
        "md salt.cif --model web@HIGH --steps 1 -q",
        "evaluate web salt.extxyz --stress none",
        "card web",
    ],
)
def test_every_command_takes_a_name(run, line):
    result = run(line)
    # status 3: one step is too few to relax
    assert result.exit_code in (0, 3) and not isinstance(result.exception, CheckpointError), result.output


@pytest.fixture
def short_contract(monkeypatch):
    """The contract has tests of its own, and takes long."""
    held = Check("rotation", "crystal", "energy", 0.0, 1e-8, "eV/atom", "passed")
    monkeypatch.setattr(contract, "check_contract", lambda *_, **__: contract.ContractReport((held,)))


def test_card_and_check_show_the_reference_energies(run, short_contract):
    shown = run("card web@HIGH").stdout
    assert "web@HIGH" in shown and "raw PBE" not in shown and "made-up 1.0" in shown
    result = run("check web salt.cif")
    assert "Energies by made-up 1.0, and here" in result.stdout and "SrTiO3" in result.stdout, result.output
    assert "FAILED" not in result.stdout and "float64, torch" in result.stdout and result.exit_code == 0


def test_check_fails_where_the_energies_are_others(run, short_contract):
    folder = checkpoint_folder("web@LOW")
    run("import web")
    potential, card = load_checkpoint(folder)
    potential.energy_scale.mul_(1.01)
    save_checkpoint(folder, potential, card, overwrite=True)
    result = run("check web salt.cif")
    assert "FAILED" in result.stdout and result.exit_code == 3


def test_force_imports_anew(run):
    run("import web")
    weights = checkpoint_folder("web@LOW") / "model.safetensors"
    weights.write_bytes(b"damaged")
    assert run("import web").exit_code == 0 and weights.read_bytes() == b"damaged"
    assert run("import web --force").exit_code == 0
    assert load_checkpoint(weights.parent)


@pytest.mark.parametrize("command", ["models", "import"])
def test_help_has_an_example(run, command):
    assert f"Example: gnnpot {command}" in run(f"{command} --help").output


def test_what_cannot_be_imported_does_not_keep_the_others(run, cache):
    """The others are imported; what failed is named at the end, with an exit status."""
    result = run("import wheel-a web@HIGH")
    assert isinstance(result.exception, CheckpointError)
    assert "1 of 2 were not imported:\nwheel-a: " in str(result.exception) and "pip" in str(result.exception)
    assert (checkpoint_folder("web@HIGH") / "card.json").exists() and "web@HIGH" in result.stdout


def test_what_they_keep_of_physics_is_shown(run):
    shown = run("models --physics").stdout
    assert "mirrored" in shown and "dispersion" in shown and "web@HIGH" in shown
    run("import web")
    # of a name that nobody has looked at
    assert "not known" in run("card web").stdout
