"""gnnpot property: options from signatures, results in files, runs that are interrupted."""

import json
import sys

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from typer.testing import CliRunner

from gnnpot.cli import app
from gnnpot.engines.recorded import RecordedCalculator
from gnnpot.errors import ConfigError, DataError
from gnnpot.hub.card import read_card
from gnnpot.hub.locating import locate
from gnnpot.properties import diffusion, elastic, formation_energy, neb, rdf, vacancy
from gnnpot.properties.options import arguments_of, read_options
from gnnpot.properties.registry import find_property, property_names
from gnnpot.runs.results_log import ResultsLog
from gnnpot.workflows.many import PropertyOf


class Interrupted(EMT):
    """Is stopped after some calculations; `ase.calculators.emt:EMT` of a user who presses Ctrl-C."""

    left = 10**9

    def calculate(self, *args, **kwargs):
        if Interrupted.left <= 0:
            raise KeyboardInterrupt
        Interrupted.left -= 1
        super().calculate(*args, **kwargs)


@pytest.fixture
def copper(tmp_path):
    path = tmp_path / "cu.vasp"
    bulk("Cu", a=3.7).write(path)
    return path


def run(*words) -> tuple[int, str]:
    found = CliRunner().invoke(app, ["property", *map(str, words)])
    if found.exception is not None and not isinstance(found.exception, SystemExit):
        raise found.exception
    return found.exit_code, found.stdout


def test_every_property_has_its_options_and_a_sentence():
    for name in property_names():
        found = find_property(name)
        assert arguments_of(found.calc).options, name
    code, text = run()
    assert code == 0 and "Elastic tensor of a crystal" in text
    code, text = run("elastic")
    assert "strains" in text and "of equation (1), at least" in " ".join(text.split())


def test_options_are_checked_against_the_signature(tmp_path):
    bulk("Au").write(tmp_path / "au.cif")
    path = str(tmp_path / "au.cif")
    values = read_options(vacancy.calc, {"references": {"Au": path}, "supercell": [2, 2, 2]}, where="vacancy")
    assert values["config"].references["Au"].symbols[0] == "Au" and values["config"].supercell == (2, 2, 2)
    assert read_options(neb.calc, {"final": path}, where="neb")["config"].final.symbols[0] == "Au"
    assert len(read_options(formation_energy.calc, {"references": [path, path]}, where="x")["config"].references) == 2
    assert read_options(formation_energy.calc, {"entries": "a.json"}, where="x")["config"].entries.name == "a.json"
    # of another package, options may be arguments
    assert read_options(lambda atoms, calculator, *, size=2: size, {}, where="x") == {}
    assert arguments_of(rdf.calc).takes_trajectory and not arguments_of(rdf.calc).needs_calculator
    with pytest.raises(ConfigError, match="unknown option 'strain'; did you mean 'strains'"):
        read_options(elastic.calc, {"strain": 1}, where="elastic")
    with pytest.raises(ConfigError, match="expected a list"):
        read_options(elastic.calc, {"strains": 0.1}, where="elastic")
    with pytest.raises(ConfigError, match="vacancy: length: -1.0 is not a number above 0"):
        read_options(vacancy.calc, {"length": -1.0}, where="vacancy")
    with pytest.raises(ConfigError, match="neb: give either final, the end, or ion"):
        read_options(neb.calc, {}, where="neb")
    with pytest.raises(ConfigError, match="diffusion: option 'ion' is missing"):
        read_options(diffusion.calc, {"temperature": 300}, where="diffusion")
    with pytest.raises(DataError, match="no such file"):
        read_options(neb.calc, {"final": "nothing.cif"}, where="neb")


def test_a_stopped_run_resumes_and_a_finished_one_is_shown(copper, monkeypatch):
    model = f"{__name__}:Interrupted"
    assert __name__ in sys.modules
    monkeypatch.setattr(Interrupted, "left", 20)
    words = ("elastic", copper, "-m", model, "-q", "--set", "fmax=0.01")
    assert run(*words)[0] != 0
    folder = copper.with_name("cu-elastic")
    assert not (folder / "elastic.json").exists()
    monkeypatch.setattr(Interrupted, "left", 10**9)
    assert run(*words)[0] == 0
    done = 10**9 - Interrupted.left
    monkeypatch.setattr(Interrupted, "left", 10**9)
    other = copper.with_name("again")
    assert run(*words, "-o", other)[0] == 0
    # what was calculated before the stop was not calculated again
    assert 10**9 - Interrupted.left == done + 20
    first, second = (json.loads((f / "elastic.json").read_text()) for f in (folder, other))
    assert first["result"] == second["result"] and first["model"] == model
    assert (folder / "elastic.png").stat().st_size > 10_000 and not (folder / "calculations").exists()
    monkeypatch.setattr(Interrupted, "left", 0)
    code, text = run(*words, "--json")
    assert code == 0 and json.loads(text) == first
    with pytest.raises(ConfigError, match="fmax"):
        run("elastic", copper, "-m", model, "-q", "--set", "fmax=0.02")


def test_a_call_that_is_stopped_between_its_two_files_resumes(copper, monkeypatch):
    words = ("equation-of-state", copper, "-m", "ase.calculators.emt:EMT", "-q")

    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("gnnpot.runs.files.write_text", stop)
        assert run(*words)[0] != 0
    folder = copper.with_name("cu-equation-of-state")
    assert (folder / "equation-of-state.png").exists() and not (folder / "equation-of-state.json").exists()
    assert run(*words)[0] == 0
    assert (folder / "equation-of-state.json").exists() and not (folder / "calculations").exists()


def test_another_file_by_the_name_of_an_option_is_another_property(copper):
    reference = copper.with_name("reference.vasp")
    bulk("Cu", a=3.7).write(reference)
    options = {"references": [str(reference)], "relax": False}
    words = ("formation-energy", copper, "-m", "ase.calculators.emt:EMT", "-q", "--json", "--set", "relax=false")
    words += ("--set", f"references=[{reference}]")
    _, first = run(*words)
    assert json.loads(first)["result"]["formation_energy_eV_atom"] == pytest.approx(0, abs=1e-9)
    assert run(*words)[1] == first
    many = PropertyOf("formation-energy", options).identity()
    bulk("Cu", a=3.6).write(reference)
    with pytest.raises(ConfigError, match="option_files_sha256"):
        run(*words)
    _, second = run(*words, "--fresh")
    assert json.loads(second)["result"]["formation_energy_eV_atom"] > 1e-3
    assert PropertyOf("formation-energy", options).identity() != many


def test_files_of_others_stay(copper):
    folder = copper.with_name("cu-elastic")
    folder.mkdir()
    (folder / "elastic.json").write_text("[1]")
    with pytest.raises(ConfigError, match="is no result"):
        run("elastic", copper, "-m", "ase.calculators.emt:EMT", "-q", "--fresh")
    assert (folder / "elastic.json").read_text() == "[1]"


def test_a_recorded_calculator_gives_the_same_to_the_last_bit(tmp_path):
    atoms = bulk("Cu", cubic=True)
    atoms.rattle(0.1, seed=1)
    with ResultsLog(tmp_path / "log", {}) as log:
        atoms.calc = RecordedCalculator(EMT(), log)
        forces, stress = atoms.get_forces(), atoms.get_stress()
        assert atoms.calc.calculated == 1
    with ResultsLog(tmp_path / "log", {}) as log:
        atoms.calc = RecordedCalculator(EMT(), log)
        assert np.array_equal(atoms.get_forces(), forces) and np.array_equal(atoms.get_stress(), stress)
        assert atoms.calc.calculated == 0
        atoms.positions[0, 0] += 1e-12
        atoms.get_potential_energy()
        assert atoms.calc.calculated == 1


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_result_names_the_weights_of_the_file_in_any_precision(copper, tmp_path, dtype):
    code, _ = run("equation-of-state", copper, "-m", "fast", "--dtype", dtype, "-o", tmp_path / "out")
    assert code == 0
    result = json.loads((tmp_path / "out/equation-of-state.json").read_text())
    assert result["weights_sha256"] == read_card(locate("gnnpot-1"))["weights_sha256"]
