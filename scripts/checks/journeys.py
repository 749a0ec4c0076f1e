"""Trace five typical tasks: functions called in the package, and returns to a subpackage that was left before.

    python scripts/checks/journeys.py --output journeys.json            # this checkout
    PYTHONPATH=other/checkout python scripts/checks/journeys.py         # another checkout, version 0.1.0 or later

The journeys are: 1. from atoms to forces, 2. from a frame to a batch, 3. from a row of a table to a shard, 4. from a
name to weights, 5. from a teacher's name to a student. Each is run on a tiny example through public entry points. A
subpackage is a folder or file at the top level of the package. Functions are listed in the order of their first call;
code that runs at import is not counted. A subpackage is left when the last of its running functions has returned, so a
function that calls others has not left its subpackage. A return is a step to another subpackage that was left before.
The tools that all subpackages use (`FOUNDATIONS`) are listed, but not counted as steps.

Two other counts are printed: returns by imported functions only (without methods of existing objects), and the number
of changes in the list to a subpackage that occurred before.
"""

import argparse
import json
import logging
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, Self

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.io import write

import gnnpot
from gnnpot.cli import app

#: tools below all other subpackages, which are not counted as steps
FOUNDATIONS = {
    "__init__", "compiler", "config", "domains", "errors", "extras", "plugins", "runs", "torch_modes", "units"
}  # fmt: skip
PACKAGE = Path(gnnpot.__file__).parent
SMALL = "symmetry_set={kind: weighted, radial_cutoff: 4.5, angular_cutoff: 3.5, radial: 6, angular: 1}"


class Trace:
    """Records the functions of the package that are called while it is active."""

    def __init__(self, last: str | None = None) -> None:
        self.last = last  #: name of the function at which the trace ends
        #: {name: whether a function of its subpackage was running at its first call}
        self.functions: dict[str, bool] = {}
        self._running: Counter[str] = Counter()
        self._imports = 0

    def __enter__(self) -> Self:
        sys.setprofile(self._event)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)

    def _event(self, frame: FrameType, event: str, _argument: Any) -> None:
        if event not in ("call", "return"):
            return
        if frame.f_code.co_name == "<module>":
            self._imports += 1 if event == "call" else -1
            return
        if self._imports or (callee := _name(frame)) is None:
            return
        subpackage = _subpackage(callee)
        if event == "return":
            self._running[subpackage] -= 1
            return
        self.functions.setdefault(callee, self._running[subpackage] > 0)
        self._running[subpackage] += 1
        if self.last is not None and callee.endswith(self.last):
            sys.setprofile(None)

    def subpackages(self) -> list[str]:
        """Subpackages in the order of the first calls, without consecutive repetitions."""
        subpackages = [_subpackage(function) for function in self.functions]
        return [subpackage for k, subpackage in enumerate(subpackages) if k == 0 or subpackages[k - 1] != subpackage]

    def changes(self) -> int:
        """Number of changes in the list to a subpackage that occurred before."""
        subpackages = self.subpackages()
        return sum(subpackage in subpackages[:k] for k, subpackage in enumerate(subpackages))

    def returns(self, *, methods: bool = True) -> list[str]:
        """Functions with which the journey returns to a subpackage that it has left; without `methods`, only imported
        functions are considered."""
        found, known, before = [], set(), ""
        for function, was_running in self.functions.items():
            subpackage = _subpackage(function)
            if subpackage in FOUNDATIONS or not (methods or "." not in function.partition(":")[2]):
                continue
            if subpackage != before and subpackage in known and not was_running:
                found.append(function)
            known.add(subpackage)
            before = subpackage
        return found

    def to_mapping(self) -> dict[str, Any]:
        """All results as plain values."""
        return {
            "functions": list(self.functions),
            "subpackages": self.subpackages(),
            "changes": self.changes(),
            "returns": self.returns(),
            "returns_without_methods": self.returns(methods=False),
        }


def _name(frame: FrameType) -> str | None:
    """Path and name of a function of the package; `None` for others and for comprehensions and lambdas."""
    file, name = frame.f_code.co_filename, frame.f_code.co_qualname
    if not file.startswith(str(PACKAGE)) or "<" in name.rpartition(".")[2]:
        return None
    return f"{Path(file).relative_to(PACKAGE).with_suffix('')}:{name}"


def _subpackage(function: str) -> str:
    return function.partition(":")[0].partition("/")[0]


def command(*words: str) -> None:
    """Run a command line in this process."""
    app([*words], standalone_mode=False)


def frames(count: int) -> list[Atoms]:
    """Rattled copper, labelled by EMT."""
    found = []
    for k in range(count):
        atoms = bulk("Cu", "fcc", a=3.6, cubic=True)
        atoms.rattle(0.1, seed=k)
        atoms.calc = EMT()
        atoms.get_forces(), atoms.get_stress()
        found.append(atoms)
    return found


def atoms_to_forces(_: Path) -> Trace:
    """Journey 1: the default potential on copper."""
    atoms = bulk("Cu", "fcc", a=3.6, cubic=True)
    atoms.calc = gnnpot.Calculator()
    with Trace() as trace:
        atoms.get_forces()
    return trace


def frame_to_batch(folder: Path) -> Trace:
    """Journey 2: from the input file of `gnnpot train` to the first batch."""
    write(folder / "frames.extxyz", frames(16))
    config = folder / "train.yaml"
    config.write_text(
        f"model: {{architecture: hdnnp, {SMALL.replace('=', ': ', 1)}, hidden: [8]}}\n"
        f"data: {{train: {folder / 'frames.extxyz'}, split: {{validation: 0.25, by: frame}}}}\n"
        f"run: {folder / 'run'}\nepochs: 1\nmax_steps: 1\nbatch: {{frames: 4}}\n"
    )
    with Trace(last=".training_step") as trace:
        command("train", str(config), "--quiet")
    return trace


def row_to_shard(folder: Path) -> Trace:
    """Journey 3: from a row of a table of trajectories to a shard of a store."""
    from deltalake import write_deltalake

    sys.path.insert(0, str(PACKAGE.parent))
    import pyarrow as pa

    from gnnpot.data import bundled_path, read_frames
    from tests.data.mp.conftest import SCHEMA, row

    chosen = [frame for frame in read_frames(bundled_path()) if str(frame.symbols[0]) == "Si"][:4]
    write_deltalake(str(folder / "table"), pa.Table.from_pylist([row(chosen, 100)], schema=SCHEMA))
    with Trace() as trace:
        command("data", "mp", "-o", str(folder / "mp.store"), "--table", str(folder / "table"))
    return trace


def name_to_weights(_: Path) -> Trace:
    """Journey 4: the default potential by its name."""
    with Trace() as trace:
        gnnpot.load("gnnpot-1")
    return trace


def teacher_to_student(folder: Path) -> Trace:
    """Journey 5: a small distillation from EMT."""
    write(folder / "structures.extxyz", frames(8))
    options = [
        f"student.{SMALL}", "student.hidden=[8]", "committee=2", "rounds=1", "patience=1", "learn.first_steps=10",
        "learn.round_steps=5", "learn.final_steps=10", "learn.validate_every=5", "learn.loss.stress=1",
        "start.distortions=[{kind: original}, {kind: rattled, rattle: 0.1}]", "explore.trajectories=2",
        "explore.steps=8", "explore.interval=4", "explore.temperatures=[300]",
        # names of version 0.1.0, which later versions accept too
        "pick.drawn=2", "pick.picked=2",
    ]  # fmt: skip
    settings = [word for option in options for word in ("--set", option)]
    run = ["-o", str(folder / "student"), "--student", "hdnnp", "--quiet"]
    with Trace() as trace:
        command("distil", "ase.calculators.emt:EMT", str(folder / "structures.extxyz"), *run, *settings)
    return trace


JOURNEYS: dict[str, Callable[[Path], Trace]] = {
    "atoms to forces": atoms_to_forces,
    "a frame to a batch": frame_to_batch,
    "a table's row to a shard": row_to_shard,
    "a name to weights": name_to_weights,
    "a teacher's name to a student": teacher_to_student,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, help="JSON with all functions")
    parser.add_argument("--only", choices=JOURNEYS, nargs="+", default=list(JOURNEYS))
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)
    np.random.seed(0)
    found = {}
    for name in arguments.only:
        with tempfile.TemporaryDirectory() as folder:
            found[name] = JOURNEYS[name](Path(folder)).to_mapping()
        print(
            f"{name}: {len(found[name]['functions'])} functions, {len(found[name]['returns'])} returns "
            f"({len(found[name]['returns_without_methods'])} without methods), "
            f"{found[name]['changes']} changes to a subpackage that came before",
            flush=True,
        )
    if arguments.output:
        arguments.output.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
