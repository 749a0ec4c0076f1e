"""Time of a step on two threads, for each architecture and size of the named potentials.

    python scripts/studies/accuracy/two_threads.py            # on an idle machine

Wall time of energy, forces and stress of 64 and 512 atoms of silicon, with all potentials in alternation in one
process. Potentials of the same architecture and size share a row. Writes docs/accuracy/two-threads.json, whose medians,
rounded to three digits, are `milliseconds` of `gnnpot/hub/measured.yaml` (tests/hub/test_measured.py compares), and in
the README.
"""

import json
import tempfile
from pathlib import Path
from typing import Annotated

import numba
import torch
import typer
from rich.console import Console

from gnnpot.engines.calculator import Calculator
from gnnpot.properties.suites.speed import measure_speed
from gnnpot.runs.files import write_text

#: potential that is timed -> others of the same architecture and size
KINDS = {
    "gnnpot-1": [],
    "nequix-oam-1-pft": ["nequix-oam-1", "nequix-omat-1", "nequix-mp-1", "nequix-mp-1-pft"],
    "7net-0": ["7net-mf-0@PBE", "7net-mf-0@R2SCAN"],
    "7net-l3i5": [],
    "chgnet-0.3.0": ["chgnet-r2scan"],
    "chgnet-0.2.0": [],
    "m3gnet-mp-2021.2.8": [],
    "m3gnet-matpes-pbe-2025.1": ["m3gnet-matpes-r2scan-2025.1"],
}
THREADS = 2


def main(
    output: Annotated[Path, typer.Option("-o", "--output", help="Output JSON file.")] = Path(
        "docs/accuracy/two-threads.json"
    ),
    seconds: Annotated[float, typer.Option(help="Wall time (s) for each potential and size.")] = 10.0,
) -> None:
    """Run the measurements, and write the rows."""
    torch.set_num_threads(THREADS)
    numba.set_num_threads(THREADS)
    with tempfile.TemporaryDirectory() as folder:
        calculators = {name: Calculator(name) for name in KINDS}
        found = json.loads(measure_speed(calculators, Path(folder), seconds=seconds, threads=THREADS).read_text())
    rows = [{**row, "also": KINDS[row["potential"]]} for row in found["rows"]]
    write_text(output, json.dumps({"about": found["about"], "rows": rows}, indent=1) + "\n")
    for row in rows:
        Console(soft_wrap=True).print(row["potential"], row["atoms"], f"{row['ms']:.3g} ms", highlight=False)


if __name__ == "__main__":
    typer.run(main)
