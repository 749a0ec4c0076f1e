"""The files of the page: nothing from elsewhere, nothing shown as markup, all words in both languages."""

import re
from pathlib import Path

import pytest
import yaml
from starlette.requests import Request
from typer.testing import CliRunner

from gnnpot.builder import build, read
from gnnpot.cli import app
from gnnpot.errors import ConfigError
from gnnpot.studio.config import StudioConfig
from gnnpot.studio.files import Page
from gnnpot.studio.models import page_data, potential_arguments
from gnnpot.studio.server import serve

FOLDER = Path(__file__).parents[2] / "gnnpot/studio"
SCRIPTS = sorted((FOLDER / "page").glob("*.js"))


def _status(name):
    return Page().response(name, Request({"type": "http", "headers": []})).status_code


def test_only_its_own_files_are_served():
    assert _status("index.html") == _status("3Dmol-min.js") == _status("style.css") == 200
    for name in ("../app.py", "app.py", "/etc/passwd", "", "messages.yaml", "3Dmol-LICENSE.txt"):
        assert _status(name) == 404


def test_text_is_never_markup_and_nothing_comes_from_elsewhere():
    for path in SCRIPTS:
        text = path.read_text(encoding="utf-8")
        for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function"):
            assert word not in text, f"{path.name}: {word}"
        assert not re.search(r"https?://(?!www\.w3\.org)", text), path.name
    page = (FOLDER / "page/index.html").read_text(encoding="utf-8")
    assert not re.search(r"https?://|\son\w+=|<style|<script>", page)


def test_every_word_is_there_in_both_languages():
    words = (FOLDER / "page/words.js").read_text(encoding="utf-8")
    known = re.findall(r'"?([\w-]+)"?: \["([^"]*)", "([^"]*)"\]', words)
    names = {name for name, english, japanese in known if english and japanese}
    used = {name for path in SCRIPTS for name in re.findall(r'\bt\("([\w-]+)"', path.read_text(encoding="utf-8"))}
    data = page_data(StudioConfig())
    used |= {name for fields in data["jobs"].values() for name in fields if name != "cell"} | set(data["jobs"])
    assert len(used) > 40
    assert used <= names, used - names


def test_the_table_of_potentials_shows_what_was_measured():
    """By the names that the server sends."""
    used = {name for path in SCRIPTS for name in re.findall(r"\bmeasured\?\.(\w+)", path.read_text(encoding="utf-8"))}
    rows = [model["measured"] for model in page_data(StudioConfig())["models"] if model.get("measured")]
    assert len(used) == 3 and all(any(row[name] for row in rows) for name in used)


def test_the_fast_potential_is_offered_first():
    data = page_data(StudioConfig())
    assert data["default"] in [model["name"] for model in data["models"] if model["cached"]]


def test_potentials_of_the_same_name_are_told_apart(tmp_path):
    folders = [tmp_path / "a" / "model", tmp_path / "b" / "model", tmp_path / "gnnpot-1", tmp_path / "mine"]
    config = StudioConfig(models=tuple(folders))
    opened = potential_arguments(config)
    for folder in folders[:3]:
        assert opened[str(folder)] == str(folder)
    assert opened["mine"] == str(folders[3]) and opened["gnnpot-1"] == "gnnpot-1"
    shown = [model["name"] for model in page_data(config)["models"]]
    assert len(set(shown)) == len(shown) and set(shown) == set(opened)
    assert page_data(config)["default"] == str(folders[0])


def test_the_command_shows_the_address_as_text(tmp_path, monkeypatch):
    monkeypatch.setattr("gnnpot.studio.server.serve", lambda config, opened: opened("http://127.0.0.1:1/?token=x"))
    shown = CliRunner().invoke(app, ["studio", "--no-browser"]).stdout
    assert shown.startswith("gnnpot studio http://127.0.0.1:1/?token=x\n")


def test_a_folder_that_can_not_be_made_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="file: can't be made .*give another folder for --keep"):
        serve(StudioConfig(keep=tmp_path / "file"))


def test_messages_are_in_both_languages():
    messages = yaml.safe_load((FOLDER / "messages.yaml").read_text(encoding="utf-8"))
    for key, entry in messages.items():
        fields = [sorted(re.findall(r"{(\w+)", entry[language])) for language in ("en", "ja")]
        assert set(fields[1]) <= set(fields[0]), key


def test_the_gallery_has_twelve_examples_that_read_the_same_in_both_languages():
    gallery = yaml.safe_load((FOLDER / "gallery.yaml").read_text(encoding="utf-8"))
    assert len(gallery) == 12
    for example in gallery:
        english, japanese = (read(example[language][1]) for language in ("en", "ja"))
        assert english.recipe is not None and japanese.recipe is not None, example["id"]
        assert english.recipe.steps == japanese.recipe.steps, example["id"]
        assert (FOLDER / f"page/{example['id']}.webp").is_file()
    assert len(build(gallery[0]["ja"][1]).structure) == 64
