"""Time from an empty folder of kernels to the first energy and forces, for each potential in a process of its own.

    python scripts/benchmarks/compilation.py nequix-oam-1 chgnet-0.3.0 -o docs/benchmarks/compilation.json
    python scripts/benchmarks/compilation.py nequix-oam-1 --before /path/to/another/checkout

Processor time (user and system, on one thread) without that of imports, which `startup.py` measures. Other processes of
the machine matter little to it; on a quiet machine it is the time that one waits. A second process with the same folder
says what is left once kernels are kept. With `--before`, the same for the package in another folder, in turns.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.progress import track

CHILD = """
import json, sys, time
import gnnpot
from gnnpot.compiler.events import compilation_events
from gnnpot.engines.warm import small_structure
compiled = []
start = time.process_time()
with compilation_events(lambda name, running: compiled.append(name) if running else None):
    atoms = small_structure(gnnpot.load(sys.argv[1]))
    atoms.calc = gnnpot.Calculator(sys.argv[1])
    atoms.get_forces()
print(json.dumps({"seconds": time.process_time() - start, "kernels": len(compiled)}))
"""


def measure(model: str, package: Path) -> dict:
    """Processor seconds with an empty folder and with the kept kernels, and the number of kernels."""
    with tempfile.TemporaryDirectory() as folder:
        settings = {
            **os.environ, "GNNPOT_KERNELS": folder, "PYTHONPATH": str(package), "OMP_NUM_THREADS": "1",
            "NUMBA_NUM_THREADS": "1",
        }  # fmt: skip
        # -P: not what is in the folder where it runs
        command = [sys.executable, "-P", "-c", CHILD, model]
        first, second = (
            json.loads(subprocess.run(command, check=True, capture_output=True, text=True, env=settings).stdout)
            for _ in range(2)
        )
    return {"kernels": first["kernels"], "empty": first["seconds"], "kept": second["seconds"]}


def table(rows: list[dict]) -> str:
    """Markdown, a line for each potential."""
    before = any("before" in row for row in rows)
    lines = [
        "| potential | kernels | first use, s | later processes, s |" + (" first use before, s | ratio |" * before)
    ]
    lines.append("|---|---|---|---|" + "---|---|" * before)
    for row in rows:
        now, line = row["now"], f"| {Path(row['model']).name} | {row['now']['kernels']} | {row['now']['empty']:.1f} | "
        line += f"{now['kept']:.1f} |"
        if "before" in row:
            earlier = row["before"]["empty"]
            line += f" {earlier:.1f} | {now['empty'] / earlier:.2f} |"
        lines.append(line)
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+", help="names or paths of potentials")
    parser.add_argument("--before", type=Path, help="folder with another version of the package")
    parser.add_argument("-o", "--output", type=Path, help="JSON with all rows; a table of them stands beside it (.md)")
    options = parser.parse_args()
    rows = []
    for model in track(options.models, console=Console(stderr=True)):
        row = {"model": model, "now": measure(model, Path(__file__).resolve().parents[2])}
        if options.before is not None:
            row["before"] = measure(model, options.before.resolve())
        rows.append(row)
        if options.output is not None:
            options.output.write_text(json.dumps(rows, indent=1) + "\n")
            options.output.with_suffix(".md").write_text(table(rows))
    Console().print(table(rows), markup=False)


if __name__ == "__main__":
    main()
