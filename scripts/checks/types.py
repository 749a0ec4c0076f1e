"""Run mypy on the package, and count the ignored errors: `mypy: 0 errors, 11 ignores`.

    python scripts/checks/types.py

The exit status is 1 if there is an error, or more ignores than `MOST`.
"""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
MOST = 40


def ignores(package: Path) -> int:
    """Number of comments that make mypy ignore a line."""
    return sum(len(re.findall(r"# type: ignore", path.read_text("utf-8"))) for path in package.rglob("*.py"))


def main() -> int:
    done = subprocess.run([sys.executable, "-m", "mypy"], cwd=ROOT, capture_output=True, text=True, check=False)
    errors = len(re.findall(r": error: ", done.stdout))
    count = ignores(ROOT / "gnnpot")
    if done.returncode:
        print(done.stdout + done.stderr, end="")
    print(f"mypy: {errors} errors, {count} ignores")
    if count > MOST:
        print(f"at most {MOST} ignores are allowed: give the code types, or leave some out")
    return int(done.returncode != 0 or count > MOST)


if __name__ == "__main__":
    sys.exit(main())
