"""Fine-tuned, from scratch, and unchanged: Si, Mo, Cu, Ni of Zuo et al. 2020 (J. Phys. Chem. A 124, 731).

    python scripts/studies/mlearn/finetune.py --data mlearn --minutes 60 --threads 2
    python scripts/studies/mlearn/finetune.py --start 7net-0 --element Si --frames 20 --only all --minutes 5

For each element and number of training frames (5, 20, 80, all; including the frames that select the best weights), the
candidates of `gnnpot finetune --compare` are run on the same frames, with the same loss and time. The official test
frames are read only at the end. With `--set data.choose=representative`, frames are chosen by their structures instead
of at random (`gnnpot.sampling.representative`); such runs need a separate `--out`. Only energies and forces are used,
because only the diagonal components of the stresses in these files are reliable. The learning rate decays with elapsed
time, so that it is low at the end on any machine. An interrupted run is resumed by the same command. docs/mlearn has
all finished runs of this and earlier calls, which may have used other times, and the published errors: results.json, in
which a run replaces an earlier run of the same kind, results.md and curves.png.
"""

import json
import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import torch
import typer
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.console import Console

from gnnpot.cli.progress import Bars
from gnnpot.data.readers import read_frames
from gnnpot.errors import GnnpotError
from gnnpot.hub.checkpoint import load_checkpoint
from gnnpot.potential import Potential
from gnnpot.runs.files import write_text
from gnnpot.runs.pages import Style, new_figure, plain_log_ticks, styles_of, tidy
from gnnpot.training.run import MODEL
from gnnpot.workflows.compare import ZERO_SHOT, Result, compare, milliseconds, read_results
from gnnpot.workflows.finetune.config import FineTuneConfig, read_finetune_config

#: published MAE of energy (meV/atom) and force (eV/Å) on the test sets
PUBLISHED = {
    "Si": {"GAP": (2.91, 0.07), "MTP": (2.21, 0.06)},
    "Mo": {"GAP": (2.24, 0.09), "MTP": (2.83, 0.09)},
    "Cu": {"GAP": (0.46, 0.01), "MTP": (0.41, 0.01)},
    "Ni": {"GAP": (0.42, 0.02), "MTP": (0.48, 0.01)},
}
COUNTS = (5, 20, 80, 0)
#: aim of the runs in docs/mlearn: these potentials are for one element only
SETTINGS = ("optimizer.name=soap", "optimizer.lr=0.005", "strategy.kind=all", "strategy.decay=1.0", "loss.forces=1.0")
#: decay of the moving average of weights, below 60 frames and from 60 frames
AVERAGES = (0.99, 0.995)
#: note on results of several calls
TITLE = "# Fine-tuning and training from scratch on mlearn"
ABOUT = """\
Test errors on mlearn (Zuo et al. 2020, official split) by the number of training frames: MAE of energies in meV/atom
and of force components in eV/Å. In brackets: minutes of training. Milliseconds are the time of energy and forces of a
test frame; they are comparable within an element only where the rows were measured in one call."""
#: note on rows whose frames were not chosen at random
CHOSEN = "representative frames"
DEFAULT = ("all", "sevennet-scratch", "m3gnet-scratch", "hdnnp-scratch")


def main(
    data: Annotated[Path, typer.Option(help="Folder with Si_train.extxyz.gz and so on.")],
    start: Annotated[str, typer.Option(help="The potential to fine-tune: name or path.")] = "7net-l3i5",
    out: Annotated[Path, typer.Option(help="Folder for the runs.")] = Path("runs/finetune-mlearn"),
    docs: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("docs/mlearn"),
    minutes: Annotated[float, typer.Option(help="Wall time of each run.")] = 60.0,
    element: Annotated[list[str] | None, typer.Option(help=f"Some of {', '.join(PUBLISHED)}; may be repeated.")] = None,
    frames: Annotated[list[int] | None, typer.Option(help="Numbers of frames; 0: all.")] = None,
    only: Annotated[
        list[str] | None, typer.Option(help="Names of candidates, as in gnnpot finetune --compare.")
    ] = None,
    settings: Annotated[list[str] | None, typer.Option("--set", help="Options of all runs: key.key=value.")] = None,
    threads: Annotated[int, typer.Option(help="Threads of each run.")] = 1,
    fresh: Annotated[bool, typer.Option("--fresh", help="Start from the beginning.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress bar.")] = False,
) -> None:
    """Run unfinished trainings, and write results.json, results.md and curves.png."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s")
    console = Console(soft_wrap=True)
    torch.set_num_threads(threads)
    for symbol in element or PUBLISHED:
        if symbol not in PUBLISHED:
            raise typer.BadParameter(f"'{symbol}' is none of {', '.join(PUBLISHED)}", param_hint="--element")

        def configure(count: int | None, symbol: str = symbol) -> FineTuneConfig:
            options = [
                f"data.test={data / f'{symbol}_test.extxyz.gz'}", "data.reader.stress_key=''", "loss.stress=0.0",
                f"max_minutes={minutes}", *SETTINGS, f"ema={AVERAGES[count is None or count >= 60]}", *(settings or ()),
            ]  # fmt: skip
            if count is not None:
                options.append(f"data.frames={count}")
            train = data / f"{symbol}_train.extxyz.gz"
            return read_finetune_config(start, [train], run=out / Path(start).name / symbol, overrides=options)

        def show(name: str, number: int, total: int, symbol: str = symbol) -> None:
            console.print(f"{symbol}, run {number} of {total}: {name}", highlight=False)

        counts = [count or None for count in frames or COUNTS]
        try:
            with Bars(quiet) as bars:
                compare(configure, counts, only or DEFAULT, not fresh, progress=bars, show=show)
        except GnnpotError as error:
            console.print(f"{symbol}: {error}", markup=False)
            raise typer.Exit(1) from None
    console.print(write_report(out, data, docs), markup=False)


@dataclass(frozen=True)
class Entry:
    """Result of a run."""

    element: str
    row: str  #: row of the table
    frames: int  #: number of frames for training and validation; 0: not trained
    energy_mae: float  #: eV per atom
    forces_mae: float  #: eV/Å
    minutes: float  #: time of the run
    milliseconds: float  #: time of energy and forces of a test frame


def write_report(out: Path, data: Path, docs: Path) -> str:
    """Update the results in `docs` by the finished runs in `out`; writes and returns the table."""
    path = docs / "results.json"
    known = [Entry(**entry) for entry in json.loads(path.read_text())] if path.exists() else []
    for symbol in PUBLISHED:
        known += gather(out, data, symbol)
    latest = {(list(PUBLISHED).index(e.element), _place(e.row), e.frames): e for e in known}
    entries = [latest[key] for key in sorted(latest)]
    docs.mkdir(parents=True, exist_ok=True)
    write_text(path, "[\n" + ",\n".join(json.dumps(asdict(e), ensure_ascii=False) for e in entries) + "\n]\n")
    table = to_markdown(entries)
    write_text(docs / "results.md", f"{TITLE}\n\n{ABOUT}\n\n{table}\n![Learning curves](curves.png)\n")
    picture(entries).savefig(docs / "curves.png")
    return table


def gather(out: Path, data: Path, symbol: str) -> list[Entry]:
    """Read the finished runs of an element."""
    found: dict[tuple[str, int], tuple[Result, float]] = {}
    potentials: dict[str, Potential] = {}
    for run in sorted(out.glob(f"*/{symbol}/*-*")):
        if not (run / MODEL).exists():
            continue
        name, _, _ = run.name.rpartition("-")
        potential, card = load_checkpoint(run / MODEL)
        for result in read_results(name, run):
            row = _row(result.name, run.parts[-3], result.frames and card.training["data"].get("choose"))
            found.setdefault((row, result.frames), (result, card.training["max_minutes"]))
            potentials.setdefault(row, potential)
    times = {}
    if potentials:
        times = milliseconds(potentials, next(iter(read_frames(data / f"{symbol}_test.extxyz.gz"))))
    return [
        Entry(symbol, row, frames, result.energy_mae, result.forces_mae, minutes if frames else 0.0, times[row])
        for (row, frames), (result, minutes) in found.items()
        if result.energy_mae is not None and result.forces_mae is not None
    ]


def _row(name: str, start: str, choose: str | None) -> str:
    known = {ZERO_SHOT: f"{start} unchanged, best constant shift", "all": f"{start} fine-tuned"}
    row = known.get(name, name.replace("-scratch", " from scratch"))
    return f"{row}, {CHOSEN}" if choose == "representative" else row


def _place(row: str) -> tuple[bool, bool, str]:
    """Sort key of a row: not trained, fine-tuned, from scratch."""
    return "scratch" in row, "fine-tuned" in row, row


def to_markdown(entries: list[Entry]) -> str:
    """Table by element, candidate and number of frames: "energy (meV/atom), force (eV/Å) (minutes)"."""
    columns = [n for n in COUNTS if n]
    lines = [f"| meV/atom, eV/Å (minutes) | {' | '.join(map(str, columns))} | all | ms per step |"]
    lines.append("|---|" + "---|" * (len(columns) + 2))
    for symbol, rows in _grouped(entries).items():
        for name, found in rows.items():
            cells = {e.frames: _cell(e) for e in found}
            # other numbers than those of the columns are all frames of an element; 0: not trained
            whole = [cell for n, cell in cells.items() if n not in columns]
            row = [cells.get(n, "") for n in columns] + (whole[-1:] or [""])
            lines.append(f"| {symbol}: {name} | {' | '.join(row)} | {found[-1].milliseconds:.3g} |")
        for name, (energy, forces) in PUBLISHED[symbol].items():
            row = [""] * len(columns) + [f"{energy:.2f}, {forces:.2f}", ""]
            lines.append(f"| {symbol}: {name}, published | {' | '.join(row)} |")
    return "\n".join(lines) + "\n"


def _grouped(entries: list[Entry]) -> dict[str, dict[str, list[Entry]]]:
    """By element and row, in the order of the entries."""
    rows: dict[str, dict[str, list[Entry]]] = {}
    for entry in entries:
        rows.setdefault(entry.element, {}).setdefault(entry.row, []).append(entry)
    return rows


def _cell(entry: Entry) -> str:
    time = f" ({entry.minutes:g})" if entry.frames else ""
    return f"{1e3 * entry.energy_mae:.2f}, {entry.forces_mae:.3f}{time}"


def picture(entries: list[Entry]) -> Figure:
    """Learning curves of energies (top) and forces (bottom), one column per element; published errors as lines."""
    grouped = _grouped(entries)
    columns = max(len(grouped), 1)
    figure = new_figure(width=3.3 * max(columns, 2), height=6.2)
    # candidates with the same initial weights have the same style
    styles = styles_of(sorted({e.row.split()[0] for e in entries}, reverse=True))
    panels = (("energy_mae", "energy MAE, meV/atom", 1e3), ("forces_mae", "force MAE, eV/Å", 1.0))
    for row, (key, label, factor) in enumerate(panels):
        for k, (symbol, rows) in enumerate(grouped.items()):
            axes = figure.add_subplot(2, columns, row * columns + k + 1)
            for name, found in rows.items():
                points = [(e.frames, factor * getattr(e, key)) for e in found]
                draw(axes, points, styles[name.split()[0]], name)
            best = min(errors[row] for errors in PUBLISHED[symbol].values())
            axes.axhline(best, color="black", linestyle=":", linewidth=1, label="better of GAP and MTP")
            axes.set(xscale="log", yscale="log", xlabel="frames", title=symbol if row == 0 else "")
            axes.set_ylabel(label if k == 0 else "")
            for axis in (axes.xaxis, axes.yaxis):
                plain_log_ticks(axis)
            tidy(axes)
    every = {}
    for axes in figure.axes:
        handles, labels = axes.get_legend_handles_labels()
        every |= dict(zip(labels, handles, strict=True))
    ordered = sorted(every)
    figure.legend(
        [every[name] for name in ordered], ordered, loc="outside lower center", ncols=3, frameon=False, fontsize=8
    )
    return figure


def draw(axes: Axes, points: list[tuple[int, float]], style: Style, label: str) -> None:
    """Draw a curve over the numbers of frames, or a line for a potential that was not trained."""
    if points and points[0][0] == 0:
        axes.axhline(points[0][1], color=style.color, linestyle="--", linewidth=1, label=label)
    elif points:
        representative = label.endswith(CHOSEN)
        axes.plot(
            *zip(*points, strict=True), marker="*" if representative else style.marker, color=style.color,
            linestyle="" if representative else "-", markersize=9 if representative else 4, linewidth=1.3, label=label,
        )  # fmt: skip


if __name__ == "__main__":
    typer.run(main)
