"""The potential that comes with gnnpot: found without a name, in a checkout, and in a wheel installed elsewhere."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

import gnnpot
from gnnpot.cli import app
from gnnpot.errors import CheckpointError
from gnnpot.hub import opening
from gnnpot.hub.checkpoint import CARD, WEIGHTS, Card, load_checkpoint, save_checkpoint
from gnnpot.hub.registry import reference_structures
from gnnpot.hub.shipped import ALIASES, DEFAULT, shipped
from tests.hub.conftest import convert

ROOT = Path(__file__).parents[2]
LIMIT = 10_000_000  #: bytes


@pytest.fixture
def folder(entries, shelf) -> Path:
    """The default checkpoint of the test, on a shelf with another one."""
    for name in (DEFAULT, "another"):
        save_checkpoint(shelf / name, convert("", {})[0], Card(name=name, licence="MIT", energy_reference="raw PBE"))
    return shelf / DEFAULT


def energy(potential):
    return float(potential(potential.graph(reference_structures()[0])).energy)


def test_without_a_name_it_is_the_default(folder, server):
    expected = energy(convert("", {})[0])
    assert opening.locate() == opening.locate(DEFAULT) == folder
    assert opening.locate("another") == folder.parent / "another"
    assert energy(gnnpot.load()) == energy(gnnpot.load(DEFAULT)) == pytest.approx(expected, abs=1e-12)
    atoms = reference_structures()[0]
    atoms.calc = gnnpot.Calculator()
    assert atoms.get_potential_energy() == pytest.approx(expected, abs=1e-6)
    assert not server.asked


def test_a_folder_of_the_same_name_means_what_it_says(folder, tmp_path, monkeypatch):
    """A name finds a checkpoint in the working folder first, no name never does."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / DEFAULT).mkdir()
    assert opening.locate(DEFAULT) == folder
    save_checkpoint(tmp_path / DEFAULT, convert("", {})[0], Card(name="mine"), overwrite=True)
    assert opening.locate(DEFAULT) == Path(DEFAULT) and opening.locate() == folder


def test_a_copy_without_it_says_so(entries, shelf):
    for call in (gnnpot.load, gnnpot.Calculator, lambda: gnnpot.load(DEFAULT)):
        with pytest.raises(CheckpointError, match=f"{DEFAULT}: the default .* not in this copy .* name another"):
            call()
    shelf.rmdir()
    assert shipped() == {}


def test_damage_is_not_blamed_on_the_cache(folder):
    (folder / WEIGHTS).write_bytes(b"damaged")
    with pytest.raises(CheckpointError, match="is damaged") as raised:
        gnnpot.load()
    assert "import" not in str(raised.value)


def test_a_misspelt_name(folder):
    with pytest.raises(CheckpointError, match=f"did you mean '{DEFAULT}'"):
        gnnpot.load(DEFAULT.replace("-", ""))


def test_commands(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    reference_structures()[0].write("salt.cif")

    def run(line):
        result = CliRunner().invoke(app, line.split())
        assert result.exit_code in (0, 3) and not isinstance(result.exception, CheckpointError), result.output
        return result.stdout

    rows = json.loads(run("models --json"))
    assert [row["name"] for row in rows] == [DEFAULT, "another", "web@LOW", "web@HIGH", "wheel-a", "wheel-b"]
    size = sum((folder / name).stat().st_size for name in (CARD, WEIGHTS))
    first = rows[0]
    assert first["cached"] and first["bytes"] == size and first["elements"] == 5 and first["licence"] == "MIT"
    assert DEFAULT in run("models") and DEFAULT in run("card")
    run("relax salt.cif --steps 1 -q")
    run("md salt.cif --steps 1 -q")
    for command in ("relax", "md", "check", "card"):
        assert DEFAULT in run(f"{command} --help")


def test_what_is_shipped_here():
    """Small enough, whole, and with a card that says where it comes from."""
    found = shipped()
    if not found:
        pytest.skip("this checkout holds no checkpoint")
    assert sum(path.stat().st_size for path in (ROOT / "checkpoints").rglob("*") if path.is_file()) <= LIMIT
    for name, folder in found.items():
        potential, card = load_checkpoint(folder)
        assert card.name == name and len(potential.elements) > 0
        for word in (card.description, card.licence, card.training_data, card.functional, card.energy_reference):
            assert word, name


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """A wheel of the sources here and a small default checkpoint, built without a network."""
    if importlib.util.find_spec("setuptools") is None:
        pytest.skip("setuptools is not installed here, so a wheel can't be built without a network")
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    shutil.copytree(ROOT / "configs", source / "configs")
    shutil.copytree(ROOT / "gnnpot", source / "gnnpot", ignore=shutil.ignore_patterns("__pycache__"))
    (source / "checkpoints").mkdir()
    save_checkpoint(source / "checkpoints" / DEFAULT, convert("", {})[0], Card(name=DEFAULT))
    shutil.copy(ROOT / "checkpoints" / DEFAULT / "LICENSE", source / "checkpoints" / DEFAULT)
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index", "--quiet"]
    done = subprocess.run([*command, "--wheel-dir", folder, source], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return next(folder.glob("gnnpot-*.whl"))


def test_a_wheel_holds_it(wheel, tmp_path):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        archive.extractall(tmp_path / "site")
    held = sorted(name for name in names if name.startswith("gnnpot/checkpoints/"))
    assert held == [f"gnnpot/checkpoints/{DEFAULT}/{name}" for name in ("LICENSE", CARD, WEIGHTS)]
    assert not any(name.startswith("checkpoints/") for name in names)
    code = (
        "import gnnpot; from gnnpot.hub.registry import reference_structures; from gnnpot.hub.shipped import shipped\n"
        "atoms = reference_structures()[0]; atoms.calc = gnnpot.Calculator()\n"
        "print(gnnpot.__file__, *shipped().values(), atoms.get_potential_energy(), sep='\\n')"
    )
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    environment = {
        **os.environ, "PYTHONPATH": str(tmp_path / "site"), "GNNPOT_CACHE": str(tmp_path / "cache"),
        "GNNPOT_MIRROR": str(tmp_path / "nowhere"),
    }  # fmt: skip
    done = subprocess.run([sys.executable, "-c", code], cwd=elsewhere, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    module, checkpoint, value = done.stdout.split()[-3:]
    package = tmp_path / "site" / "gnnpot"
    assert Path(module).parent == package and Path(checkpoint) == package / "checkpoints" / DEFAULT
    assert float(value) == pytest.approx(energy(convert("", {})[0]), abs=1e-6)
    assert not (tmp_path / "cache").exists()


def test_what_comes_with_gnnpot_needs_no_import(folder, monkeypatch):
    """Also where it has no published files; a word is the name that it stands for."""
    monkeypatch.setitem(ALIASES, "fast", "another")
    for given, name in (("another", "another"), ("fast", "another"), (DEFAULT, DEFAULT)):
        for options in ([], ["--force"]):
            result = CliRunner().invoke(app, ["import", given, "--json", *options])
            assert result.exit_code == 0, result.output
            assert json.loads(result.stdout) == [{"name": name, "path": str(folder.parent / name)}]
