"""Public names are on the page of the API, and their docstrings have the sections that a caller needs."""

import importlib
import inspect
import re
from pathlib import Path
from typing import Any

import pytest

import gnnpot
from gnnpot.extras import MissingExtraError

PAGE = (Path(__file__).parents[2] / "docs" / "api.md").read_text()
LISTED = re.findall(r"^\.\. auto(?:function|class|exception):: (\S+)$", PAGE, flags=re.MULTILINE)


def found(path: str) -> Any:
    module, _, name = path.rpartition(".")
    try:
        return getattr(importlib.import_module(module), name)
    except MissingExtraError:
        pytest.skip(f"{path} needs an extra that is not installed")


def sections(function: Any) -> dict[str, str]:
    """The text of each section of a docstring, by its heading."""
    parts = re.split(r"^(\w+):\n(?=    )", inspect.getdoc(function) or "", flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_the_page_lists_each_name_once():
    assert len(set(LISTED)) == len(LISTED) > 90


@pytest.mark.parametrize("name", gnnpot.__all__)
def test_public_names_are_on_the_page(name):
    public = getattr(gnnpot, name)
    assert any(path.endswith(f".{public.__name__}") and found(path) is public for path in LISTED)


@pytest.mark.parametrize("path", LISTED)
def test_functions_have_sections(path):
    function = found(path)
    if not inspect.isfunction(function):
        assert inspect.getdoc(function)
        return
    signature = inspect.signature(function)
    text = sections(function)
    for name in signature.parameters:
        assert re.search(rf"^    (\w+, )*{name}(, \w+)*: ", text.get("Args", ""), flags=re.MULTILINE), name
    if signature.return_annotation not in (None, "None"):
        assert "Returns" in text
