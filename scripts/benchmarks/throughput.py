"""Structures per minute on one core: `gnnpot … --many` compared with a plain loop with ASE.

    python scripts/benchmarks/throughput.py docs/benchmarks/throughput.json --pool pool.extxyz.gz --count 100

Small crystals of a file are relaxed and predicted by one model. The loop opens the calculator once and calls it for
each structure, as in a typical ASE script: `atoms.calc = …`, and for relaxations FIRE and the cell filter of ASE, with
the same convergence criteria and maximum number of steps. The command runs with one process; its start, including
opening the model, is measured separately and is also part of the total. Times are processor seconds of the computing
processes (affected little by other programs), measured in alternation.
"""

import argparse
import functools
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
from ase import Atoms
from ase.filters import FrechetCellFilter
from ase.io import write
from ase.optimize import FIRE

from gnnpot.cli.common import open_calculator
from gnnpot.data.structure_files import iterate_structures
from gnnpot.engines.relax import RelaxConfig
from gnnpot.runs.processes import Processes, one_thread
from gnnpot.workflows.many import Calculation, Model, Predicting, Relaxing, Structures, run_many


def small_crystals(pool: Path, count: int, most_atoms: int, elements: set[str]) -> list[Atoms]:
    """Choose `count` crystals of at most `most_atoms` atoms, spread over the file."""
    every = iterate_structures(pool, check=False)
    fit = [a for a in every if len(a) <= most_atoms and set(a.symbols) <= elements and a.pbc.all()]
    return [Atoms(fit[k].numbers, fit[k].positions, cell=fit[k].cell, pbc=True) for k in _spread(len(fit), count)]


def _spread(available: int, count: int) -> list[int]:
    return [int(k) for k in np.linspace(0, available - 1, min(count, available))]


def loop_of_predictions(structures: list[Atoms], calculator) -> list[float]:
    found = []
    for atoms in structures:
        atoms = atoms.copy()
        atoms.calc = calculator
        atoms.get_forces(), atoms.get_stress()
        found.append(atoms.get_potential_energy())
    return found


def loop_of_relaxations(structures: list[Atoms], calculator, config: RelaxConfig) -> list[float]:
    found = []
    for atoms in structures:
        atoms = atoms.copy()
        atoms.calc = calculator
        optimizer = FIRE(FrechetCellFilter(atoms), logfile=None)
        for _ in optimizer.irun(fmax=0.0, steps=config.steps):
            forces = np.linalg.norm(atoms.get_forces(), axis=1).max()
            if forces <= config.fmax and np.abs(atoms.get_stress()).max() <= config.stress_max:
                break
        found.append(atoms.get_potential_energy())
    return found


def seconds_of_loop(loop: Callable[[list[Atoms], object], object], structures: list[Atoms], calculator) -> float:
    with one_thread():
        start = time.process_time()
        loop(structures, calculator)
        return time.process_time() - start


def _nothing(_: int) -> None:
    return None


def seconds_of_many(calculation: Calculation, structures: list[Atoms], model: Model) -> tuple[float, float]:
    """Processor seconds of this and the worker process: (total, of which for the structures)."""
    with tempfile.TemporaryDirectory() as folder, Processes(1) as executor:
        begin = time.process_time()
        executor.submit(_nothing, 0).result()
        # the worker, and an idle helper process of multiprocessing
        children = psutil.Process().children()

        def spent() -> float:
            used = [child.cpu_times() for child in children]
            return time.process_time() - begin + sum(one.user + one.system for one in used)

        run_many(Structures(structures[:1]), calculation, model, Path(folder) / "first", executor=executor)
        started = spent()
        # each run opens the model again; a second run of one structure measures this time
        run_many(Structures(structures[:1]), calculation, model, Path(folder) / "second", executor=executor)
        opening = spent() - started
        before = spent()
        run_many(Structures(structures), calculation, model, Path(folder) / "all", executor=executor)
        return started - opening + spent() - before, spent() - before - opening


def measure(
    structures: list[Atoms], relaxed: int, model: str, config: RelaxConfig, count: int, done: Callable[[dict], None]
) -> None:
    """Rates of both cases; `done` receives intermediate results, so that an interrupted run has some."""
    make = functools.partial(open_calculator, model)
    calculator, described = make(), Model(make, model)
    cases = {
        "predict": (Predicting(), loop_of_predictions, structures),
        "relax": (
            Relaxing(config),
            functools.partial(loop_of_relaxations, config=config),
            [structures[k] for k in _spread(len(structures), relaxed)],
        ),
    }
    found: dict = {"model": described.name, "cases": {}}
    for name, (calculation, loop, some) in cases.items():
        loop(some[:2], calculator)
        turns = []
        for _ in range(count):
            looped = seconds_of_loop(loop, some, calculator)
            whole, own = seconds_of_many(calculation, some, described)
            turns.append({"loop_s": looped, "many_s": own, "many_with_start_s": whole})
            print(name, turns[-1], flush=True)
        medians = {key: statistics.median(turn[key] for turn in turns) for key in turns[0]}
        rates = {f"{key.removesuffix('_s')}_per_minute": 60 * len(some) / value for key, value in medians.items()}
        ratio = statistics.median(turn["loop_s"] / turn["many_s"] for turn in turns)
        sizes = {"structures": len(some), "atoms": sum(map(len, some))}
        found["cases"][name] = {**sizes, "turns": turns, **rates, "many_over_loop": ratio}
        done(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("output", type=Path)
    parser.add_argument("--pool", type=Path, required=True, help="file of crystals")
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--relaxed", type=int, default=100, help="number of these crystals that are also relaxed")
    parser.add_argument("--most-atoms", type=int, default=12)
    parser.add_argument("--model", "-m", default="fast")
    parser.add_argument("--fmax", type=float, default=0.05, help="convergence criterion of relaxations, eV/Å")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--keep", type=Path, help="write the structures to this extended XYZ file")
    options = parser.parse_args()
    elements = set(open_calculator(options.model).elements)
    structures = small_crystals(options.pool, options.count, options.most_atoms, elements)
    if options.keep:
        write(options.keep, structures)
    config = RelaxConfig(fmax=options.fmax, steps=options.steps)
    bounds = {"fmax_eV_per_A": config.fmax, "stress_max_eV_per_A3": config.stress_max, "steps": config.steps}

    def write_json(found: dict) -> None:
        options.output.write_text(json.dumps({"relaxation": bounds, **found}, indent=1) + "\n")

    measure(structures, options.relaxed, options.model, config, options.turns, write_json)


if __name__ == "__main__":
    main()
