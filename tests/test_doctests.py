"""Examples with `>>>` in docstrings of the package give what they say."""

import doctest
import importlib
from pathlib import Path

import pytest

from tests.conftest import slow_tests

ROOT = Path(__file__).parents[1]
MODULES = sorted(path for path in (ROOT / "gnnpot").rglob("*.py") if ">>> " in path.read_text("utf-8"))


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_examples(path):
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    found = doctest.testmod(importlib.import_module(name))
    assert found.attempted > 0
    assert found.failed == 0


def test_there_are_examples():
    assert len(MODULES) >= 4


def test_slow_tests_exist():
    for name in slow_tests():
        file, _, function = name.partition("::")
        assert (ROOT / file).is_file(), f"tests/slow.txt: {file} does not exist"
        assert f"def {function.partition('[')[0]}" in (ROOT / file).read_text(), f"tests/slow.txt: no {function}"
