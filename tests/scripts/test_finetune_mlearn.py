"""scripts/studies/mlearn/finetune.py keeps what earlier calls have measured, and its table has these numbers."""

import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "scripts" / "studies" / "mlearn"))
    import finetune

    yield finetune
    sys.modules.pop("finetune", None)


def test_results_of_earlier_calls_stay(script, tmp_path):
    known = (ROOT / "docs" / "mlearn" / "results.json").read_text()
    (tmp_path / "results.json").write_text(json.dumps(json.loads(known)[::-1]))
    table = script.write_report(tmp_path / "no runs", tmp_path, tmp_path)
    assert json.loads((tmp_path / "results.json").read_text()) == json.loads(known)
    assert (tmp_path / "results.md").read_text() == (ROOT / "docs" / "mlearn" / "results.md").read_text()
    assert "| Cu: 7net-0 fine-tuned |" in table and (tmp_path / "curves.png").exists()
