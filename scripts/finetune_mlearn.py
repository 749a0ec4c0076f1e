"""Fine-tuned, from scratch, and as it came: Si, Mo, Cu, Ni of Zuo et al. 2020 (J. Phys. Chem. A 124, 731).

    python scripts/finetune_mlearn.py --data ../shared/data/mlearn --start 7net-0 --minutes 60 --threads 2
    python scripts/finetune_mlearn.py --element Si --frames 20 --only all --minutes 5      # a part of it

For each element and number of training frames (5, 20, 80, all; those that choose the best weights count among them)
the candidates of `gnnpot finetune --compare` run on the same frames, loss and time; the official test frames are read
at the end only. Energies and forces: of the stresses in these files just the diagonal can be trusted. The learning
rate falls with the clock, so a run ends well annealed on any machine. Stopped by whatever, the same command goes on.
OUT/results.md holds the tables of all that has ended, beside the published errors.
"""

import logging
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console

from gnnpot.data.files import write_text
from gnnpot.errors import GnnpotError
from gnnpot.training.finetune.compare import ZERO_SHOT, Comparison, Result, compare
from gnnpot.training.finetune.config import FineTuneConfig, read_finetune_config

#: of the paper's test sets: energy (meV/atom) and force (eV/Å) MAE
PUBLISHED = {
    "Si": {"GAP": (2.91, 0.07), "MTP": (2.21, 0.06)},
    "Mo": {"GAP": (2.24, 0.09), "MTP": (2.83, 0.09)},
    "Cu": {"GAP": (0.46, 0.01), "MTP": (0.41, 0.01)},
    "Ni": {"GAP": (0.42, 0.02), "MTP": (0.48, 0.01)},
}
COUNTS = (5, 20, 80, 0)
DEFAULT = ("all", "m3gnet-scratch", "hdnnp-scratch")


def main(
    data: Annotated[Path, typer.Option(help="Folder with Si_train.extxyz.gz and so on.")] = Path(
        "../shared/data/mlearn"
    ),
    start: Annotated[str, typer.Option(help="The potential to fine-tune: name or path.")] = "7net-0",
    out: Annotated[Path, typer.Option(help="Folder for the runs and the tables.")] = Path("runs/finetune-mlearn"),
    minutes: Annotated[float, typer.Option(help="Wall time of each run.")] = 60.0,
    element: Annotated[list[str] | None, typer.Option(help=f"Some of {', '.join(PUBLISHED)}; may be repeated.")] = None,
    frames: Annotated[list[int] | None, typer.Option(help="Numbers of frames; 0 is all of them.")] = None,
    only: Annotated[list[str] | None, typer.Option(help="Candidates, as in gnnpot finetune --compare.")] = None,
    settings: Annotated[list[str] | None, typer.Option("--set", help="Options of all runs: key.key=value.")] = None,
    threads: Annotated[int, typer.Option(help="Threads of each run.")] = 1,
    fresh: Annotated[bool, typer.Option("--fresh", help="Begin again.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar.")] = False,
) -> None:
    """Run what has not ended, write results.md."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s")
    console = Console(soft_wrap=True)
    torch.set_num_threads(threads)
    compared: dict[str, Comparison] = {}
    for symbol in element or PUBLISHED:
        if symbol not in PUBLISHED:
            raise typer.BadParameter(f"'{symbol}' is none of {', '.join(PUBLISHED)}", param_hint="--element")

        def configure(count: int | None, symbol: str = symbol) -> FineTuneConfig:
            options = [
                f"data.test={data / f'{symbol}_test.extxyz.gz'}", "data.reader.stress_key=''", "loss.stress=0.0",
                f"max_minutes={minutes}", *(settings or ()),
            ]  # fmt: skip
            if count is not None:
                options.append(f"data.frames={count}")
            train = data / f"{symbol}_train.extxyz.gz"
            return read_finetune_config(start, [train], run=out / symbol, overrides=options)

        def show(name: str, number: int, total: int, symbol: str = symbol) -> None:
            console.print(f"{symbol}, run {number} of {total}: {name}", highlight=False)

        counts = [count or None for count in frames or COUNTS]
        try:
            compared[symbol] = compare(configure, counts, only or DEFAULT, not fresh, progress=not quiet, show=show)
        except GnnpotError as error:
            console.print(f"{symbol}: {error}", markup=False)
            raise typer.Exit(1) from None
        write_text(out / "results.md", to_markdown(compared, start))
    console.print(to_markdown(compared, start), markup=False)


def to_markdown(compared: dict[str, Comparison], start: str) -> str:
    """One table: errors by element, candidate and number of frames, "energy (meV/atom) / force (eV/Å)"."""
    counts = sorted({r.frames for c in compared.values() for r in c.results if r.name != ZERO_SHOT})
    # all frames of an element are the last column, whatever their number
    largest = {s: max(r.frames for r in c.results) for s, c in compared.items()}
    columns = [n for n in counts if n not in largest.values()]
    heads = [str(n) for n in columns] + [", ".join(f"{n} ({s})" for s, n in largest.items())]
    lines = [f"| meV/atom, eV/Å | {' | '.join(heads)} | ms per step |", "|---|" + "---|" * (len(heads) + 1)]
    names = {ZERO_SHOT: f"{start} as it came, best constant shift", "all": f"{start} fine-tuned"}
    for symbol, comparison in compared.items():
        for name in dict.fromkeys(r.name for r in comparison.results):
            mine = {r.frames: r for r in comparison.results if r.name == name}
            shown = [0] * (len(columns) + 1) if name == ZERO_SHOT else [*columns, largest[symbol]]
            cells = [_cell(mine.get(n)) for n in shown]
            time = next(iter(mine.values())).milliseconds
            cells.append("" if time is None else f"{time:.3g}")
            lines.append(f"| {symbol}: {names.get(name, name)} | {' | '.join(cells)} |")
        for name, (energy, forces) in PUBLISHED[symbol].items():
            cells = [""] * len(columns) + [f"{energy:.2f}, {forces:.2f}"]
            lines.append(f"| {symbol}: {name}, published | {' | '.join(cells)} | |")
    return "\n".join(lines) + "\n"


def _cell(result: Result | None) -> str:
    if result is None or result.energy_mae is None or result.forces_mae is None:
        return ""
    return f"{1e3 * result.energy_mae:.2f}, {result.forces_mae:.3f}"


if __name__ == "__main__":
    typer.run(main)
