"""Compare fine-tuning strategies and training from scratch, with the same frames, split, loss, optimiser and budget.

    def configure(frames):                       # None: all
        options = ["max_minutes=20"] + ([] if frames is None else [f"data.frames={frames}"])
        return read_finetune_config("7net-0", ["frames.extxyz.gz"], run="runs/compared", overrides=options)

    compare(configure, counts=[5, 20, 80, None]).rows()

Each run has its own folder, `CANDIDATE-FRAMES`, in that of the configuration. A run that was stopped resumes; one that
has ended is only read. After each run, `results.json`, `table.md` and `comparison.png` are rewritten. The test subset
is the same for all numbers of frames.
"""

import json
import logging
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gnnpot.config import to_mapping
from gnnpot.data.frame import Frame
from gnnpot.errors import ConfigError, suggest
from gnnpot.hub.checkpoint import load_checkpoint
from gnnpot.models import HDNNPConfig, M3GNetConfig, ModelConfig, SevenNetConfig
from gnnpot.potential import Potential
from gnnpot.runs.files import write_text
from gnnpot.runs.pages import COLORS, new_figure, tidy
from gnnpot.runs.progress import Progress, no_progress
from gnnpot.training.config import RunConfig, TrainConfig, fresh_rate
from gnnpot.training.prepare import open_subsets
from gnnpot.training.run import MODEL, train
from gnnpot.workflows.finetune.config import STRATEGIES, FineTuneConfig, with_strategy
from gnnpot.workflows.finetune.run import finetune

log = logging.getLogger(__name__)

#: models that are trained from scratch, by name of the candidate
SCRATCH: dict[str, ModelConfig] = {
    "sevennet-scratch": SevenNetConfig(
        channels=(32, 16, 16), layers=2, cutoff_function="polynomial", radial_hidden=(32, 32), element_scales=True
    ),
    "m3gnet-scratch": M3GNetConfig(units=32, blocks=2, cutoff=5.0, three_body_cutoff=4.0),
    "hdnnp-scratch": HDNNPConfig(hidden=(40, 40)),
}
ZERO_SHOT = "zero-shot"

#: callback before each run, with the name of the run, its number, and the number of runs
Show = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Result:
    """Errors of a run on the test subset, and its speed."""

    name: str
    frames: int  #: number of frames for training and validation
    energy_mae: float | None  #: eV per atom
    forces_mae: float | None  #: eV/Å
    milliseconds: float | None = None  #: time for energy and forces of a test frame, without the neighbour list, ms
    atoms: int = 0  #: number of atoms of that frame


@dataclass(frozen=True, eq=False)
class Comparison:
    """Results of all runs that have ended."""

    results: tuple[Result, ...]
    folder: Path

    def rows(self) -> list[tuple[str, ...]]:
        """Rows of the table of results; the first row is the header."""
        head = ("", "frames", "energy MAE, meV/atom", "force MAE, eV/Å", "ms per step")
        rows: list[tuple[str, ...]] = [
            (
                r.name, str(r.frames) if r.name != ZERO_SHOT else "", _number(r.energy_mae, 1e3, ".2f"),
                _number(r.forces_mae, 1, ".3f"), _number(r.milliseconds, 1, ".3g"),
            )
            for r in self.results
        ]  # fmt: skip
        return [head, *rows]

    def to_markdown(self) -> str:
        """The table of results in Markdown."""
        head, *rows = self.rows()
        lines = [head, ("---",) * len(head), *rows]
        return "".join(f"| {' | '.join(line)} |\n" for line in lines)

    def figure(self) -> Figure:
        """Plot the errors against the number of frames and against the time per step."""
        figure = new_figure(width=9.6, height=7.4)
        names = list(dict.fromkeys(r.name for r in self.results))
        panels = (("energy_mae", "energy MAE, meV/atom", 1e3), ("forces_mae", "force MAE, eV/Å", 1.0))
        for row, (key, label, factor) in enumerate(panels):
            over_frames, over_time = (figure.add_subplot(2, 2, 2 * row + k) for k in (1, 2))
            for k, name in enumerate(names):
                self._draw(over_frames, over_time, name, key, factor, k)
            over_frames.set(xlabel="frames", ylabel=label, xscale="log", yscale="log")
            over_time.set(xlabel="ms per step (energy and forces of a test frame)", ylabel=label, xscale="log",
                          yscale="log")  # fmt: skip
            for axes in (over_frames, over_time):
                tidy(axes)
            if row == 0:
                over_frames.legend(frameon=False, fontsize=7)
        return figure

    def _draw(self, over_frames: Axes, over_time: Axes, name: str, key: str, factor: float, k: int) -> None:
        color, mark = COLORS[k % len(COLORS)], "os^Dv"[k // len(COLORS) % 5]
        mine = [r for r in self.results if r.name == name and getattr(r, key) is not None]
        if not mine:
            return
        if name == ZERO_SHOT:
            over_frames.axhline(factor * getattr(mine[0], key), color=color, linewidth=1, linestyle="--", label=name)
        else:
            points = [(r.frames, factor * getattr(r, key)) for r in mine]
            over_frames.plot(*zip(*points, strict=True), marker=mark, color=color, linewidth=1.3, label=name)
        best = max(mine, key=lambda r: r.frames)
        if best.milliseconds:
            over_time.plot(best.milliseconds, factor * getattr(best, key), marker=mark, color=color, linestyle="")


def compare(
    configure: Callable[[int | None], FineTuneConfig],
    counts: Sequence[int | None] = (None,),
    only: Sequence[str] | None = None,
    resume: bool = True,
    *,
    progress: Progress = no_progress,
    show: Show | None = None,
) -> Comparison:
    """Run the candidates at each number of frames.

    Args:
        configure: Gives the configuration of the fine-tuning for a number of frames (`None`: all). Its folder is that
            of the comparison. All candidates have its data, loss, optimiser and budget: `max_minutes`, `max_steps`, or
            else its number of steps.
        counts: Numbers of frames.
        only: Names of the candidates; by default, all.
        resume: As for `train`.
        progress: Receives the progress of the training.
        show: Called before each run.

    Returns:
        The results of all runs.

    Raises:
        ConfigError: A name is not known. Errors of the runs are raised, too.
    """
    names = list(only or (*STRATEGIES, *SCRATCH))
    for name in names:
        if name not in (*STRATEGIES, *SCRATCH):
            raise ConfigError(f"--only {name}: is not a candidate; {suggest(name, (*STRATEGIES, *SCRATCH))}")
    configs = {n: configure(n) for n in sorted(set(counts), key=lambda n: (n is None, n))}
    plan = [(name, n) for n in configs for name in names]
    results: list[Result] = []
    for k, (name, frames) in enumerate(plan, 1):
        out = configs[frames].run
        config = candidate(configs[frames], name, out / f"{name}-{frames or 'all'}")
        if show is not None:
            show(config.run.name, k, len(plan))
        if isinstance(config, FineTuneConfig):
            finetune(config, resume, progress=progress)
        else:
            train(config, resume, progress=progress)
        results += read_results(name, config.run)
        write_comparison(_merged(results), out)
    return write_comparison(_timed(_merged(results), names, configs), out)


def candidate(config: FineTuneConfig, name: str, run: Path) -> FineTuneConfig | TrainConfig:
    """Configuration of a candidate in the folder `run`: a strategy with the start of `config`, or a new model."""
    if name not in SCRATCH:
        return with_strategy(config, name, run)
    common = {f: getattr(config, f) for f in RunConfig.__dataclass_fields__}
    model, given = SCRATCH[name], config.optimizer
    # new weights need a higher learning rate
    optimizer = replace(given, lr=max(fresh_rate(model.architecture, given.name), given.lr))
    return TrainConfig(**{**common, "optimizer": optimizer, "run": run}, model=model)


def read_results(name: str, run: Path) -> list[Result]:
    """Result of a candidate's run that has ended; for a fine-tuning, also the result of the starting potential."""
    metrics = load_checkpoint(run / MODEL)[1].metrics
    counts = json.loads((run / "data.json").read_text(encoding="utf-8"))["frames"]
    part = metrics.get("test", metrics["validation"])
    frames = counts["train"] + counts["validation"]
    found = [Result(name, frames, part.get("energy_mae"), part.get("forces_mae"))]
    if "finetune" in metrics:
        start = metrics["finetune"]["new"]["start"]
        # a constant shift of the energies is not counted as an error, so the optimal one is used
        found.insert(0, Result(ZERO_SHOT, 0, start.get("energy_shifted_mae"), start.get("forces_mae")))
    return found


def _merged(results: Sequence[Result]) -> tuple[Result, ...]:
    """Remove duplicates; zero-shot first, the others by name and number of frames."""
    kept: dict[tuple[str, int], Result] = {}
    for result in results:
        kept.setdefault((result.name, result.frames), result)
    order = list(dict.fromkeys(name for name, _ in kept))
    return tuple(sorted(kept.values(), key=lambda r: (r.name != ZERO_SHOT, order.index(r.name), r.frames)))


def _timed(
    results: Sequence[Result], names: Sequence[str], configs: dict[int | None, FineTuneConfig]
) -> tuple[Result, ...]:
    """Add the time per step to the results, measured in turns, so that other load affects all potentials equally."""
    frames, config = next(reversed(configs.items()))
    runs = {name: config.run / f"{name}-{frames or 'all'}" for name in names}
    potentials = {name: load_checkpoint(run / MODEL)[0] for name, run in runs.items()}
    _, subsets = open_subsets(replace(config, run=next(iter(runs.values()))))
    frame = next((subsets.get("test") or subsets["validation"]).evenly_spaced(1))
    times = milliseconds(potentials, frame)
    if tuned := [name for name in names if name in STRATEGIES]:
        times[ZERO_SHOT] = times[tuned[0]]
    return tuple(replace(r, milliseconds=times[r.name], atoms=len(frame)) for r in results)


def milliseconds(potentials: dict[str, Potential], frame: Frame, turns: int = 7) -> dict[str, float]:
    """Median time (ms) for energy and forces, measured in turns; potentials with equal configurations share it."""
    kinds = {name: potential.model.config for name, potential in potentials.items()}
    one_each = {kinds[name]: potential.eval().requires_grad_(False) for name, potential in potentials.items()}
    graphs = {kind: potential.graph(frame) for kind, potential in one_each.items()}
    found: dict[ModelConfig, list[float]] = {kind: [] for kind in one_each}
    # the first turn is a warm-up
    for turn in range(turns + 1):
        for kind, potential in one_each.items():
            begin = time.perf_counter()
            potential(graphs[kind], stress=False)
            if turn:
                found[kind].append(1e3 * (time.perf_counter() - begin))
    return {name: statistics.median(found[kind]) for name, kind in kinds.items()}


def write_comparison(results: Sequence[Result], out: Path) -> Comparison:
    """Write `results.json`, `table.md` and `comparison.png` into `out`."""
    comparison = Comparison(tuple(results), out)
    write_text(out / "results.json", json.dumps(to_mapping(list(results)), indent=1) + "\n")
    write_text(out / "table.md", comparison.to_markdown())
    comparison.figure().savefig(out / "comparison.png")
    return comparison


def _number(value: float | None, factor: float, form: str) -> str:
    return "" if value is None else format(factor * value, form)
