"""Potentials side by side: errors on real frames, short range, equations of state, relaxation, heat, and speed.

    python scripts/benchmarks/evaluate_checkpoint.py gnnpot-1 m3gnet-mp-2021.2.8 chgnet-0.3.0 7net-0 \\
        --output docs/checkpoint --frames held-out=mptrj-random-1k.extxyz.gz \\
        --frames compressed=mptrj-highest-stress-1k.extxyz.gz --part test \\
        --fractions train=0.75,validation=0.05,test=0.2 --material-key formula --acwf acwf --pool pool.extxyz.gz
    python scripts/benchmarks/evaluate_checkpoint.py runs/mine/model --only dimers

Models are names or folders of checkpoints. The parts:

- `frames`: each `--frames NAME=FILE` (or store): mean absolute errors of the energy per atom, of force components and
  of stress components, and the mean length of the force's error. With `--part test`, only frames of materials that
  are in that part of a split by material with `--fractions` and `--split-seed`, which is what training with the same
  split has held out. How energies of different meaning are compared: `frames_part` in `evaluation_parts.py`.
- `dimers`: all pairs of the model's elements, from 0.3 to 1.2 of the sum of their covalent radii: holes, by name.
- `equations-of-state`: the elements in four cubic structures, against the all-electron average of Bosoni et al., Nat.
  Rev. Phys. 6, 45 (2024); `--acwf` is a folder with its file and the frames of the VASP calculations. With `--part`,
  once more those crystals that are in that part of the split, as scripts/gnnpot-1/make_equations_of_state.py makes it.
- `relaxations`: `--crystals` of the `--pool` (scripts/gnnpot-1/make_pool.py makes it), positions and cells.
- `dynamics`: `--hot` of the relaxed ones, 48 atoms or more, NVT at 1000 K for `--picoseconds`, in steps of 2 fs, with
  hydrogen 1 fs.
- `speed`: a step (energy, forces, stress) of 64 and 512 atoms of Si, all models in turns, and those packages of
  `peers.py` that are installed; always matgl's M3GNet if it is. Processor time with one thread, else wall time.

Parts whose data are not given are left out, and the table says so. Every part's numbers are written when it is done
(`results/`), the long ones go on in the middle, and a part is measured again only if the weights, its data or its
options have changed. The table (`table.md`) and the plots are made of all results that are there.
"""

import argparse
import importlib.util
import json
import platform
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms
from evaluation_parts import (
    ACWF_FRAMES,
    ACWF_REFERENCE,
    CRITERIA,
    PARTS,
    Model,
    Tell,
    file_sha256,
    frames_part,
    open_model,
)
from evaluation_report import write_report
from peer_potentials import PEERS
from peers import alternate, moving, structure, use_threads
from peers_report import cpu_name
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from gnnpot.data.splits import part_of_material
from gnnpot.engines.calculator import Calculator
from gnnpot.errors import ConfigError, GnnpotError, suggest
from gnnpot.properties.dimers import WALL
from gnnpot.runs.files import write_text

SPEED_SIZES = (64, 512)
FRAMES_SETTINGS = ("part", "fractions", "split_seed", "material_key")
NAMES = ("frames", *PARTS, "speed")
#: options that a part's numbers follow from
SETTINGS: dict[str, tuple[str, ...]] = {
    "dimers": (),
    "equations-of-state": ("count",),
    "relaxations": ("seed", "crystals"),
    "dynamics": ("seed", "crystals", "hot", "picoseconds"),
}


class Evaluator:
    """Measures what is missing in the folder of results."""

    def __init__(self, models: list[Model], options: argparse.Namespace, console: Console) -> None:
        self.models, self.options, self.console = models, options, console
        self.folder: Path = options.output / "results"
        self.folder.mkdir(parents=True, exist_ok=True)

    def run(self) -> None:
        """All parts that are wanted and possible; the report after each."""
        for part in self.options.only:
            if part == "speed":
                self._speed()
            elif part == "frames":
                for name, path in self.options.frames.items():
                    settings = {"data": file_sha256(path)}
                    settings |= {key: getattr(self.options, key) for key in FRAMES_SETTINGS}
                    for model in self.models:
                        work = partial(frames_part, model, path, self.options)
                        self._measure(f"frames-{name}", model, settings, work)
            elif self._has_data(part):
                settings = {key: getattr(self.options, key) for key in SETTINGS[part]}
                if part in ("relaxations", "dynamics"):
                    settings["data"] = file_sha256(self.options.pool)
                    settings["criteria"] = CRITERIA
                elif part == "equations-of-state":
                    settings["data"] = [file_sha256(self.options.acwf / name) for name in (ACWF_FRAMES, ACWF_REFERENCE)]
                elif part == "dimers":
                    settings["wall"] = WALL
                for model in self.models:
                    self._measure(part, model, settings, partial(PARTS[part], model, self.options))
            self._report()

    def _report(self) -> None:
        o = self.options

        def held_out(name: str) -> bool:
            return part_of_material(name, o.fractions, o.split_seed) == o.part

        write_report(o.output, [model.name for model in self.models], None if o.part is None else held_out)

    def _has_data(self, part: str) -> bool:
        needed = {"equations-of-state": "acwf", "relaxations": "pool", "dynamics": "pool"}.get(part)
        if needed is None or getattr(self.options, needed) is not None:
            return True
        self.console.print(f"{part}: left out, --{needed} is not given", highlight=False)
        return False

    def _measure(self, part: str, model: Model, settings: dict, work: Callable[[Tell], dict]) -> None:
        path = self.folder / model.name / f"{part}.json"
        # as JSON has it, so that what is read compares equal
        key = json.loads(json.dumps({"weights_sha256": model.sha256, **settings}))
        if path.exists() and json.loads(path.read_text())["key"] == key:
            self.console.print(f"{model.name}, {part}: is there", highlight=False)
            return
        with _bar(self.console) as bar:
            task = bar.add_task(f"{model.name}, {part}", total=None)
            result = work(lambda done, total: bar.update(task, completed=done, total=total))
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps({"key": key, "result": result}) + "\n")

    def _speed(self) -> None:
        """Time of a step, all potentials in turns in this process."""
        path = self.folder / "speed.json"
        runs: list[tuple[str, str, Callable[[], Any]]] = [
            (m.name, "gnnpot", partial(Calculator, m.potential, dtype=torch.float32)) for m in self.models
        ]
        names = {model.name for model in self.models}
        runs += [
            (peer.name, peer.package, partial(peer.calculator, peer.name))
            for peer in PEERS
            if (peer.name in names or peer.package == "matgl") and importlib.util.find_spec(peer.package)
        ]
        key = {"sha256": {m.name: m.sha256 for m in self.models}, "runs": [list(run[:2]) for run in runs]}
        key |= {"threads": self.options.threads, "cpu": cpu_name(), "torch": torch.__version__}
        key |= {"python": platform.python_version(), "seconds": self.options.seconds}
        if path.exists() and json.loads(path.read_text())["key"] == key:
            self.console.print("speed: is there", highlight=False)
            return
        rows = []
        with _bar(self.console) as bar:
            task = bar.add_task("speed", total=len(SPEED_SIZES))
            for size in SPEED_SIZES:
                atoms = structure("Si", size)
                times = self._turns([make for *_, make in runs], atoms)
                for (name, package, _), found in zip(runs, times, strict=True):
                    rows.append({"model": name, "package": package, "atoms": len(atoms), "ms": 1e3 * np.median(found)})
                bar.advance(task)
        write_text(path, json.dumps({"key": key, "result": {"clock": self._clock, "rows": rows}}) + "\n")

    @property
    def _clock(self) -> str:
        return "processor time" if self.options.threads == 1 else "wall time"

    def _turns(self, make: list[Callable[[], Any]], atoms: Atoms) -> list[list[float]]:
        steps = [moving(one(), atoms) for one in make]
        return alternate(steps, self.options.seconds * len(steps), processor_time=self.options.threads == 1)


def _bar(console: Console) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(30), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, TextColumn("left"), TimeRemainingColumn(), console=console)


def _frames(values: list[str]) -> dict[str, Path]:
    found = {}
    for value in values:
        name, equals, path = value.partition("=")
        if not (name and equals and Path(path).exists()):
            raise ConfigError(f"--frames {value}: give NAME=FILE, with a file or store that exists")
        found[name] = Path(path)
    return found


def _fractions(text: str) -> dict[str, float]:
    try:
        return {name: float(value) for name, value in (pair.split("=") for pair in text.split(","))}
    except ValueError:
        raise ConfigError(f"--fractions {text}: give them as train=0.9,validation=0.05,test=0.05") from None


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", help="names or folders of checkpoints")
    parser.add_argument("--output", type=Path, default=Path("docs/checkpoint"))
    parser.add_argument("--work", type=Path, default=Path("runs/evaluation"), help="what unfinished parts have done")
    parser.add_argument("--only", action="append", help=f"a part, may be repeated: {', '.join(NAMES)}")
    parser.add_argument("--frames", action="append", default=[], metavar="NAME=FILE")
    parser.add_argument("--part", help="of the split by material; default: all frames")
    parser.add_argument("--fractions", default="train=0.9,validation=0.05,test=0.05")
    parser.add_argument("--split-seed", type=int, default=0)
    parser.add_argument("--material-key", help="that names a frame's material in files, or formula")
    parser.add_argument("--acwf", type=Path)
    parser.add_argument("--count", type=int, help="equations of state; default: all")
    parser.add_argument("--pool", type=Path)
    parser.add_argument("--crystals", type=int, default=200)
    parser.add_argument("--hot", type=int, default=20)
    parser.add_argument("--picoseconds", type=float, default=10.0, help="of molecular dynamics")
    parser.add_argument("--seed", type=int, default=0, help="of the choice of crystals and of the velocities")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each potential and size, for the speed")
    options = parser.parse_args(arguments)
    options.only = options.only or list(NAMES)
    for part in options.only:
        if part not in NAMES:
            raise ConfigError(f"--only {part}: is no part; {suggest(part, NAMES)}")
    if options.picoseconds < 0.01:
        raise ConfigError(f"--picoseconds {options.picoseconds}: is too short; give at least 0.01")
    options.frames, options.fractions = _frames(options.frames), _fractions(options.fractions)
    if options.part is not None and options.part not in options.fractions:
        raise ConfigError(f"--part {options.part}: is none of the split; {suggest(options.part, options.fractions)}")
    for name in ("acwf", "pool"):
        path = getattr(options, name)
        if path is not None and not path.exists():
            raise ConfigError(f"--{name} {path}: does not exist; give a path that does")
    return options


def main(arguments: list[str] | None = None) -> None:
    console = Console()
    try:
        options = _options(arguments)
        use_threads(options.threads)
        models = [open_model(name) for name in options.models]
        names = [model.name for model in models]
        if len(set(names)) < len(names):
            raise ConfigError(f"models: two have one name among {', '.join(names)}; name them in their cards")
        Evaluator(models, options, console).run()
    except GnnpotError as error:
        Console(stderr=True, soft_wrap=True).print(f"error: {error}", markup=False, highlight=False)
        sys.exit(1)
    console.print(f"table: {options.output / 'table.md'}", highlight=False)


if __name__ == "__main__":
    main()
