"""The commands relax, md, check and card, as a user types them."""

import json
import re

import numpy as np
import pytest
import typer
from ase.build import bulk
from ase.io import read
from typer.testing import CliRunner

from gnnpot import cli
from gnnpot.cli import inspect, simulate
from gnnpot.data.references import ElementReferences
from gnnpot.errors import CheckpointError, ConfigError, DataError
from gnnpot.hub.checkpoint import Card, save_checkpoint
from gnnpot.models.m3gnet import M3GNet, M3GNetConfig
from gnnpot.potential import Potential

EMT = "ase.calculators.emt:EMT"


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A function that runs a command line in an empty folder with a squeezed copper crystal in it."""
    monkeypatch.chdir(tmp_path)
    atoms = bulk("Cu", cubic=True, a=3.45)
    atoms.rattle(0.05, seed=1)
    atoms.write("cu.cif")
    app = typer.Typer()
    for module in (simulate, inspect):
        module.register(app)

    def invoke(line: str):
        return CliRunner().invoke(app, line.split())

    return invoke


@pytest.fixture
def checkpoint(tmp_path):
    model = M3GNet(M3GNetConfig(elements=("Cu",), units=8, blocks=1, max_n=2, max_l=2))
    potential = Potential(model, ElementReferences.from_mapping({"energies": {"Cu": -3.5}}))
    card = Card(name="tiny", licence="MIT", metrics={"test": {"energy_mae": 0.0123}}, training={"epochs": 3})
    return save_checkpoint(tmp_path / "tiny", potential, card)


def test_relax(run):
    result = run(f"relax cu.cif --model {EMT}")
    assert result.exit_code == 0 and "converged" in result.output
    relaxed = read("cu-relaxed.extxyz")
    assert np.abs(relaxed.get_forces()).max() < 0.01
    assert isinstance(run(f"relax cu.cif --model {EMT}").exception, DataError)
    assert run(f"relax cu.cif --model {EMT} --overwrite -q --steps 1").exit_code == 3


def test_relax_to_an_unknown_format(run):
    assert "ending" in str(run(f"relax cu.cif --model {EMT} -q -o out.nonsense").exception)


def test_md_and_resume(run):
    assert run(f"md cu.cif --model {EMT} --steps 20 -q").exit_code == 0
    assert len(read("cu-md.traj", ":")) == 3
    assert run(f"md cu.cif --model {EMT} --steps 40 -q --resume").exit_code == 0
    assert len(read("cu-md.traj", ":")) == 5
    assert isinstance(run(f"md cu.cif --model {EMT} -q").exception, DataError)


def test_md_prints_json_with_units(run):
    found = json.loads(run(f"md cu.cif --model {EMT} --steps 10 --interval 5 -q --json").stdout)
    assert found["model"] == EMT and found["steps"] == 10 and found["time_fs"] == 10 and found["atoms"] == 4
    # compressed
    assert found["pressure_GPa"] > 5 and found["temperature_K"] > 100
    assert found["potential_energy_eV_per_atom"] == pytest.approx(found["potential_energy_eV"] / 4)
    assert found["log"] == "cu-md.log" and found["volume_A3"] is None


def test_the_temperature_where_a_run_is_stopped_can_be_raised(run, monkeypatch, capsys):
    """Both messages name the option of the command."""
    for line in ("-T 25000", "-T 10 --max-temperature 11 --steps 50"):
        monkeypatch.setattr("sys.argv", f"gnnpot md cu.cif --model {EMT} -q {line} --overwrite".split())
        with pytest.raises(SystemExit):
            cli.main()
        said = " ".join(capsys.readouterr().err.split())
        assert said.startswith("error: ") and said.endswith("raise --max-temperature"), said
    assert run(f"md cu.cif --model {EMT} -T 25000 --max-temperature 99000 --steps 1 -q --overwrite").exit_code == 0


def test_a_gnnpot_checkpoint(run, checkpoint):
    assert run(f"md cu.cif --model {checkpoint} --steps 2 -q --dtype float64").exit_code == 0
    result = run(f"card {checkpoint} --all")
    assert result.exit_code == 0
    for word in ("tiny", "MIT", "m3gnet", "0.0123", "epochs"):
        assert word in result.output
    assert run(f"check {checkpoint} cu.cif").exit_code == 0


def test_a_card_names_the_elements_once(run):
    # gnnpot-1 has two parts, each of which lists them
    output = run("card gnnpot-1").output
    assert "terms[0].cutoff" in output and len(re.findall(r"^ {1,4}\S*elements ", output, flags=re.MULTILINE)) == 1


def test_check(run):
    result = run(f"check {EMT} --elements Cu,Ni --all")
    assert result.exit_code == 0 and "all checks hold" in result.output
    assert run("check ase.calculators.lj:LennardJones --elements Ar").exit_code == 3


@pytest.mark.parametrize(
    ("line", "error", "words"),
    [
        (f"relax none.cif --model {EMT}", DataError, "no such file"),
        ("md cu.cif --model ase.calculators.emt:Nothing", ConfigError, "module:Class"),
        ("md cu.cif --model math:sqrt", ConfigError, "can't be made without arguments"),
        ("md cu.cif --model nowhere", CheckpointError, "nowhere"),
        (f"check {EMT}", DataError, "--elements"),
        ("card nowhere", CheckpointError, "nowhere"),
        ("relax cu.cif --model nowhere --device quantum", ConfigError, "--device"),
        ("md cu.cif --pressure 2", ConfigError, "--pressure: has no effect in ensemble 'bussi'"),
        ("md cu.cif --ensemble langevin --taut 50 --taup 500", ConfigError, "--taut, --taup: has no effect"),
        ("md cu.cif --ensemble npt-full --friction 0.1", ConfigError, "--friction: has no effect"),
    ],
)
def test_errors_are_sentences(run, line, error, words):
    result = run(line)
    assert isinstance(result.exception, error), result.output
    assert words in str(result.exception)


@pytest.mark.parametrize("command", ["relax", "md", "check", "card"])
def test_help_has_an_example(run, command):
    assert f"Example: gnnpot {command}" in run(f"{command} --help").output


def test_a_calculator_that_computes_nothing_is_no_table_of_failures(run):
    result = run(f"check {EMT} --elements Na")
    assert isinstance(result.exception, DataError) and "No EMT-potential for Na" in str(result.exception)
    assert "FAILED" not in result.output
