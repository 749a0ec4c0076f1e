"""scripts/benchmarks/training.py from end to end, on bundled frames."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_configurations_with_all_and_with_some_left_open_are_measured():
    configs = [ROOT / "configs" / name for name in ("demo-m3gnet.yaml", "demo-hdnnp.yaml")]
    script = ROOT / "scripts" / "benchmarks" / "training.py"
    result = subprocess.run(
        [sys.executable, str(script), "bundled:gpaw-pbe", *map(str, configs), "--seconds", "0.02", "--repeats", "1"],
        capture_output=True, text=True, timeout=900, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    rows = [line.split("│")[1:-1] for line in result.stdout.splitlines() if line.startswith("│")]
    assert [row[0].strip() for row in rows] == [path.stem for path in configs]
    for row in rows:
        assert all(float(cell.replace(",", "")) > 0 for cell in row[1:])
