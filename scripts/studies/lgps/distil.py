"""Fine-tune a universal potential on 300 frames of Li10GeP2S12 (PBE, Huang et al. 2021), and distil fast ones from it.

    python scripts/studies/lgps/distil.py --start 7net-l3i5 --finetune 60 --distil 120 --others 40 --threads 2

1. `--start` is fine-tuned on 300 frames of 50 atoms, drawn at random.
2. A student is distilled from it. Its dynamics start from the 300 structures, whose DFT labels it does not use.
3. For comparison, students of other architectures (`--beside`) are trained on the frames that the teacher labelled for
   the student, and all students on the 300 DFT frames only, each for `--others` minutes.
4. All are tested on held-out frames. Teacher, students, and the original package with the initial weights of the
   teacher (if `pip install ".[peers]"` was run) are timed in molecular dynamics, in alternation in one process.

The numbers are minutes of wall time. Learning rates decay with elapsed time, so that they are low at the end on any
machine. `--finetune 0` and `--distil 0` use numbers of epochs or steps instead (`--teach epochs=6`,
`--set learn.final_steps=80000`). `--volumes 930 1000` adds a copy of each structure, scaled to a random volume in this
range, to the distillation. `--shipped lgps-4` also tests and times a named potential from another training. An
interrupted run is resumed by the same command. Results are in OUT/lgps.md and OUT/lgps.png. The aim is a student whose
force error is at most 1.3 times the teacher's, at 50 times the speed.
"""

import contextlib
import json
import logging
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import ase.io
import numba
import numpy as np
import torch
import typer
from ase import Atoms
from ase.calculators.calculator import BaseCalculator
from distil_picture import FRAMES, TAUGHT, TEACHER, UNCHANGED, draw
from rich.console import Console

import gnnpot
from gnnpot.cli.progress import Bars
from gnnpot.config import from_mapping, read_yaml
from gnnpot.data import FrameStore, read_frames, write_store
from gnnpot.engines.calculator import Calculator
from gnnpot.errors import ConfigError, GnnpotError, suggest
from gnnpot.hub.checkpoint import load_checkpoint
from gnnpot.runs.files import write_text
from gnnpot.sampling.distortions import repeated
from gnnpot.training.config import DataConfig, SplitConfig, TrainConfig, fresh_rate
from gnnpot.training.evaluate import evaluate
from gnnpot.training.run import MODEL, train
from gnnpot.workflows.distil import STUDENTS, DistilConfig, distil, read_distil_config
from gnnpot.workflows.distil.results import DistilResults

# the benchmarks have functions that open the original packages
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
from peer_potentials import PEERS

from gnnpot.workflows.distil.report import markdown, rounds_rows
from gnnpot.workflows.distil.run import FINAL, RESULTS
from gnnpot.workflows.distil.speed import LARGE, time_steps
from gnnpot.workflows.finetune import finetune, read_finetune_config

#: aim of the student: force error and speed relative to the teacher
ERROR_GOAL, SPEED_GOAL = 1.3, 50
#: the teacher is for one system alone: as in `scripts/studies/mlearn/finetune.py`
TEACHING = (
    "optimizer.name=soap", "optimizer.lr=0.005", "strategy.kind=all", "strategy.decay=1.0", "loss.forces=1.0",
    "ema=0.995",
)  # fmt: skip
#: names of the architectures
NAMES = {"hdnnp": "HDNNP", "m3gnet": "M3GNet", "chgnet": "CHGNet", "sevennet": "SevenNet"}
#: temperatures of the dynamics, K; LGPS is conducting at all of them
TEMPERATURES = [300, 600, 1000]


@dataclass(frozen=True)
class Row:
    """Errors on the test frames."""

    name: str
    model: str
    source: str  #: source of the training labels
    metrics: dict[str, float]


def main(
    data: Annotated[Path, typer.Option(help="The labelled frames.")],
    start: Annotated[str, typer.Option(help="The potential to fine-tune: name or path.")] = "7net-l3i5",
    out: Annotated[Path, typer.Option(help="Folder for the runs and the report.")] = Path("runs/distil-lgps"),
    frames: Annotated[int, typer.Option(help="Number of frames for fine-tuning.")] = 300,
    tests: Annotated[int, typer.Option(help="Number of test frames.")] = 1000,
    finetune_minutes: Annotated[
        float, typer.Option("--finetune", help="Time of the fine-tuning (min); 0: by epochs.")
    ] = 60.0,
    distil_minutes: Annotated[
        float, typer.Option("--distil", help="Time of the distillation (min); 0: by steps.")
    ] = 120.0,
    other_minutes: Annotated[float, typer.Option("--others", help="Time of each other training (min).")] = 40.0,
    name: Annotated[str, typer.Option("--student", help=f"Student: {', '.join(STUDENTS)}.")] = "sevennet",
    beside: Annotated[str, typer.Option(help="Other students to compare with, separated by commas.")] = "hdnnp",
    volumes: Annotated[
        tuple[float, float] | None, typer.Option(help="Volumes of scaled copies of the structures, Å³: from, to.")
    ] = None,
    shipped: Annotated[str | None, typer.Option(help="Name or path of another potential to test and time.")] = None,
    teaching: Annotated[
        list[str] | None, typer.Option("--teach", help="Options of the fine-tuning: key.key=value.")
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Options of the distillation: key.key=value.")
    ] = None,
    threads: Annotated[int, typer.Option(help="Number of threads.")] = 1,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress bars.")] = False,
) -> None:
    """Run the missing steps, and write OUT/lgps.md, OUT/lgps.json and OUT/lgps.png."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s")
    torch.set_num_threads(threads)
    numba.set_num_threads(threads)
    console = Console(soft_wrap=True)
    names = [name, *filter(None, beside.split(","))]
    minutes = {"fine-tuning": finetune_minutes, "distillation": distil_minutes, "each other training": other_minutes}
    try:
        check(names)
        train_store, test_store = split(data, out / "data", frames, tests)
        console.print(f"fine-tuning {start} on {frames} frames", highlight=False)
        options = [f"max_minutes={finetune_minutes or 'null'}", f"data.test={test_store}", "probe_elements=[Ge]"]
        options += [f"name={Path(start).name}-lgps", "functional=PBE", *TEACHING, *(teaching or [])]
        with Bars(quiet) as bars:
            finetune(read_finetune_config(start, [train_store], run=out / "teacher", overrides=options), progress=bars)
        structures = [train_store, *([] if volumes is None else [scaled(train_store, out / "data", volumes)])]
        student(out, name, structures, test_store, distil_minutes, settings or [], console, quiet)
        compare(out, names, train_store, test_store, other_minutes, console, quiet)
        report(out, start, names, frames, test_store, minutes, [*(teaching or []), *(settings or [])], shipped)
    except GnnpotError as error:
        console.print(str(error), markup=False)
        raise typer.Exit(1) from None
    console.print((out / "lgps.md").read_text(), markup=False)


def check(names: list[str]) -> None:
    """Raise `ConfigError` for unsuitable students, before any training."""
    for name in names:
        if name not in STUDENTS:
            raise ConfigError(f"--student, --beside: '{name}' is not known; {suggest(name, STUDENTS)}")
    if len(set(names)) < len(names):
        raise ConfigError("--beside: names the student, or one twice; give others, or --beside '' for none")


def folders(names: list[str]) -> dict[str, str]:
    """Folders of the students trained on the teacher's labels; the first is the distilled one."""
    return {name: f"beside-{name}" if k else "student" for k, name in enumerate(names)}


def split(data: Path, folder: Path, frames: int, tests: int) -> tuple[Path, Path]:
    """Stores of frames to train on and to test on, drawn at random."""
    paths = folder / "train.store", folder / "test.store"
    if not all(path.exists() for path in paths):
        every = list(read_frames(data))
        order = np.random.default_rng(0).permutation(len(every))
        for path, chosen in zip(paths, (order[:frames], order[frames : frames + tests]), strict=True):
            write_store((every[int(k)] for k in np.sort(chosen)), path, source=data.name, overwrite=True)
    return paths


def scaled(store: Path, folder: Path, volumes: tuple[float, float]) -> Path:
    """A store of the structures, each scaled to a random volume, without labels."""
    path = folder / "scaled.extxyz"
    if not path.exists():
        rng = np.random.default_rng(1)
        copies = []
        for frame in FrameStore(store):
            atoms = frame.to_atoms()
            plain = Atoms(atoms.symbols, scaled_positions=atoms.get_scaled_positions(), cell=atoms.cell, pbc=True)
            factor = (rng.uniform(*volumes) / plain.get_volume()) ** (1 / 3)
            plain.set_cell(plain.cell * factor, scale_atoms=True)
            copies.append(plain)
        ase.io.write(path, copies, format="extxyz")
    return path


def student(
    out: Path, name: str, structures: list[Path], tests: Path, minutes: float, settings: list[str], console: Console,
    quiet: bool,
) -> None:  # fmt: skip
    """Run the distillation."""
    options = [f"explore.temperatures={TEMPERATURES}", f"max_minutes={minutes or 'null'}", f"test={tests}"]
    # labelling a frame with the teacher takes the time of a few training steps of a student
    options += ["select.random=30", "select.uncertain=100"]
    # each frame with a distorted copy: the frames are thermal already
    options += ["start.distortions=[{kind: original}, {kind: strained, strain: 0.04, rattle: 0.05}]", *settings]
    config = read_distil_config(
        str(out / "teacher" / MODEL), structures, run=out / "student", student=name, overrides=options
    )
    with Bars(quiet) as bars:

        def show(sentence: str) -> None:
            bars.pause()
            console.print(sentence, highlight=False)

        distil(config, on_event=show, progress=bars)


def compare(
    out: Path, names: list[str], structures: Path, tests: Path, minutes: float, console: Console, quiet: bool
) -> None:
    """Train the other students on the teacher's labels, and all students on the DFT labels."""
    last = from_mapping(TrainConfig, read_yaml(out / "student" / FINAL / "config.yaml"), where="the final training")
    schedule = replace(last.schedule, horizon="time")
    last = replace(last, schedule=schedule, max_minutes=minutes, max_steps=None)
    alone = DataConfig(train=structures, test=tests, split=SplitConfig(validation=0.1, by="count"), check_stress=False)
    taught = replace(last.data, test=tests)
    # the size of the student is given by its settings
    models = {name: replace(STUDENTS[name], elements=last.model.elements) for name in names} | {names[0]: last.model}
    # so has the optimiser of the student, and each of the others its own rate
    given = last.optimizer
    rates = {name: replace(given, lr=fresh_rate(name, given.name)) for name in names[1:]} | {names[0]: given}
    for name in names[1:]:
        console.print(f"training {NAMES[name]} on what the teacher labelled", highlight=False)
        run = out / folders(names)[name]
        config = replace(last, model=models[name], optimizer=rates[name], data=taught, run=run)
        with Bars(quiet) as bars:
            train(config, progress=bars)
    for name, model in models.items():
        console.print(f"training {NAMES[name]} on the labelled frames alone", highlight=False)
        run = out / f"alone-{name}"
        config = replace(last, model=model, optimizer=rates[name], data=alone, run=run)
        with Bars(quiet) as bars:
            train(config, progress=bars)


def report(
    out: Path, start: str, names: list[str], frames: int, tests: Path, minutes: dict[str, float], settings: list[str],
    shipped: str | None,
) -> None:  # fmt: skip
    """Write lgps.md, lgps.json and lgps.png; `names`: the student, and those beside it."""
    teacher, card = (load_checkpoint(out / folder / MODEL)[1] for folder in ("teacher", "student"))
    measured = card.metrics["distil"]["measured"]["test"]
    zero_shot = teacher.metrics["finetune"]["new"]["start"]
    # a constant energy shift is arbitrary, so the best one is applied
    zero_shot = {**zero_shot, "energy_mae": zero_shot["energy_shifted_mae"]}

    def tested(folder: str) -> dict[str, float]:
        return load_checkpoint(out / folder / MODEL)[1].metrics["test"]

    first, *others = names
    rows = [
        Row(f"{start} unchanged, best constant shift", TEACHER, UNCHANGED, zero_shot),
        Row(f"the teacher: {start}, fine-tuned on {frames} frames", TEACHER, FRAMES, measured["teacher"]),
        Row(f"the student: {NAMES[first]}, distilled from it", NAMES[first], TAUGHT, measured["student"]),
        *shipped_row(shipped, tests),
        *(
            Row(f"{NAMES[n]}, trained on what the teacher labelled", NAMES[n], TAUGHT, tested(folders(names)[n]))
            for n in others
        ),
        *(
            Row(f"{NAMES[n]}, trained on the {frames} frames alone", NAMES[n], FRAMES, tested(f"alone-{n}"))
            for n in names
        ),
    ]
    config = from_mapping(DistilConfig, card.training["distillation"])
    manifest = FrameStore(tests).manifest
    error = measured["student"]["forces_mae"] / measured["teacher"]["forces_mae"]
    speeds = timed(out, start, names, shipped)
    results = DistilResults(out / "student" / RESULTS)
    # measured: where steps are counted, no minutes were asked for
    taken = minutes | {"distillation": results.minutes}
    times = ", ".join(f"{n:.3g} min of {what}" for what, n in taken.items() if n)
    times += "".join(f", `{setting}`" for setting in settings)
    text = [
        "# Fine-tuning and distillation of Li10GeP2S12",
        (
            "`scripts/studies/lgps/distil.py` fine-tunes a universal potential on DFT frames of Li10GeP2S12 (PBE) and "
            "distils it into fast students."
        ),
        "## Errors",
        f"Errors on {manifest.frames} test frames with {manifest.atoms} atoms in total:",
        markdown([("", "force MAE, meV/Å", "force RMSE, meV/Å", "energy MAE, meV/atom"), *map(_cells, rows)]),
        (
            f"The student's force error is {error:.2f} times the teacher's. The goal is at most {ERROR_GOAL}, at "
            f"{SPEED_GOAL} times the speed."
        ),
        "![Errors on the test frames, and time of a step](lgps.png)",
        "## Speed",
        (
            "Molecular dynamics, µs per atom and step: processor time of one thread, all potentials in turns in one "
            "process. In brackets: the speed relative to the teacher."
        ),
        markdown(speed_rows(speeds)),
        "Students: " + "; ".join(f"{NAMES[n]}, {_sizes(out / f)}" for n, f in folders(names).items()) + ".",
        "## Rounds",
        (
            "Errors of the students on fresh frames of their own dynamics at "
            f"{', '.join(f'{t:g}' for t in config.explore.temperatures)} K, relative to the teacher. The rounds ended "
            f"because {card.metrics['distil']['end']}."
        ),
        markdown(rounds_rows(card)),
        "## Settings",
        f"{times}. The student's last training took {results.minutes_of('final'):.3g} min of the distillation.",
    ]
    drawn = {
        "goal": ERROR_GOAL * rows[1].metrics["forces_mae"] * 1e3,
        "errors": [
            {"model": row.model, "learnt_from": row.source, "forces_mae_meV_A": 1e3 * row.metrics["forces_mae"]}
            for row in rows
        ],
        "us_per_atom_and_step": speeds,
    }
    write_text(out / "lgps.json", json.dumps(drawn, indent=1) + "\n")
    draw(json.loads((out / "lgps.json").read_text())).savefig(out / "lgps.png")
    write_text(out / "lgps.md", "\n\n".join(text) + "\n")


def shipped_row(shipped: str | None, tests: Path) -> list[Row]:
    """Errors of the potential given by `--shipped`, if any."""
    if shipped is None:
        return []
    potential = gnnpot.load(shipped)
    name = f"{shipped}, as it comes with gnnpot"
    return [Row(name, shipped, TAUGHT, evaluate(potential, FrameStore(tests), stress=False).metrics())]


def _sizes(folder: Path) -> str:
    model = load_checkpoint(folder / MODEL)[0].model
    numbers = sum(p.numel() for p in model.parameters())
    return f"{numbers:,} parameters, cutoff {model.cutoff:g} Å"


def timed(out: Path, start: str, names: list[str], shipped: str | None) -> dict[int, dict[str, float]]:
    """µs per atom and step, by number of atoms, of teacher, students, and the package that published `start`, if it is
    installed."""
    places = {TEACHER: "teacher"} | {NAMES[name]: folder for name, folder in folders(names).items()}
    calculators: dict[str, BaseCalculator] = {
        called: Calculator(load_checkpoint(out / folder / MODEL)[0]) for called, folder in places.items()
    }
    if shipped is not None:
        calculators[shipped] = Calculator(shipped)
    peer = next((peer for peer in PEERS if peer.name == start), None)
    if peer is not None:
        with contextlib.suppress(ImportError):
            calculators[f"{start} by its authors' package, {peer.package}"] = peer.calculator(start)
    structure = FrameStore(out / "data" / "train.store")[0].to_atoms()
    sizes = (structure, repeated(structure, LARGE))
    return {len(atoms): time_steps(calculators, atoms, TEMPERATURES[0], 1.0) for atoms in sizes}


def speed_rows(times: dict[int, dict[str, float]]) -> list[tuple[str, ...]]:
    """Rows of the table of speeds."""
    names = next(iter(times.values()))
    rows = [("", *(f"{atoms} atoms" for atoms in times))]
    for name in names:
        ratios = ["" if name == TEACHER else f" ({t[TEACHER] / t[name]:.3g})" for t in times.values()]
        rows.append((name, *(f"{t[name]:.3g}{ratio}" for t, ratio in zip(times.values(), ratios, strict=True))))
    return rows


def _cells(row: Row) -> tuple[str, ...]:
    metrics = row.metrics
    forces = (f"{1e3 * metrics[f'forces_{kind}']:.1f}" for kind in ("mae", "rmse"))
    return (row.name, *forces, f"{1e3 * metrics['energy_mae']:.2f}")


if __name__ == "__main__":
    typer.run(main)
