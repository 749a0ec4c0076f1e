"""Time, memory and resumption of `gnnpot data mp` on a synthetic table with the schema of the Materials Project.

    python scripts/benchmarks/pipeline.py /scratch/benchmark --frames 1000000

Makes a Delta table of about `--frames` frames in the folder (1.8 GB per million; kept for later calls). The table is
curated once without interruption, and once with three kills (SIGKILL), each followed by a resume. The two stores are
compared byte by byte. Prints wall and processor time, also per million frames, and the peak memory of the processes.

The frames are trajectories of 1 to 40 ionic steps (ten on average) of random alloys of 1 to 200 atoms (thirty on
average, as in MPtrj) near a lattice. Energies, forces and stresses are those of springs to the lattice sites and a bulk
modulus, so they are consistent. Some trajectories have other run types, or steps that a filter excludes.
"""

import argparse
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
from deltalake import DeltaTable, write_deltalake
from emmet.core.arrow import arrowize
from emmet.core.trajectory import RelaxTrajectory

from gnnpot.units import KBAR

#: number of trajectories in one file of the table
FILE = 2000
SPRING, BULK = 2.0, 0.6  # eV/Å², eV/Å³


def nested(values: np.ndarray, *sizes: np.ndarray) -> pa.Array:
    """Nested lists of `values`; the last of `sizes` gives the lengths of the innermost lists."""
    array = pa.array(values)
    for size in reversed(sizes):
        offsets = np.concatenate([[0], np.cumsum(size)]).astype(np.int32)
        array = pa.ListArray.from_arrays(pa.array(offsets), array)
    return array


def trajectories(rng: np.random.Generator, first: int, count: int) -> pa.Table:
    """Rows of the table, with identifiers counted from `first`."""
    atoms = np.clip(rng.lognormal(3.1, 0.8, count), 1, 200).astype(np.int64)
    steps = np.clip(rng.geometric(0.1, count), 1, 40)
    run = np.repeat(np.arange(count), steps)
    step = np.arange(len(run)) - np.repeat(np.cumsum(steps) - steps, steps)
    n = atoms[run]
    edge = np.ceil(atoms ** (1 / 3)).astype(np.int64)
    length = 2.7 * edge * (1 + 0.02 * rng.normal(size=count))
    strain = 0.03 * rng.normal(size=count)[run] * 0.8**step
    a = length[run] * (1 + strain)
    frame = np.repeat(np.arange(len(run)), n)
    place = np.arange(len(frame)) - np.repeat(np.cumsum(n) - n, n)
    e = edge[run][frame]
    grid = np.stack([place % e, place // e % e, place // e**2], axis=1) / e[:, None]
    start = np.cumsum(atoms) - atoms
    noise = rng.normal(0, 0.08, (atoms.sum(), 3))[start[run][frame] + place]
    moved = noise * 0.8 ** step[frame][:, None]
    volume0, volume = length[run] ** 3, a**3
    springs = 0.5 * SPRING * np.add.reduceat((moved**2).sum(axis=1), np.cumsum(n) - n)
    energy = -6.0 * n + springs + 0.5 * BULK * volume0 * (3 * strain) ** 2
    diagonal = BULK * 3 * strain * (1 + strain) * volume0 / volume
    zero = np.zeros(len(run))
    lattice = np.stack([a, zero, zero, zero, a, zero, zero, zero, a], axis=1)
    stress = np.stack([diagonal, zero, zero, zero, diagonal, zero, zero, zero, diagonal], axis=1) / -KBAR
    forces = -SPRING * moved
    forces[rng.random(len(forces)) < 1e-5] += 80.0
    electronic = rng.integers(4, 16, len(run))
    electronic[rng.random(len(run)) < 0.003] = 100
    scf = np.repeat(energy, electronic) + rng.exponential(1e-3, electronic.sum())
    three, nine = np.full(len(frame), 3), np.full(3 * len(run), 3)
    cells = np.full(len(run), 3)
    fields = arrowize(RelaxTrajectory)
    kind = fields.field("electronic_steps").type.value_type.value_type
    parts = [pa.array(scf) if f.name.startswith("e_") else pa.nulls(len(scf), f.type) for f in kind]
    structs = pa.StructArray.from_arrays(parts, fields=list(kind))
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
    numbers = first + np.arange(count)
    digits = np.stack([numbers // 26**k % 26 for k in range(7, -1, -1)], axis=1)
    elements = rng.integers(1, 84, (count, 3))[np.repeat(np.arange(count), atoms), rng.integers(0, 3, atoms.sum())]
    columns = {
        "elements": nested(elements, atoms),
        "cart_coords": nested((grid * a[frame][:, None] + moved).ravel(), steps, n, three),
        "num_ionic_steps": pa.array(steps),
        "lattice": nested(lattice.ravel(), steps, cells, nine),
        "energy": nested(energy, steps),
        "forces": nested(forces.ravel(), steps, n, three),
        "stress": nested(stress.ravel(), steps, cells, nine),
        "electronic_steps": nested_structs(structs, steps, electronic),
        "num_electronic_steps": nested(electronic, steps),
        "e_wo_entrp": nested(energy, steps),
        "e_fr_energy": nested(energy, steps),
        "identifier": pa.array(["".join(row) for row in letters[digits]]),
        "task_type": pa.array(["Structure Optimization"] * count),
        "run_type": pa.array(rng.choice(["GGA", "GGA+U", "r2SCAN"], count, p=[0.65, 0.25, 0.1])),
    }
    return pa.table([columns[f.name].cast(f.type) for f in fields], schema=pa.schema(fields))


def nested_structs(structs: pa.StructArray, steps: np.ndarray, electronic: np.ndarray) -> pa.Array:
    """Electronic steps within ionic steps within trajectories."""
    array = structs
    for size in (electronic, steps):
        array = pa.ListArray.from_arrays(pa.array(np.concatenate([[0], np.cumsum(size)]).astype(np.int32)), array)
    return array


def make_table(folder: Path, frames: int) -> int:
    """Make a table of at least the given number of frames if it does not exist; returns its number of frames."""
    note = folder.with_suffix(".json")
    if note.exists():
        return json.loads(note.read_text())["frames"]
    rng, made, row, begin = np.random.default_rng(0), 0, 0, time.time()
    while made < frames:
        table = trajectories(rng, row, FILE)
        write_deltalake(str(folder), table, mode="append")
        made += int(table["num_ionic_steps"].to_numpy().sum())
        row += FILE
    note.write_text(json.dumps({"frames": made, "trajectories": row, "seconds": time.time() - begin}))
    return made


def start(table: Path, store: Path) -> subprocess.Popen:
    """Command line of `gnnpot data mp`."""
    command = [sys.executable, "-m", "gnnpot", "data", "mp", "--table", str(table), "-o", str(store)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL)


def wait(process: subprocess.Popen) -> tuple[int, float, float]:
    """Exit status, peak memory (GB) and processor time (s) of a process."""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, usage.ru_maxrss / 1e6, usage.ru_utime + usage.ru_stime


def killed_run(table: Path, store: Path, moments: list[int], rng: np.random.Generator) -> float:
    """Curate, with a SIGKILL some time after each given number of complete shards; returns the peak memory, GB."""
    most = 0.0
    unfinished = store.with_name(store.name + ".unfinished")
    for shards in moments:
        process = start(table, store)
        while process.poll() is None and len(list(unfinished.glob("shard-*.parquet"))) <= shards:
            time.sleep(0.02)
        time.sleep(rng.uniform(0, 1))
        process.send_signal(signal.SIGKILL)
        status, memory, _ = wait(process)
        most = max(most, memory)
        begun = len(list(unfinished.glob("shard-*.parquet")))
        print(f"  killed (status {status}) with {begun} shards begun", flush=True)
    status, memory, _ = wait(start(table, store))
    if status:
        sys.exit(f"the resumed run failed with status {status}")
    return max(most, memory)


def digests(store: Path) -> dict[str, str]:
    """SHA-256 of all files."""
    found = {}
    for path in sorted(store.iterdir()):
        with path.open("rb") as file:
            found[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--frames", type=int, default=1_000_000)
    arguments = parser.parse_args()
    folder, table = arguments.folder, arguments.folder / f"table-{arguments.frames}"
    folder.mkdir(parents=True, exist_ok=True)
    whole, resumed = folder / "whole.store", folder / "resumed.store"
    for path in (whole, resumed, folder / "resumed.store.unfinished", folder / "whole.store.unfinished"):
        if path.exists():
            sys.exit(f"{path}: remains of an earlier run; remove it")
    frames = make_table(table, arguments.frames)
    size = sum(p.stat().st_size for p in table.rglob("*.parquet")) / 1e9
    print(f"table: {frames} frames, {size:.2f} GB, {len(DeltaTable(str(table)).file_uris())} files", flush=True)
    begin = time.time()
    status, memory, processor = wait(start(table, whole))
    seconds = time.time() - begin
    if status:
        sys.exit(f"the run failed with status {status}")
    manifest = json.loads((whole / "manifest.json").read_text())
    print(f"kept: {manifest['frames']} frames in {len(manifest['shards'])} shards; left out: {manifest['filters']}")
    print(f"time: {seconds:.0f} s, {1e6 * seconds / frames / 60:.2f} minutes per million frames")
    print(f"processor time: {processor:.0f} s, {1e6 * processor / frames / 60:.2f} minutes per million frames")
    shards = len(manifest["shards"])
    moments = [max(0, int(shards * part)) for part in (0.15, 0.4, 0.7)]
    memory = max(memory, killed_run(table, resumed, moments, np.random.default_rng(1)))
    print(f"largest memory of a process: {memory:.2f} GB")
    same = digests(whole) == digests(resumed)
    print(f"killed three times and resumed, the files are {'the same, byte for byte' if same else 'DIFFERENT'}")
    sys.exit(0 if same else 1)


if __name__ == "__main__":
    main()
