"""The whole study: simulations at several temperatures side by side, then their analysis.

    study = calc(atoms, MakeCalculator("my-model"), config, Path("runs/lgps"), processes=2)
    study.result.nernst_einstein.at(300.0)

Stopped at any time, the same call continues. Another structure, or other options that decide where the runs go, are
refused in a folder that has been used.
"""

import json
import multiprocessing
import queue
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ase import Atoms
from ase.calculators.calculator import BaseCalculator as AseCalculator

from gnnpot.compiler.threads import follow_torch
from gnnpot.compiler.together import usable_cores
from gnnpot.engines.md import MDSample
from gnnpot.engines.md_config import MAX_TEMPERATURE
from gnnpot.engines.restart import structure_identity
from gnnpot.errors import ConfigError, DataError, GnnpotError, SimulationError
from gnnpot.properties.conductivity.conditions import simulation_conditions
from gnnpot.properties.conductivity.config import ConductivityConfig
from gnnpot.properties.conductivity.displacements import read_displacements
from gnnpot.properties.conductivity.result import Study, conclude
from gnnpot.properties.conductivity.runs import RUN, simulate, stages, supercell, temperature_folders
from gnnpot.properties.conductivity.transport import analyse
from gnnpot.runs.files import write_text
from gnnpot.runs.guard import check_name, check_run_folder
from gnnpot.runs.processes import end_with_parent

PLAN = "plan.json"
#: options that earlier versions did not have, with the values that they stood for
_LATER = {"pressure": 0.0}
#: seconds between two reports of a process
_REPORT_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class ConductivityProgress:
    """How far a temperature's simulations are."""

    temperature: float  #: K
    stage: str  #: `pressure`, `volume` or `run`
    done: int  #: time steps, of all stages
    total: int


def calc(
    atoms: Atoms,
    make_calculator: Callable[[], AseCalculator],
    config: ConductivityConfig,
    folder: Path,
    *,
    processes: int = 1,
    progress: Callable[[ConductivityProgress], None] | None = None,
) -> Study:
    """Simulate what has not been simulated, and analyse.

    Args:
        atoms: the crystal, not repeated.
        make_calculator: makes the potential, in each process; can be pickled where `processes` is above 1.
        config: the options.
        folder: of the study; its temperatures have a folder each.
        processes: temperatures that run side by side, which share the cores; with 1, in this process.
        progress: called now and then with how far a temperature is.

    Returns:
        The conductivity at each temperature, its fit, and the displacements.

    Raises:
        ConfigError: for a folder that holds another study, or a temperature at which a simulation is stopped.
        SimulationError: if a run explodes; the others continue first.
    """
    if (highest := max(config.temperatures)) > MAX_TEMPERATURE:
        raise ConfigError(
            f"temperatures: {highest:g} K is above {MAX_TEMPERATURE:g} K, where a simulation is stopped; lower it"
        )
    cell, repeats = supercell(atoms, config)
    config = _agree(folder, cell, config)
    waiting = list(temperature_folders(folder, config))
    report = progress or (lambda _: None)
    if processes <= 1:
        _one_after_the_other(cell, make_calculator(), config, waiting, report)
    else:
        _side_by_side(cell, make_calculator, config, folder, processes, report)
    return analyse_folder(folder, config, repeats)


def analyse_folder(folder: Path, config: ConductivityConfig, repeats: tuple[int, int, int]) -> Study:
    """The analysis of simulations that have ended."""
    moved, transports, places = [], [], []
    for temperature, place in temperature_folders(folder, config):
        places.append(place)
        moved.append(read_displacements(place / RUN, config.ion))
        transports.append(analyse(moved[-1], temperature, config.analysis))
    order = sorted(range(len(moved)), key=lambda k: config.temperatures[k])
    conditions = simulation_conditions(config, repeats, places, moved)
    result = conclude(transports, config.analysis.charge_of(config.ion), conditions)
    return Study(result, tuple(moved[k] for k in order), repeats)


def _agree(folder: Path, cell: Atoms, config: ConductivityConfig) -> ConductivityConfig:
    """Write what the folder is for, and return the options with the temperatures in the folder's order.

    Temperatures that are new follow those that the folder has, whose seeds depend on that order. Raises `ConfigError`
    if the folder is for something else.
    """
    path = check_name(folder) / PLAN
    check_run_folder(folder, path.is_file(), "--output")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{folder}: can't be made ({error.strerror}); name another folder") from None
    if path.is_file():
        before = _read_plan(path)
        config = replace(config, temperatures=_in_order(folder, before.get("temperatures"), config))
        plan = _plan(cell, config)
        if differ := [name for name in plan if name != "temperatures" and before.get(name) != plan[name]]:
            raise ConfigError(
                f"{folder}: holds simulations in which these are different: {', '.join(differ)}; give the same again, "
                "or name another folder"
            )
    elif any(folder.iterdir()):
        raise ConfigError(f"{folder}: is not empty and holds no study of a conductivity; name another folder")
    write_text(path, json.dumps(_plan(cell, config), indent=1) + "\n")
    return config


def _plan(cell: Atoms, config: ConductivityConfig) -> dict[str, Any]:
    """What decides where the runs go, as JSON values."""
    plan: dict[str, Any] = {"structure": structure_identity(cell, velocities=False), **asdict(config)}
    # these decide nothing of the runs; more time continues a run
    for name in ("analysis", "production"):
        plan.pop(name)
    return json.loads(json.dumps(plan))


def _read_plan(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return {}
    # folders of earlier versions do not have the later options
    return _LATER | found if isinstance(found, dict) else {}


def _in_order(folder: Path, before: Any, config: ConductivityConfig) -> tuple[float, ...]:
    """The temperatures that the folder has, in its order, and then the new ones."""
    known = tuple(before) if isinstance(before, list) else ()
    if missing := [t for t in known if t not in config.temperatures]:
        raise ConfigError(
            f"{folder}: also holds simulations at {', '.join(f'{t:g}' for t in missing)} K; give all of its "
            "temperatures, with new ones anywhere between them, or name another folder"
        )
    return (*known, *(t for t in config.temperatures if t not in known))


def _reporter(
    config: ConductivityConfig, temperature: float, report: Callable[[ConductivityProgress], None]
) -> Callable[[str, MDSample], None]:
    before, total = {}, 0
    for stage in stages(config):
        before[stage.name], total = total, total + stage.steps
    last = 0.0

    def report_sample(name: str, sample: MDSample) -> None:
        nonlocal last
        done = before[name] + sample.step
        if time.monotonic() - last >= _REPORT_SECONDS or done == total:
            last = time.monotonic()
            report(ConductivityProgress(temperature, name, done, total))

    return report_sample


def _work(
    cell: Atoms,
    make_calculator: Callable[[], AseCalculator],
    config: ConductivityConfig,
    work: list[tuple[float, Path]],
    shared: tuple[Any, Any, int],
) -> None:
    """A process: one temperature after the other of those that none has begun; what happens goes into a queue."""
    import torch

    end_with_parent()
    begun, events, threads = shared
    # no more than PyTorch began with, which a user may have said (OMP_NUM_THREADS)
    torch.set_num_threads(min(threads, torch.get_num_threads()))
    follow_torch()
    try:
        calculator = make_calculator()
        while True:
            with begun.get_lock():
                mine, begun.value = begun.value, begun.value + 1
            if mine >= len(work):
                break
            temperature, place = work[mine]
            try:
                simulate(cell, calculator, config, temperature, place, _reporter(config, temperature, events.put))
            except SimulationError as error:
                # the other temperatures are none the worse for it
                events.put(f"{temperature:g} K: {error}")
    except GnnpotError as error:
        events.put(str(error))
    except KeyboardInterrupt:
        return
    events.put(None)


def _one_after_the_other(
    cell: Atoms,
    calculator: AseCalculator,
    config: ConductivityConfig,
    work: list[tuple[float, Path]],
    report: Callable[[ConductivityProgress], None],
) -> None:
    failed = []
    for temperature, place in work:
        try:
            simulate(cell, calculator, config, temperature, place, _reporter(config, temperature, report))
        except SimulationError as error:
            failed.append(f"{temperature:g} K: {error}")
    if failed:
        raise SimulationError("; ".join(failed))


def _threads(cores: int, processes: int) -> int:
    """Threads of each of the processes that share the cores."""
    return max(1, cores // processes)


def _side_by_side(
    cell: Atoms,
    make_calculator: Callable[[], AseCalculator],
    config: ConductivityConfig,
    folder: Path,
    processes: int,
    report: Callable[[ConductivityProgress], None],
) -> None:
    context = multiprocessing.get_context("spawn")
    begun, events = context.Value("i", 0), context.Queue()
    work = list(temperature_folders(folder, config))
    count = min(processes, len(work))
    arguments = (cell, make_calculator, config, work, (begun, events, _threads(usable_cores(), count)))
    workers = [context.Process(target=_work, args=arguments) for _ in range(count)]
    for worker in workers:
        worker.start()
    failed, ended = [], 0
    try:
        while ended < len(workers):
            try:
                message = events.get(timeout=1.0)
            except queue.Empty:
                if not any(worker.is_alive() for worker in workers) and events.empty():
                    raise SimulationError(
                        "a process was ended from outside, perhaps for want of memory; the same command continues"
                    ) from None
                continue
            if message is None:
                ended += 1
            elif isinstance(message, ConductivityProgress):
                report(message)
            else:
                failed.append(message)
    finally:
        for worker in workers:
            if ended < len(workers) and worker.is_alive():
                worker.terminate()
            worker.join()
    if failed:
        raise SimulationError("; ".join(failed))
