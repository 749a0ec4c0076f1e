"""Time of a step (energy, forces and stress of silicon), measured for several potentials alternately.

    measure_speed({"7net-0": Calculator("7net-0"), ...}, output, sizes=(64, 512), seconds=5.0)

The atoms move as in molecular dynamics, so results are never cached, and neighbour lists are rebuilt as often as in a
run. All potentials are timed alternately in one process, so other load on the machine affects all of them. With one
thread, processor time is measured. Ratios are relative to the first potential; they depend much less on the machine
than times.
"""

import json
import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import BaseCalculator

from gnnpot.runs.files import write_text
from gnnpot.runs.pages import new_figure, plain_log_ticks, styles_of, tidy
from gnnpot.runs.progress import Progress, no_progress

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Picture

SPEED = "speed"
#: s, duration of a turn; duration of a call below which an untimed call precedes each turn
TURN, SHORT = 0.2, 1.0
SIZES = (64, 512)


def measure_speed(
    calculators: Mapping[str, BaseCalculator],
    output: Path,
    *,
    sizes: Sequence[int] = SIZES,
    seconds: float = 5.0,
    threads: int = 1,
    structure: Callable[[int], Atoms] | None = None,
    progress: Progress = no_progress,
) -> Path:
    """Time the steps of several potentials, and write `output/results/speed.json`.

    Args:
        calculators: Calculators by name of the potential; ratios are relative to the first.
        output: Folder of the results of all suites.
        sizes: Approximate numbers of atoms.
        seconds: Wall time for each potential and size.
        threads: Number of threads of the calculators; with 1, processor time is measured, otherwise wall time.
        structure: Creates a structure of a given size; default: silicon.
        progress: Called with the number of sizes done and the total.

    Returns:
        Path of the file, with median, quartiles (ms) and ratio for each potential and size, and data of the machine.
    """
    rows, clock = [], "processor time" if threads == 1 else "wall time"
    names = list(calculators)
    for k, size in enumerate(sizes):
        progress("speed", k, len(sizes))
        atoms = (structure or silicon)(size)
        steps = {name: moving(calculators[name], atoms) for name in names}
        found = alternate(list(steps.values()), seconds * len(steps), processor_time=threads == 1)
        first = float(np.median(found[0]))
        for name, times in zip(steps, found, strict=True):
            low, middle, high = (1e3 * float(np.percentile(times, q)) for q in (25, 50, 75))
            ratio = float(np.median(times) / first)
            rows.append(
                {"potential": name, "atoms": len(atoms), "ms": middle, "quartiles": [low, high], "ratio": ratio}
            )
    progress("speed", len(sizes), len(sizes))
    about: dict[str, Any] = {"cpu": cpu_name(), "threads": threads, "clock": clock, "python": platform.python_version()}
    dtypes = {name: getattr(calculator, "dtype", None) for name, calculator in calculators.items()}
    about["dtypes"] = {name: str(dtype).removeprefix("torch.") for name, dtype in dtypes.items() if dtype is not None}
    path = output / "results" / f"{SPEED}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps({"about": about, "rows": rows}, indent=1) + "\n")
    return path


def silicon(size: int) -> Atoms:
    """Rattled supercell of silicon with about `size` atoms and a shape close to a cube."""
    cell = bulk("Si", cubic=True)
    most = range(1, round((size / len(cell)) ** (1 / 3)) + 3)
    choices = [(a, b, c) for a in most for b in most for c in most if a <= b <= c]

    def miss(repeats: tuple[int, int, int]) -> float:
        return abs(np.prod(repeats) * len(cell) / size - 1) + 0.05 * (max(repeats) / min(repeats) - 1)

    atoms = cell.repeat(min(choices, key=miss))
    atoms.rattle(0.05, seed=0)
    return atoms


def moving(calculator: BaseCalculator, atoms: Atoms) -> Callable[[], tuple[float, np.ndarray]]:
    """Return a function for a step, which moves the atoms and returns energy per atom (eV) and forces (eV/Å).

    Each coordinate oscillates with a random amplitude (standard deviation 0.15 Å), by at most 1/20 of it in a step.
    """
    atoms = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=True, calculator=calculator)
    swing = 0.15 * np.random.default_rng(0).standard_normal(atoms.positions.shape)
    origin, steps = atoms.positions.copy(), 0

    def step() -> tuple[float, np.ndarray]:
        nonlocal steps
        steps += 1
        atoms.positions = origin + swing * np.sin(0.05 * steps)
        atoms.get_stress()
        return atoms.get_potential_energy() / len(atoms), atoms.get_forces()

    return step


def alternate(steps: Sequence[Callable], seconds: float, processor_time: bool = False) -> list[list[float]]:
    """Time the calls of several functions alternately, for `seconds` of wall time and at least 3 turns.

    Returns the mean time (s) of a call in each turn, for each function: wall time, or processor time if requested.
    The first two calls are not included. A turn takes about `TURN`, or one call. If a call takes less than `SHORT`,
    an untimed call precedes each turn, since calls of other functions change the contents of caches.
    """
    clock = time.process_time if processor_time else time.perf_counter
    once = []
    for step in steps:
        step()
        begin = time.perf_counter()
        step()
        once.append(time.perf_counter() - begin)
    calls = [max(1, min(10, round(TURN / seconds_once))) for seconds_once in once]
    times: list[list[float]] = [[] for _ in steps]
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times[0]) < 3:
        for step, found, count, seconds_once in zip(steps, times, calls, once, strict=True):
            if seconds_once < SHORT:
                step()
            begin = clock()
            for _ in range(count):
                step()
            found.append((clock() - begin) / count)
    return times


def cpu_name() -> str:
    """Name of the processor, from Linux or else from Python."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return (named or [platform.processor() or os.uname().machine])[0]


def speed_picture(measured: Mapping[str, Any]) -> "Picture":
    """Plot the time of a step over the number of atoms, with a line for each potential."""
    rows, about = measured["rows"], measured["about"]
    styles = styles_of(row["potential"] for row in rows)
    figure = new_figure(width=7.0, height=3.8)
    ax = figure.subplots()
    for name, style in styles.items():
        points = sorted((row["atoms"], row["ms"]) for row in rows if row["potential"] == name)
        ax.plot(*zip(*points, strict=True), style.line, marker=style.marker, color=style.color, label=name)
    sizes = sorted({row["atoms"] for row in rows})
    ax.set(xscale="log", yscale="log", xlabel="atoms of Si")
    ax.set_ylabel(f"time of a step, ms, {about['threads']} thread{'s' * (about['threads'] != 1)}")
    plain_log_ticks(ax.yaxis)
    ax.set_xticks(sizes, [str(size) for size in sizes])
    ax.minorticks_off()
    # legend in the order of the lines at their right ends
    slowest_first = sorted(styles, key=lambda name: -max(row["ms"] for row in rows if row["potential"] == name))
    handles = dict(zip(*reversed(ax.get_legend_handles_labels()), strict=True))
    ax.legend(
        [handles[name] for name in slowest_first], slowest_first,
        frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5),
    )  # fmt: skip
    tidy(ax)
    return figure
