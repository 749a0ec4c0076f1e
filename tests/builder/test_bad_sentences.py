"""What can't be made gives one clear sentence in the language of the text, and nothing else happens."""

import re

import pytest
import yaml
from checks import SENTENCES

from gnnpot.builder import build, execute, load_recipe
from gnnpot.errors import BuilderError

BAD = yaml.safe_load((SENTENCES / "bad.yaml").read_text(encoding="utf-8"))


def answer(entry: dict) -> str:
    """The message of the error."""
    with pytest.raises(BuilderError) as caught:
        if "text" in entry:
            build(entry["text"], entry.get("language"))
        else:
            recipe = load_recipe(entry["recipe"], entry.get("language", "en"))
            execute(recipe.model_copy(update={"language": entry.get("language", "en")}))
    return str(caught.value)


@pytest.mark.parametrize("entry", BAD, ids=lambda e: str(e.get("text", e.get("recipe")))[:50] or "empty")
def test_one_clear_sentence(entry):
    message = answer(entry)
    assert re.search(entry["says"], message), message
    assert "\n" not in message and len(message) < 320
    japanese = bool(re.search(r"[ぁ-ん]", message))
    expected = entry.get("language") == "ja" or bool(re.search(r"[ぁ-んァ-ヶ一-鿿]", entry.get("text", "")))
    assert japanese == expected, message


def test_there_are_at_least_forty():
    assert len(BAD) >= 40
