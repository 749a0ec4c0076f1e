"""Results of `peers.py`: stored in a folder, and shown as tables and a plot.

Example::

    results = Results(Path("peers"), threads=2, peers=PEERS)      # reads existing results
    results.steps["7net-0/Si/64"] = {...}
    results.write()                                               # peers.json, peers.md, peers.png
"""

import json
import os
import platform
from collections.abc import Sequence
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator
from peer_potentials import PEERS, Peer
from rich.table import Table

from gnnpot.errors import ConfigError, DataError
from gnnpot.properties.suites.speed import cpu_name
from gnnpot.runs.files import write_text
from gnnpot.runs.pages import COLORS, plain_log_ticks

OURS = "gnnpot"
#: tolerances, eV/atom and eV/Å; rows with larger differences are marked
ENERGY_TOLERANCE, FORCE_TOLERANCE = 1e-5, 1e-4
JSON, MARKDOWN, PLOT = "peers.json", "peers.md", "peers.png"
PACKAGES = (OURS, "torch", "numpy", "ase", *dict.fromkeys(peer.package for peer in PEERS))
STEP_COLUMNS = (
    "potential", "structure", "atoms", "gnnpot, ms", "theirs, ms", "ratio (quartiles)", "gnnpot, GB", "theirs, GB",
    "ΔE, eV/atom", "ΔF, eV/Å",
)  # fmt: skip
TRAINING_COLUMNS = ("potential", "package", "gnnpot, ms", "theirs, ms", "ratio (quartiles)", "first losses")
COLOURS = {True: COLORS[0], False: COLORS[4]}
MARKERS = {"Si": "o", "NaCl": "s", "SrTiO3": "^"}


class Results:
    """All results: `steps` by "potential/structure/size", `memory` by this key and "/side", `training` by potential.

    Raises `ConfigError` if a package is missing, or the results in the folder are from another machine, thread count or
    version.
    """

    def __init__(self, folder: Path | None, threads: int, peers: Sequence[Peer]) -> None:
        self.folder = folder
        self.steps: dict[str, dict] = {}
        self.memory: dict[str, dict] = {}
        self.training: dict[str, dict] = {}
        self.dates: list[str] = []
        versions = {name: _version(name) for name in PACKAGES}
        for peer in peers:
            if versions[peer.package] is None:
                raise ConfigError(f'{peer.package} is not installed; pip install ".[peers]", or leave it out by --only')
        self.about = {"cpu": cpu_name(), "threads": threads, "python": platform.python_version(), "versions": versions}
        if folder is not None:
            self._read(folder)
        self.dates = sorted({*self.dates, date.today().isoformat()})

    def _read(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / JSON
        if not path.exists():
            return
        try:
            found = json.loads(path.read_text())
            about = found.pop("about")
            self.steps, self.memory, self.training = (found[key] for key in ("steps", "memory", "training"))
            self.dates = found["dates"]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(f"{path}: is no file of this benchmark ({error}); give another folder") from None
        for key, value in self.about.items():
            if about.get(key) != value:
                raise ConfigError(f"{path}: was measured with {key} {about.get(key)}, now {value}; give another folder")

    @property
    def busy(self) -> float:
        """Largest load of the machine by other programs, in threads."""
        rows = (*self.steps.values(), *self.training.values())
        return max((row["load"] - self.about["threads"] for row in rows), default=0.0)

    @property
    def agrees(self) -> bool:
        """Whether both sides agree in all rows in which both were run."""
        return all(row.get("agrees", True) for row in (*self.steps.values(), *self.training.values()))

    def write(self) -> None:
        if self.folder is None:
            return
        content = {"about": self.about, "dates": self.dates}
        content |= {"steps": self.steps, "memory": self.memory, "training": self.training}
        write_text(self.folder / JSON, json.dumps(content, indent=1) + "\n")
        write_text(self.folder / MARKDOWN, markdown(self))
        partial = self.folder / f".{PLOT}.partial"
        plot(self).savefig(partial, dpi=160, format="png")
        os.replace(partial, self.folder / PLOT)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _sorted_steps(results: Results) -> list[tuple[Peer, str, int, dict]]:
    """Rows in the order of `PEERS`, structures in the order of their results, sizes ascending."""
    rows = []
    for peer in PEERS:
        keys = [key.split("/") for key in results.steps if key.startswith(f"{peer.name}/")]
        structures = list(dict.fromkeys(name for _, name, _ in keys))
        for _, name, size in sorted(keys, key=lambda k: (structures.index(k[1]), int(k[2]))):
            rows.append((peer, name, int(size), results.steps[f"{peer.name}/{name}/{size}"]))
    return rows


def _times(row: dict, package: str) -> list[str]:
    """Times (ms) of both sides and their ratio; for a skipped side, the reason instead of its time."""
    seconds = row["seconds"]
    cells = [
        _figure(1e3 * float(np.median(seconds[side]))) if side in seconds else row["skipped"][side]
        for side in (OURS, package)
    ]
    if len(seconds) < 2:
        return [*cells, ""]
    low, middle, high = np.percentile(np.divide(seconds[package], seconds[OURS]), [25, 50, 75])
    return [*cells, f"{middle:.2f} ({low:.2f} to {high:.2f})"]


def _figure(value: float) -> str:
    """Format with three significant digits."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def step_cells(results: Results) -> list[list[str]]:
    rows = []
    for peer, name, size, row in _sorted_steps(results):
        known = [results.memory.get(f"{peer.name}/{name}/{size}/{side}", {}) for side in (OURS, peer.package)]
        memory = [_figure(m["gb"]) if "gb" in m else "" for m in known]
        differences = [""] * 2
        if "agrees" in row:
            found = ((row["energy_difference"], ENERGY_TOLERANCE), (row["force_difference"], FORCE_TOLERANCE))
            differences = [f"{value:.0e}{' differs!' * (value > tolerance)}" for value, tolerance in found]
        if "from_float64" in row:
            apart = ", ".join(f"{side} {value:.0e}" for side, value in row["from_float64"].items())
            differences[1] += f" From gnnpot's float64: {apart}"
        rows.append([peer.name, name, str(row["atoms"]), *_times(row, peer.package), *memory, *differences])
    return rows


def training_cells(results: Results) -> list[list[str]]:
    rows = []
    for peer in PEERS:
        if peer.name in results.training:
            row = results.training[peer.name]
            losses = " ".join(f"{loss:.4g}" for loss in row["losses"].values())
            mark = "" if row["agrees"] else " differs!"
            rows.append([peer.name, peer.package, *_times(row, peer.package), losses + mark])
    return rows


def _titles(results: Results) -> tuple[str, str]:
    about = results.about
    first = next(iter(results.training.values()), {"structures": 0, "atoms": 0})
    where = f"{about['cpu']}, {about['threads']} thread{'s' * (about['threads'] != 1)}, float32"
    return (
        f"Energy, forces and stress, a step ({where})",
        f"Optimiser step, {first['structures']} structures of {first['atoms']} atoms in all ({where})",
    )


def _parts(results: Results) -> list[tuple[str, Sequence[str], list[list[str]]]]:
    """(title, columns, rows) of each table that has rows."""
    steps, training = _titles(results)
    parts = [
        (steps, STEP_COLUMNS, step_cells(results)),
        (training, TRAINING_COLUMNS, training_cells(results)),
    ]
    return [part for part in parts if part[2]]


def table(results: Results) -> list[Table]:
    """Tables for the terminal."""
    tables = []
    for title, columns, rows in _parts(results):
        one = Table(*columns, title=title)
        for row in rows:
            one.add_row(*row)
        tables.append(one)
    return tables


def markdown(results: Results) -> str:
    """Page with all rows."""
    lines = ["# Speed and memory compared with the authors' packages", ""]
    for title, columns, rows in _parts(results):
        lines += [f"**{title}**", "", f"| {' | '.join(columns)} |", "|" + "---|" * len(columns)]
        lines += [f"| {' | '.join(row)} |" for row in rows] + [""]
    versions = ", ".join(f"{name} {v}" for name, v in results.about["versions"].items() if v)
    notes = [f"{p.name}: {p.note}." for p in PEERS if p.note and any(p is peer for peer, *_ in _sorted_steps(results))]
    return "\n".join([*lines, *notes, f"{versions}; measured {', '.join(results.dates)}."]) + "\n"


def plot(results: Results) -> Figure:
    """Plot of ms per atom against the number of atoms, a panel per potential; colours: sides, markers: structures."""
    rows = _sorted_steps(results)
    shown = [peer for peer in PEERS if any(p is peer for p, *_ in rows)]
    figure = Figure(figsize=(2.6 * max(len(shown), 1) + 0.8, 3.3), layout="constrained")
    axes = figure.subplots(1, max(len(shown), 1), sharex=True, sharey=True, squeeze=False)[0]
    for ax, peer in zip(axes, shown, strict=False):
        of_peer = [(name, size, row) for p, name, size, row in rows if p is peer]
        for side in (peer.package, OURS):
            for name in dict.fromkeys(name for name, *_ in of_peer):
                _line(ax, [row for n, _, row in of_peer if n == name], side, name)
        lines = [
            Line2D([], [], color=COLOURS[side == OURS], linestyle="-" if side == OURS else "--", label=side)
            for side in (peer.package, OURS)
        ]
        ax.legend(handles=lines, fontsize=8, frameon=False, handlelength=1.8)
        sizes = sorted({size for *_, size, _ in rows})
        ax.set(
            xscale="log",
            yscale="log",
            title=peer.name,
            xlabel="atoms",
            xticks=sizes,
            xticklabels=[f"{size:,}" for size in sizes],
        )
        ax.xaxis.set_minor_locator(NullLocator())
        # room for the legend
        ax.margins(y=0.15)
        plain_log_ticks(ax.yaxis)
        ax.grid(which="major", color="0.9")
        ax.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("ms per atom and step")
    structures = dict.fromkeys(name for _, name, *_ in rows)
    marks = [Line2D([], [], marker=MARKERS[name], color="0.4", ls="", ms=4.5, label=name) for name in structures]
    if marks:
        figure.legend(handles=marks, loc="outside lower center", ncols=len(marks), fontsize=8, frameon=False)
    return figure


def _line(ax: Axes, rows: Sequence[dict], side: str, name: str) -> None:
    timed = [row for row in rows if side in row["seconds"]]
    atoms = [row["atoms"] for row in timed]
    times = [1e3 * float(np.median(row["seconds"][side])) / row["atoms"] for row in timed]
    style = "-" if side == OURS else "--"
    ax.plot(atoms, times, style, marker=MARKERS[name], ms=4.5, lw=1.2, color=COLOURS[side == OURS])
