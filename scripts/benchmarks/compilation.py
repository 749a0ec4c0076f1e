"""Compilation time of kernels: from an empty kernel folder to the first energy and forces of a potential.

    python scripts/benchmarks/compilation.py nequix-oam-1 chgnet-0.3.0 -o docs/benchmarks/compilation.json
    python scripts/benchmarks/compilation.py nequix-oam-1 --before /path/to/another/checkout

Each potential is measured in its own process. Times are processor times (user and system, on one thread) without
imports, which `startup.py` measures. Other processes on the machine affect them little; on an idle machine they equal
the wall time. A second process with the same folder measures the time with cached kernels. With `--before`, the package
in another folder is measured too, in alternation.

Then `gnnpot warm` is measured with two processes, also from an empty folder: the processor time of the main process
(without imports) and of its worker (with imports). On two idle cores, the wall time is at least the larger of the two.
Both compile from a shared queue: each takes the next kernel when it has finished one.
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

WARM = """
import json, resource, sys, time
from gnnpot.engines.warm import warm
start = time.process_time()
(done,) = warm([sys.argv[1]], processes=2)
workers = resource.getrusage(resource.RUSAGE_CHILDREN)
seconds = {"here": time.process_time() - start, "worker": workers.ru_utime + workers.ru_stime}
print(json.dumps({**seconds, "kernels": done.kernels}))
"""


def run(script: str, model: str, package: Path, folder: str) -> dict:
    """Output of a process that compiles kernels into a folder."""
    settings = {
        **os.environ, "GNNPOT_KERNELS": folder, "PYTHONPATH": str(package), "OMP_NUM_THREADS": "1",
        "NUMBA_NUM_THREADS": "1",
    }  # fmt: skip
    # -P: do not import from the current folder
    command = [sys.executable, "-P", "-c", script, model]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True, env=settings).stdout)


def measure(model: str, package: Path) -> dict:
    """Processor seconds with an empty folder and with cached kernels, and the number of kernels."""
    with tempfile.TemporaryDirectory() as folder:
        first, second = (run(CHILD, model, package, folder) for _ in range(2))
    return {"kernels": first["kernels"], "empty": first["seconds"], "kept": second["seconds"]}


def measure_two(model: str, package: Path) -> dict:
    """Processor seconds of `warm` and of its worker."""
    with tempfile.TemporaryDirectory() as folder:
        return run(WARM, model, package, folder)


def table(rows: list[dict]) -> str:
    """Markdown table with a row for each potential."""
    before, two = (any(name in row for row in rows) for name in ("before", "two"))
    titles = ["potential", "kernels", "first use, s", "later processes, s"]
    titles += ["two processes, s and s"] * two + ["first use before, s", "ratio", "ratio, two processes"] * before
    lines = [f"| {' | '.join(titles)} |", "|---" * len(titles) + "|"]
    for row in rows:
        now, shared = row["now"], row.get("two")
        cells = [Path(row["model"]).name, str(now["kernels"]), f"{now['empty']:.1f}", f"{now['kept']:.1f}"]
        if two:
            cells.append("" if shared is None else f"{shared['here']:.1f} and {shared['worker']:.1f}")
        if before and "before" in row:
            earlier = row["before"]["empty"]
            cells += [f"{earlier:.1f}", f"{now['empty'] / earlier:.2f}"]
            cells.append("" if shared is None else f"{max(shared['here'], shared['worker']) / earlier:.2f}")
        elif before:
            cells += ["", "", ""]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", help="names or paths of potentials; none: only write the table again")
    parser.add_argument("--before", type=Path, help="folder of another version of the package, to compare with")
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        help="JSON file, in which rows of other potentials are kept; a table (.md) is written next to it",
    )
    options = parser.parse_args()
    rows = json.loads(options.output.read_text()) if options.output is not None and options.output.is_file() else []
    here = Path(__file__).resolve().parents[2]
    for model in track(options.models, console=Console(stderr=True)):
        # values that are not measured again are kept
        known = next((row for row in rows if row["model"] == model), {})
        rows = [row for row in rows if row is not known]
        row = {**known, "model": model, "now": measure(model, here), "two": measure_two(model, here)}
        if options.before is not None:
            row["before"] = measure(model, options.before.resolve())
        rows.append(row)
        if options.output is not None:
            options.output.write_text(json.dumps(rows, indent=1) + "\n")
    if options.output is not None:
        options.output.with_suffix(".md").write_text(table(rows))
    Console().print(table(rows), markup=False)


if __name__ == "__main__":
    main()
