"""scripts/studies/mlearn/finetune.py keeps what earlier calls have measured, and its table has these numbers."""

import json
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_results_of_earlier_calls_stay(load_script, tmp_path):
    script = load_script("studies/mlearn/finetune.py")
    known = (ROOT / "docs" / "mlearn" / "results.json").read_text()
    (tmp_path / "results.json").write_text(json.dumps(json.loads(known)[::-1]))
    table = script.write_report(tmp_path / "no runs", tmp_path, tmp_path)
    assert json.loads((tmp_path / "results.json").read_text()) == json.loads(known)
    assert (tmp_path / "results.md").read_text() == (ROOT / "docs" / "mlearn" / "results.md").read_text()
    assert "| Cu: 7net-0 fine-tuned |" in table and (tmp_path / "curves.png").exists()
