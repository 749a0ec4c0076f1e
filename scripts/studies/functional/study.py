"""Run the study of the shipped functional; every stage is resumable.

    python scripts/studies/functional/study.py runs/functional
    python scripts/studies/functional/study.py runs/functional --stage train
    python scripts/studies/functional/study.py runs/functional --structures pool.extxyz --stage curve

Stages: `data` (training samples), `references` (Kohn-Sham, for validation and test), `tune` (Huang-Carter parameters),
`train` (three seeds; the first is shipped), `leave-one-out`, `curve` (functionals trained on 3, 10, 30 and all crystals
of a file; skipped without `--structures`; no designs are chosen by it, so it is measured on the test set too),
`validation` (errors by which designs may be chosen), `test` (hexagonal silicon and others, to be evaluated only once).
Results are written to docs/functional/.
"""

import argparse
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import curve
import huang_carter
import measure
import references

from gnnpot.functional import crystals
from gnnpot.functional.data import Sample, generate, read_sample
from gnnpot.functional.network import NetworkConfig
from gnnpot.functional.plans import DataConfig, plan
from gnnpot.functional.store import save
from gnnpot.functional.train import Stage, TrainConfig, train
from gnnpot.runs.files import write_text

STAGES = ("data", "references", "tune", "train", "leave-one-out", "curve", "validation", "test")
SEEDS = (0, 1, 2)
#: number of non-interacting samples of each crystal
TRIPLES = {"Si": 4, "AlP": 4, "AlAs": 4, "AlSb": 4, "InSb": 1}
FEWER_TRIPLES = 2
#: steps of the full training, and of a leave-one-out training
STEPS, SHORT_STEPS = 12000, 1500
LOSS = Stage(0, 0.03, 10000.0)
NETWORK = NetworkConfig(filter=1.3, first_filter=2.5, smooth_floor=0.1)
log = logging.getLogger("study")


def tasks() -> list:
    """All training samples."""
    chosen = []
    for task in plan(DataConfig(others=True)):
        number = int(task.name[-2:]) if task.seed is not None else -1
        if number < TRIPLES.get(task.crystal, FEWER_TRIPLES):
            chosen.append(task)
    return chosen


def fit(samples: list[Sample], seed: int, steps: int, folder: Path) -> None:
    """Train a functional; the run is written to `folder`, the functional to its folder `model`."""
    config = TrainConfig(replace(NETWORK, seed=seed), soap_steps=steps, stages=(LOSS,))

    def report(stage: str, step: int, total: int, loss: float) -> None:
        if step % 50 == 0:
            log.info("%s: %s %d of %d, loss %.2e", folder.name, stage, step, total, loss)

    functional = train(samples, config, folder, report)
    about = {"samples": len(samples), "crystals": sorted({s.crystal for s in samples}), "soap_steps": steps}
    save(functional, folder / "model", about, overwrite=True)


def run(stage: str, runs: Path, processes: int, structures: Path | None) -> None:
    """Run one stage."""

    def progress(done: int, total: int) -> None:
        log.info("%s: %d of %d", stage, done, total)

    if stage == "data":
        generate(tasks(), runs / "data", processes, progress)
    elif stage == "references":
        generate(references.validation(), runs / "validation", processes, progress)
        generate(references.test(), runs / "test", processes, progress)
    elif stage == "tune":
        huang_carter.tune(runs / "data", measure.RESULTS / "huang-carter.json")
    elif stage == "curve":
        if structures is not None:
            run_curve(runs, structures, processes, progress)
    elif stage in ("train", "leave-one-out"):
        samples = [read_sample(runs / "data" / f"{task.name}.npz") for task in tasks()]
        for seed in SEEDS if stage == "train" else ():
            fit(samples, seed, STEPS, runs / f"seed-{seed}")
        for name in crystals.SEMICONDUCTORS if stage == "leave-one-out" else ():
            fit([s for s in samples if s.crystal != name], 0, SHORT_STEPS, runs / f"loo-{name}")
    elif stage == "validation":
        measure.measure_validation(runs, measure.RESULTS / "validation.json")
    else:
        measure.measure_test(runs, measure.RESULTS / "test.json")


def run_curve(runs: Path, structures: Path, processes: int, progress: Callable[[int, int], None]) -> None:
    """Train functionals on increasing numbers of crystals, and compute their errors; needs the references."""
    order = curve.crystal_tasks(structures)
    generate([task for group in order for task in group], runs / "crystals", processes, progress)
    groups = [[read_sample(runs / "crystals" / f"{task.name}.npz") for task in group] for group in order]
    for count in curve.counts(len(groups)):
        fit([sample for group in groups[:count] for sample in group], 0, SHORT_STEPS, runs / f"curve-{count}")
    result = measure.measure_curve(runs)
    write_text(measure.RESULTS / "curve.json", measure.as_json(result))
    curve.draw(result, measure.RESULTS / "curve.png")


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=Path)
    parser.add_argument("--stage", choices=STAGES)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--structures", type=Path, help="file of the crystals of the learning curve")
    arguments = parser.parse_args()
    for stage in STAGES if arguments.stage is None else [arguments.stage]:
        run(stage, arguments.runs, arguments.processes, arguments.structures)


if __name__ == "__main__":
    main()
