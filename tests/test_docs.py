"""The examples in README.md and docs/ run as they stand."""

import re
from pathlib import Path

import pytest

from gnnpot.published import is_known

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("path", [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))], ids=lambda p: p.name)
def test_examples(path, published, tmp_path, monkeypatch):
    blocks = re.findall(r"^```python\n(.*?)^```", path.read_text(), flags=re.M | re.S)
    assert blocks
    for name in re.findall(r'"([^"\n]+)"', "".join(blocks)):
        if is_known(name):
            published(name)
    monkeypatch.chdir(tmp_path)
    scope: dict = {}
    for block in blocks:
        exec(compile(block, str(path), "exec"), scope)
