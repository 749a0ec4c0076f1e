"""What `gnnpot models` shows of each potential: the figures of the documentation, one spelling, and its words."""

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gnnpot.cli import app
from gnnpot.hub.card import functional_name
from gnnpot.hub.catalogue import FrameErrors, imported, list_models, measured_of
from gnnpot.hub.shipped import ALIASES, DEFAULT

ROOT = Path(__file__).parents[2]
TABLE = json.loads((ROOT / "docs/accuracy/suites/table.json").read_text(encoding="utf-8"))
FUNCTIONALS = {model.name: model.functional for model in list_models()}
SUITES = {"near_equilibrium": "frames.held-out-random", "high_stress": "frames.held-out-highest-stress"}


@pytest.mark.parametrize(("field", "suite"), SUITES.items())
def test_errors_are_those_of_the_published_table(field, suite):
    for name, row in TABLE[suite].items():
        errors = getattr(measured_of(name), field)
        assert isinstance(errors, FrameErrors), name
        energy, force = row["energy, MAE"]["value"] / 1000, row["force, mean length of the error"]["value"]
        assert errors.force_error == float(f"{force:.5g}"), name
        # the frames are of PBE and PBE+U
        if not FUNCTIONALS[name].startswith("PBE and PBE+U"):
            assert errors.energy_error is None, name
            continue
        assert errors.energy_error == float(f"{energy:.5g}"), name
        # not rounded twice
        assert f"{1000 * errors.energy_error:.0f}; {errors.force_error:.2f}" == f"{1000 * energy:.0f}; {force:.2f}"


def test_the_readme_shows_the_same():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([\w.-]+)`.*?\|.*?\|" + r" ([^|]*) \|" * 6, text, re.MULTILINE)
    assert len(rows) >= 5
    for name, *cells in rows:
        measured = measured_of(name)
        times = (measured.milliseconds[atoms] for atoms in (64, 512))
        expected = []
        for errors in (measured.near_equilibrium, measured.high_stress):
            expected += [f"{1000 * errors.energy_error:.0f}", f"{errors.force_error:.2f}"]
        expected += [f"{t:.1f}" if t < 10 else f"{t:.0f}" for t in times]
        assert cells == expected, name


def test_one_spelling_of_each_functional():
    names = {model.functional for model in list_models()}
    assert "PBE and PBE+U" in names
    assert not any("PBE, PBE+U" in name or "R2SCAN" in name or "as the" in name for name in names)
    # what cards of earlier versions hold
    assert functional_name("PBE, PBE+U") == "PBE and PBE+U"
    assert functional_name("PBE and PBE+U, as the Materials Project mixes them") == "PBE and PBE+U"
    assert functional_name("raw PBE, PBE+U") == "raw PBE and PBE+U" and functional_name("r2SCAN") == "r2SCAN"


def test_the_default_and_the_words_are_marked():
    models = {model.name: model for model in list_models()}
    assert [name for name, model in models.items() if model.default] == [DEFAULT]
    assert {word: name for name, model in models.items() for word in model.words} == ALIASES
    rows = json.loads(CliRunner().invoke(app, ["models", "--json"]).stdout)
    assert next(row for row in rows if row["default"])["name"] == DEFAULT
    shown = CliRunner().invoke(app, ["models"]).stdout.splitlines()
    for name in (DEFAULT, *ALIASES.values()):
        line = next(k for k, line in enumerate(shown) if line.startswith(f"{name} "))
        marks = shown[line + 1].split("  ")[1].split(", ")
        assert set(marks) == {*(["default"] if name == DEFAULT else []), *models[name].words}


def test_dispersion_is_stated_for_each():
    own = imported()
    assert all(model.measured.dispersion is False for model in list_models() if model.name not in own)
    assert measured_of("one of a user").dispersion is None


def test_milliseconds_are_the_medians_of_one_run():
    rows = json.loads((ROOT / "docs/accuracy/two-threads.json").read_text(encoding="utf-8"))["rows"]
    found: dict[str, dict[int, float]] = {}
    for row in rows:
        for name in (row["potential"], *row["also"]):
            found.setdefault(name, {})[row["atoms"]] = float(f"{row['ms']:.3g}")
    assert {name: dict(measured_of(name).milliseconds) for name in found} == found
    assert {*found} == {model.name for model in list_models() if model.measured.near_equilibrium is not None}
