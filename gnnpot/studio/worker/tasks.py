"""The jobs: relaxation, molecular dynamics, equation of state, elastic constants, phonons.

Each function takes the structure, a report, the folder of the job, the checked options, and whether to continue from
the files of the folder. It returns the result, which includes `atoms` if the structure has changed.
"""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from gnnpot.errors import SimulationError
from gnnpot.studio.worker.running import Report

TRAJECTORY = "trajectory.traj"


def relaxation(atoms: Atoms, report: Report, folder: Path, options: dict[str, Any], resume: bool) -> dict[str, Any]:
    """Relax the positions, and the cell if requested."""
    from gnnpot.engines.relax import RelaxConfig, RelaxStep, relax
    from gnnpot.units import GPA

    config = RelaxConfig(
        fmax=options["fmax"], steps=options["steps"], cell="full" if options["cell"] else "none", optimizer="lbfgs"
    )
    report.columns(["step", "energy", "fmax", "stress"], config.steps)
    atoms.calc = report.calculator
    moving = atoms.copy()
    state = {"first": 0.0, "done": 0.0, "begun": time.monotonic()}
    offset = _steps_before(folder) if resume else 0

    def progress(step: RelaxStep) -> None:
        here = report.calculator.atoms
        moving.positions[:] = here.positions
        moving.set_cell(here.cell)
        state["first"] = max(state["first"], step.fmax)
        part = _part(step.fmax, state["first"], config.fmax)
        state["done"] = max(state["done"], part)
        elapsed = time.monotonic() - state["begun"]
        left = elapsed * (1 - state["done"]) / state["done"] if state["done"] > 0.05 else None
        stress = None if step.stress_max is None else step.stress_max / GPA
        _write_steps(folder, offset + step.step)
        report.row([offset + step.step, step.energy, step.fmax, stress], moving, state["done"], left)

    resumed = resume and (folder / TRAJECTORY).is_file()
    found = relax(
        atoms, report.calculator, config, trajectory=folder / TRAJECTORY, resume=resumed, overwrite=True,
        progress=progress,
    )  # fmt: skip
    report.last(found.atoms)
    values = {
        "converged": found.converged,
        "steps": offset + found.steps,
        "energy": found.energy,
        "initial_energy": found.initial_energy,
        "fmax": found.fmax,
    }
    return {"atoms": found.atoms, "values": {k: v if isinstance(v, bool) else float(v) for k, v in values.items()}}


def _part(force: float, first: float, last: float) -> float:
    """Decrease of a force from `first` towards `last` on a logarithmic scale, 0 to 1."""
    if first <= last:
        return 1.0
    return float(np.clip(np.log(first / max(force, last)) / np.log(first / last), 0.0, 0.99))


def _steps_before(folder: Path) -> int:
    path = folder / "steps"
    return int(path.read_text(encoding="utf-8")) if path.is_file() else 0


def _write_steps(folder: Path, steps: int) -> None:
    (folder / "steps").write_text(str(steps), encoding="utf-8")


def dynamics(atoms: Atoms, report: Report, folder: Path, options: dict[str, Any], resume: bool) -> dict[str, Any]:
    """Run molecular dynamics."""
    from gnnpot.engines.md import MDConfig, MDSample, run_md

    config = MDConfig(
        ensemble=options["ensemble"], temperature=options["temperature"], pressure=options["pressure"],
        timestep=options["timestep"], steps=options["steps"], interval=options["interval"],
    )  # fmt: skip
    report.columns(["step", "energy", "temperature", "pressure", "fmax", "time"], config.steps)
    moving, begun = atoms.copy(), {"step": -1, "time": 0.0}

    def progress(sample: MDSample) -> None:
        if begun["step"] < 0:
            begun.update(step=sample.step - 1, time=time.monotonic())
        here = report.calculator.atoms
        moving.positions[:] = here.positions
        moving.set_cell(here.cell)
        forces = report.calculator.results.get("forces")
        fmax = float(np.linalg.norm(forces, axis=1).max()) if forces is not None else None
        rate = (time.monotonic() - begun["time"]) / max(sample.step - begun["step"], 1)
        left = rate * (config.steps - sample.step) if sample.step - begun["step"] > 3 else None
        # the pressure is known at the steps of frames only
        row = [sample.step, sample.potential, sample.temperature, sample.pressure, fmax, sample.time]
        report.row(row, moving, sample.step / max(config.steps, 1), left)

    found = run_md(
        atoms, report.calculator, config, trajectory=folder / TRAJECTORY, resume=resume, overwrite=not resume,
        progress=progress,
    )  # fmt: skip
    report.last(found.atoms)
    values = {"steps": found.steps, "time": found.time, "temperature": found.temperature}
    values |= {name: value for name in ("pressure", "volume") if (value := getattr(found, name)) is not None}
    values["energy"] = found.potential_energy
    return {"atoms": found.atoms, "values": {k: float(v) for k, v in values.items()}}


def equation_of_state(
    atoms: Atoms, report: Report, folder: Path, options: dict[str, Any], resume: bool
) -> dict[str, Any]:
    """Calculate energies of the uniformly scaled crystal, and fit the Birch-Murnaghan equation of state."""
    from gnnpot.properties.equation_of_state import fit_birch_murnaghan, scaled_to
    from gnnpot.units import GPA

    width, count = options["width"], options["points"]
    volumes = atoms.get_volume() * np.linspace(1 - width, 1 + width, count)
    report.columns(["volume", "energy"], count)
    kept = folder / "points.json"
    energies: list[float] = json.loads(kept.read_text(encoding="utf-8")) if resume and kept.is_file() else []
    begun, before = time.monotonic(), len(energies)
    for number, volume in enumerate(volumes):
        scaled = scaled_to(atoms, volume)
        if number >= len(energies):
            scaled.calc = report.calculator
            energies.append(float(scaled.get_potential_energy()))
            kept.write_text(json.dumps(energies), encoding="utf-8")
        fresh = number + 1 - before
        left = (time.monotonic() - begun) / fresh * (count - number - 1) if fresh > 0 else None
        report.row([volume, energies[number]], scaled, (number + 1) / count, left)
    report.last(None)
    state = fit_birch_murnaghan(volumes, np.array(energies))
    if state is None:
        raise SimulationError("the energy has no minimum near this volume; relax the cell first")
    values = {
        "volume": state.volume,
        "energy": state.energy,
        "bulk_modulus": state.bulk_modulus / GPA,
        "derivative": state.derivative,
        "residual": state.residual,
    }
    inside = bool(volumes[0] <= state.volume <= volumes[-1])
    result: dict[str, Any] = {"values": {k: float(v) for k, v in values.items()}, "extrapolated": not inside}
    if inside:
        result["atoms"] = scaled_to(atoms, state.volume)
    return result


class _PropertyProgress:
    """Reports the progress of a property, which consists of several kinds of work one after another."""

    def __init__(self, report: Report) -> None:
        self.report, self.begun, self.what = report, time.monotonic(), ""

    def __call__(self, what: str, done: float, total: float, note: str = "") -> None:
        if what != self.what:
            self.what, self.begun = what, time.monotonic()
            self.report.stage(what)
        part = done / total if total else 0.0
        elapsed = time.monotonic() - self.begun
        # for a relaxation, total is the maximum number of steps, which does not allow an estimate of the time left
        left = elapsed * (1 - part) / part if part > 0.02 and "relaxation" not in what else None
        self.report.row([], None, 0.0 if "relaxation" in what else min(part, 0.999), left)


def elastic(atoms: Atoms, report: Report, folder: Path, options: dict[str, Any], resume: bool) -> dict[str, Any]:
    """Calculate the elastic tensor. A resumed job starts from the beginning, because it saves no files."""
    from gnnpot.properties.elastic import ElasticConfig, calc

    report.columns([], None)
    largest = options["max_strain"]
    config = ElasticConfig(strains=(-largest, -largest / 2, largest / 2, largest), fmax=options["fmax"])
    found = calc(atoms, report.calculator, config, progress=_PropertyProgress(report))
    names = ("bulk_modulus", "shear_modulus", "young_modulus", "poisson_ratio", "universal_anisotropy")
    values = {name: float(getattr(found, name)) for name in names}
    return {
        "values": {**values, "stable": found.stable},
        "table": [[round(float(x), 1) for x in row] for row in found.stiffness],
    }


def phonons(atoms: Atoms, report: Report, folder: Path, options: dict[str, Any], resume: bool) -> dict[str, Any]:
    """Calculate phonon bands. A resumed job starts from the beginning, because it saves no files."""
    from gnnpot.properties.phonons import PhononsConfig, calc

    report.columns([], None)
    config = PhononsConfig(length=options["min_length"], displacement=options["displacement"], fmax=options["fmax"])
    found = calc(atoms, report.calculator, config, progress=_PropertyProgress(report))
    values: dict[str, Any] = {"lowest": float(found.lowest), "stable": found.stable}
    if found.stable:
        values["heat_capacity"] = found.heat_capacity_at(300.0)
    lines = [
        [[round(float(x), 5), round(float(y), 4)] for x, y in zip(distances, branch, strict=True)]
        for distances, bands in zip(found.distances, found.bands, strict=True)
        for branch in bands.T
    ]
    ticks = [[float(d[k]), ends[k]] for d, ends in zip(found.distances, found.labels, strict=True) for k in (0, -1)]
    return {"values": values, "bands": lines, "ticks": ticks}


Task = Callable[[Atoms, Report, Path, dict[str, Any], bool], dict[str, Any]]
TASKS: dict[str, Task] = {
    "relax": relaxation, "md": dynamics, "eos": equation_of_state,
    "elastic": elastic, "phonons": phonons,
}  # fmt: skip
