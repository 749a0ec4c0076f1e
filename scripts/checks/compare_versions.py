"""Compare the speed of two versions of gnnpot: energy, forces and stress of all models that need no download.

    python scripts/checks/compare_versions.py dist/gnnpot-0.1.0-py3-none-any.whl dist/gnnpot-0.2.0-py3-none-any.whl
    python scripts/checks/compare_versions.py old-venv/bin/python new-venv/bin/python --rounds 15 --out history

Each version runs in its own process with `--threads` threads. A wheel is unpacked into a temporary folder and uses the
packages of this Python; another environment is given by its interpreter. In each round both versions are timed for each
row, alternating which is first, so that other load on the machine affects both. The time of a row in a round is the
minimum of a few repetitions. Its ratio is old over new, which is above 1 if the new version is faster.

Rows are gnnpot-1, and M3GNet, CHGNet, SevenNet and HDNNP with random weights in one configuration each, for 8, 64 and
512 atoms. A model that one of the versions lacks is skipped. Both versions must give the same energies.

The output `OUT/NEW_VERSION.json` (or `OUT/NAME.json`) contains the versions, the processor, and for each row the times
in ms and the geometric mean of the ratios over the rounds. The exit status is 3 if the geometric mean over all rows is
below `--least`.
"""

import argparse
import json
import math
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
SIZES = (8, 64, 512)
#: minimum duration of one measurement, s, of which the fastest call counts
SPAN = 0.25
#: maximum difference of the versions' energies, eV per atom
SAME = 1e-4


class Version:
    """A version of gnnpot, running in its own process."""

    def __init__(self, source: Path, folder: Path, threads: int) -> None:
        self.source = source
        python, path = str(source), ""
        if source.suffix == ".whl":
            shutil.unpack_archive(source, folder / "package", "zip")
            python, path = sys.executable, str(folder / "package")
        environment = {
            **os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": str(threads), "NUMBA_NUM_THREADS": str(threads),
            "NUMBA_CACHE_DIR": str(folder / "kernels"), "PYTHONDONTWRITEBYTECODE": "1",
        }  # fmt: skip
        command = [python, str(Path(__file__).resolve()), "--worker", str(threads)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, cwd=folder
        )

    def ask(self, *words: object) -> dict:
        """Send a request and return the answer; raises `RuntimeError` if the process has ended."""
        given, said = self._process.stdin, self._process.stdout
        if given is None or said is None:
            raise RuntimeError(f"{self.source}: the version can't be asked")
        given.write(json.dumps(words) + "\n")
        given.flush()
        for line in said:
            if line.startswith("@"):
                return json.loads(line[1:])
        raise RuntimeError(f"{self.source}: the version has ended; its last words are above")

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


@contextmanager
def versions(old: Path, new: Path, threads: int, folder: Path | None) -> Iterator[tuple[Version, Version]]:
    """Run both versions within the context; `folder` keeps compiled kernels."""
    with tempfile.TemporaryDirectory() as temporary:
        started = []
        try:
            for name, source in (("old", old), ("new", new)):
                place = (folder or Path(temporary)) / name
                place.mkdir(parents=True, exist_ok=True)
                started.append(Version(source.absolute(), place, threads))
            yield started[0], started[1]
        finally:
            for version in started:
                version.close()


def work(threads: int) -> None:
    """Main loop of a version's process: answer requests until the input ends."""
    import torch

    torch.set_num_threads(threads)
    rows: dict = {}
    for line in sys.stdin:
        kind, *words = json.loads(line)
        try:
            if kind == "about":
                answer = _about()
            elif kind == "prepare":
                rows[words[0], words[1]] = row = _Row(*words)
                answer = {"energy": row.energy()}
            else:
                answer = {"seconds": rows[words[0], words[1]].least(SPAN)}
        except (AttributeError, ImportError, TypeError, ValueError, KeyError) as error:
            answer = {"missing": f"{type(error).__name__}: {error}"}
        print("@" + json.dumps(answer), flush=True)


def _about() -> dict:
    from importlib.metadata import distributions

    import numpy as np
    import torch

    import gnnpot

    own = Path(gnnpot.__file__).parents[1]
    found = [d.version for d in distributions(path=[str(own)]) if d.metadata["Name"] == "gnnpot"]
    return {"version": found[0] if found else "unknown", "torch": torch.__version__, "numpy": np.__version__}


class _Row:
    """A calculator and a crystal, whose atoms move slightly before each call, as in molecular dynamics."""

    def __init__(self, model: str, atoms: int) -> None:
        import numpy as np
        from ase.build import bulk

        self._atoms = (
            bulk("NaCl", "rocksalt", a=5.64, cubic=True) * {8: (1, 1, 1), 64: (2, 2, 2), 512: (4, 4, 4)}[atoms]
        )
        self._atoms.rattle(0.05, seed=0)
        self._start, self._rng = self._atoms.positions.copy(), np.random.default_rng(0)
        self._atoms.calc = _calculator(model)

    def energy(self) -> float:
        """Energy per atom, eV; this call also compiles all kernels."""
        self._atoms.get_forces()
        self._atoms.get_stress()
        return self._atoms.get_potential_energy() / len(self._atoms)

    def least(self, span: float) -> float:
        found, end = [], time.perf_counter() + span
        while not found or time.perf_counter() < end:
            self._atoms.positions = self._start + 0.01 * self._rng.standard_normal(self._start.shape)
            begin = time.perf_counter()
            self._atoms.get_potential_energy()
            self._atoms.get_forces()
            self._atoms.get_stress()
            found.append(time.perf_counter() - begin)
        return min(found)


def _calculator(model: str):
    import torch

    import gnnpot
    from gnnpot import models
    from gnnpot.data.references import ElementReferences
    from gnnpot.engines.calculator import Calculator
    from gnnpot.potential import Potential

    if model == "gnnpot-1":
        return Calculator(gnnpot.load("gnnpot-1"))
    elements = ("Na", "Cl")
    configs = {
        "M3GNet": lambda: models.M3GNetConfig(elements=elements),
        "CHGNet": lambda: models.CHGNetConfig(elements=elements),
        "SevenNet": lambda: models.SevenNetConfig(elements=elements, channels=(32, 16, 16), layers=3),
        "HDNNP": lambda: models.HDNNPConfig(elements=elements, symmetry_set=_symmetry_set()),
    }
    torch.manual_seed(0)
    built = models.build_model(configs[model]())
    return Calculator(Potential(built, ElementReferences.from_mapping({"energies": {"Na": 0.0, "Cl": 0.0}})))


def _symmetry_set():
    from gnnpot.models.symmetry_sets import BehlerSet

    return BehlerSet()


MODELS = ("gnnpot-1", "M3GNet", "CHGNet", "SevenNet", "HDNNP")


def prepare(old: Version, new: Version, models: Sequence[str], sizes: Sequence[int]) -> list[tuple[str, int]]:
    """Return the rows that both versions support; raises `RuntimeError` if their energies differ."""
    rows = []
    for model in models:
        for atoms in sizes:
            answers = [version.ask("prepare", model, atoms) for version in (old, new)]
            missing = [answer["missing"] for answer in answers if "missing" in answer]
            if missing:
                print(f"{model}, {atoms} atoms: left out ({missing[0]})", flush=True)
                continue
            energies = [answer["energy"] for answer in answers]
            if abs(energies[0] - energies[1]) > SAME:
                raise RuntimeError(f"{model}, {atoms} atoms: energies of {energies} eV per atom are not the same")
            rows.append((model, atoms))
            print(f"{model}, {atoms} atoms: ready", flush=True)
    return rows


def measure(old: Version, new: Version, rows: Sequence[tuple[str, int]], rounds: int) -> list[dict]:
    """Measure the times (ms) and ratios of each row."""
    times: dict[tuple[str, int], list[tuple[float, float]]] = {row: [] for row in rows}
    for number in range(rounds):
        for row in rows:
            order = (old, new) if number % 2 == 0 else (new, old)
            seconds = {version: version.ask("time", *row)["seconds"] for version in order}
            times[row].append((seconds[old], seconds[new]))
        print(f"round {number + 1} of {rounds}: {_mean(_ratios(times)):.3f} so far", flush=True)
    return [
        {
            "model": model,
            "atoms": atoms,
            "old_ms": 1e3 * statistics.median(a for a, _ in pairs),
            "new_ms": 1e3 * statistics.median(b for _, b in pairs),
            "ratio": _mean([a / b for a, b in pairs]),
            "ratios": [round(a / b, 4) for a, b in pairs],
        }
        for (model, atoms), pairs in times.items()
    ]


def _ratios(times: dict[tuple[str, int], list[tuple[float, float]]]) -> list[float]:
    return [_mean([a / b for a, b in pairs]) for pairs in times.values()]


def _mean(ratios: Sequence[float]) -> float:
    """Geometric mean."""
    return math.exp(statistics.fmean(map(math.log, ratios)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", type=Path, help="a wheel, or the Python interpreter of an environment")
    parser.add_argument("new", type=Path)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--atoms", type=int, nargs="+", default=SIZES, choices=SIZES)
    parser.add_argument("--models", nargs="+", default=MODELS, choices=MODELS)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "benchmarks" / "history")
    parser.add_argument("--name", help="name of the new version in the history; default: its version")
    parser.add_argument("--work", type=Path, help="folder that keeps compiled kernels for later comparisons")
    parser.add_argument("--least", type=float, default=0.98, help="minimum of the geometric mean of the ratios")
    asked = parser.parse_args()
    with versions(asked.old, asked.new, asked.threads, asked.work) as (old, new):
        about = {"old": old.ask("about"), "new": new.ask("about")}
        print(f"{about['old']['version']} against {about['new']['version']}", flush=True)
        rows = measure(old, new, prepare(old, new, asked.models, asked.atoms), asked.rounds)
    mean = _mean([row["ratio"] for row in rows])
    about |= {"rounds": asked.rounds, "threads": asked.threads, "processor": platform.processor() or platform.machine()}
    for row in rows:
        print(f"{row['model']:10} {row['atoms']:4d} {row['old_ms']:9.2f} {row['new_ms']:9.2f} ms {row['ratio']:7.3f}")
    print(f"geometric mean of old over new: {mean:.3f}")
    asked.out.mkdir(parents=True, exist_ok=True)
    path = asked.out / f"{asked.name or about['new']['version']}.json"
    path.write_text(json.dumps({**about, "geometric_mean": mean, "rows": rows}, indent=1) + "\n")
    if mean < asked.least:
        sys.exit(3)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        work(int(sys.argv[2]))
    else:
        main()
