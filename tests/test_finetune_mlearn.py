"""scripts/finetune_mlearn.py keeps what earlier calls have measured, and its table says what its numbers say."""

import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    import finetune_mlearn

    yield finetune_mlearn
    sys.modules.pop("finetune_mlearn", None)


def test_results_of_earlier_calls_stay(script, tmp_path):
    known = (ROOT / "docs" / "mlearn" / "results.json").read_text()
    (tmp_path / "results.json").write_text(json.dumps(json.loads(known)[::-1]))
    table = script.write_report(tmp_path / "no runs", tmp_path, tmp_path)
    assert json.loads((tmp_path / "results.json").read_text()) == json.loads(known)
    assert (tmp_path / "results.md").read_text() == (ROOT / "docs" / "mlearn" / "results.md").read_text()
    assert "| Cu: 7net-0 fine-tuned |" in table and (tmp_path / "curves.png").exists()
