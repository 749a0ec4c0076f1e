"""The files of the page: nothing from elsewhere, nothing shown as markup, all words in both languages."""

import re
from pathlib import Path

import yaml
from starlette.requests import Request

from gnnpot.builder import build, read
from gnnpot.studio.config import StudioConfig
from gnnpot.studio.files import Page
from gnnpot.studio.models import page_data

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


def test_the_fast_potential_is_offered_first():
    data = page_data(StudioConfig())
    assert data["default"] in [model["name"] for model in data["models"] if model["cached"]]


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
