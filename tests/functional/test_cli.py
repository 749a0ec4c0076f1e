"""`gnnpot functional …` as a user runs it."""

import json

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.io import write
from typer.testing import CliRunner

from gnnpot.cli import app
from gnnpot.errors import ConfigError, DataError, UnknownElementError
from gnnpot.functional.cube import read_cube
from gnnpot.functional.data import write_sample


@pytest.fixture
def run():
    def call(*words):
        result = CliRunner().invoke(app, ["functional", *map(str, words)])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result.stdout

    return call


@pytest.fixture
def silicon(tmp_path):
    path = tmp_path / "POSCAR"
    write(path, bulk("Si", "diamond", a=5.43), format="vasp")
    return path


@pytest.fixture
def folder(tmp_path, sample):
    path = tmp_path / "samples"
    path.mkdir()
    write_sample(sample, path / f"{sample.name}.npz")
    return path


def test_solve_writes_a_density_and_starts_from_it(run, silicon, tmp_path):
    cube = tmp_path / "rho.cube"
    text = run("solve", silicon, "-o", cube)
    assert "total" in text and "stress" in text and "8 electrons" not in text
    atoms, density = read_cube(cube)
    assert density.sum() * atoms.get_volume() / 0.529177**3 / density.size == pytest.approx(8, abs=1e-3)
    assert "steps on 16 x 16 x 16 points" in run("solve", silicon, "-f", "wt", "--start", cube)
    with pytest.raises(DataError, match="rho.cube: exists already"):
        run("solve", silicon, "-o", cube)
    with pytest.raises(ConfigError, match="rho.cube"):
        run("solve", silicon, "-o", cube, "--start", cube, "--overwrite")


def test_train_and_evaluate(run, folder, tmp_path):
    config = tmp_path / "train.yaml"
    config.write_text(
        "network: {channels: 2, hidden: 4}\nsoap_steps: 2\nstages: [{evaluations: 1, potential: 0.03, energy: 10.0}]\n"
    )
    run("train", folder, "-o", tmp_path / "run", "--config", config, "-q")
    card = json.loads((tmp_path / "run/model/card.json").read_text())
    assert card["crystals"] == ["GaAs"] and card["network"]["channels"] == 2
    text = run("evaluate", "wt", folder, "-o", tmp_path / "errors.json", "-q")
    assert "GaAs-quick" in text
    assert 0.05 < json.loads((tmp_path / "errors.json").read_text())[0]["density_error"] < 0.15
    with pytest.raises(ConfigError, match="--without Ge: there is no such crystal"):
        run("train", folder, "-o", tmp_path / "other", "--without", "Ge", "-q")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("- a", "expected a mapping of options"),
        ("network:", "network: expected a mapping of options"),
        ("network: 3", "network: expected a mapping of options"),
        ("network: {gaussians: 1}", "network: gaussians: 1 is not a whole number from 2 on"),
    ],
)
def test_a_wrong_configuration_is_refused_with_a_seed_too(run, folder, tmp_path, text, problem):
    config = tmp_path / "train.yaml"
    config.write_text(text)
    for seed in ((), ("--seed", 1)):
        with pytest.raises(ConfigError, match=problem):
            run("train", folder, "-o", tmp_path / "run", "--config", config, "-q", *seed)


def test_molecules_are_refused(run, tmp_path):
    path = tmp_path / "pair.xyz"
    write(path, Atoms("Si2", [[0, 0, 0], [0, 0, 2.2]]))
    for words in (("plot", path, "-o", tmp_path / "p.png"), ("data", tmp_path / "out", "--structures", path, "-q")):
        with pytest.raises(DataError, match="pair.*: is not periodic in three directions"):
            run(*words)
    assert not (tmp_path / "out").exists()


def test_plot(run, silicon, tmp_path):
    run("plot", silicon, "-f", "gnnpot-kedf-1", "-f", "tfvw", "-o", tmp_path / "density.png")
    assert (tmp_path / "density.png").stat().st_size > 20000


def test_plot_of_an_atom_far_from_its_images(run, tmp_path):
    path = tmp_path / "atom.vasp"
    write(path, Atoms("Li", cell=[6.5, 6.5, 6.5], pbc=True), format="vasp")
    run("plot", path, "-f", "tfvw", "-o", tmp_path / "atom.png")
    assert (tmp_path / "atom.png").stat().st_size > 10_000


def test_data_of_a_file_refuses_unknown_elements_before_any_work(run, tmp_path):
    write(tmp_path / "salt.extxyz", [bulk("Si"), bulk("NaCl", "rocksalt", a=5.6)])
    with pytest.raises(UnknownElementError, match="Cl, Na: there is no local pseudopotential of these elements"):
        run("data", tmp_path / "out", "--structures", tmp_path / "salt.extxyz", "-q")
    assert not (tmp_path / "out").exists()
    with pytest.raises(DataError, match="holds no samples; make them with gnnpot functional data"):
        run("evaluate", "wt", tmp_path)


def test_density_of_a_cube_file_must_fit(run, silicon, tmp_path):
    cube = tmp_path / "rho.cube"
    run("solve", silicon, "-o", cube, "-f", "wt")
    other = tmp_path / "other.vasp"
    write(other, bulk("Si", "diamond", a=6.4), format="vasp")
    with pytest.raises(DataError, match="density: has .* points|density: holds"):
        run("solve", other, "--start", cube)
    assert np.isfinite(read_cube(cube)[1]).all()
