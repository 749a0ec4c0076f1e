"""Run and analyse all simulations of docs/lgps/conductivity.md: conductivity of Li10GeP2S12 by any potential.

    python scripts/studies/lgps/conductivity.py --student my-student --hdnnp my-hdnnp
    python scripts/studies/lgps/conductivity.py --student my-student --only main

An interrupted command is resumed by the same command. A finished temperature is analysed at once and written to OUT
(JSON), with an Arrhenius plot next to it; for the main sets, the lithium density and van Hove functions are plotted
too. Rows in OUT are not run again, whether or not their folders exist. Fits use the rows, which contain quantiles of
the conductivities. `--scale 0.001` shortens all times to test the script; such numbers are not results, and are refused
in docs/.
"""

import json
import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import conductivity_report
import numba
import numpy as np
import torch
import typer
from ase import Atoms
from ase.io import read
from conductivity_controls import aim, controls, is_part, repeated
from filelock import FileLock
from rich.console import Console

from gnnpot.cli.common import MakeCalculator
from gnnpot.compiler.together import usable_cores
from gnnpot.properties.conductivity import AnalysisConfig, ConductivityConfig, Displacements, analyse
from gnnpot.properties.conductivity.arrhenius import ArrheniusFit, fit_arrhenius
from gnnpot.properties.conductivity.calc import calc
from gnnpot.properties.conductivity.msd import Estimate
from gnnpot.properties.conductivity.pictures import draw_maps
from gnnpot.properties.conductivity.result import ROOM, Study
from gnnpot.properties.conductivity.transport import Transport, conductivity_factor
from gnnpot.runs.files import write_text
from gnnpot.runs.processes import end_with_parent

#: the first frame of Huang et al., scaled to the experimental cell (Kamaya et al. 2011)
STRUCTURE = Path(__file__).with_name("structure.extxyz")
FIVE, THREE = (350.0, 400.0, 500.0, 650.0, 800.0), (500.0, 650.0, 800.0)
#: rules of docs/lgps/conductivity.md
BROKEN, SULPHUR = 0.01, 0.02
#: ps, of the mean positions whose neighbours are compared
MEAN_TIME = 5.0
#: time at the start of each production that is excluded, ps
DISCARD = 20.0
#: time between frames, fs, a multiple of all time steps
INTERVAL = 99.0
#: number of quantiles of the conductivities in a row
QUANTILES = (np.arange(39) + 0.5) / 39
CHARGE = 1.0


@dataclass(frozen=True)
class RunSet:
    """A set of runs at several temperatures."""

    name: str
    potential: str = "student"
    repeats: tuple[int, int, int] = (2, 2, 2)
    volume: str = "given"
    temperatures: tuple[float, ...] = FIVE
    production: float = 1000.0  #: ps
    timestep: float = 3.0  #: fs
    thermostat_time: float = 1000.0  #: fs
    seed: int = 0
    germanium: tuple[int, int] | None = None  #: indices of the Ge atoms, of `SHARED`; None: as in the file
    reference: str = ""  #: set with which a control is compared


#: atoms of the frame on the sites that Ge and P share (4d of P4_2/nmc); the two other P (2b) are P alone in experiment
SHARED = (20, 21, 48, 49)
SETS = (
    RunSet("main", repeats=(4, 4, 2)),
    RunSet("hdnnp", potential="hdnnp", repeats=(4, 4, 2)),
    RunSet("size-50", repeats=(1, 1, 1), reference="main"),
    RunSet("size-400", reference="main"),
    RunSet("volume", volume="npt", temperatures=THREE, reference="size-400"),
    *(RunSet(f"repeat-{k}", temperatures=(500.0, 800.0), seed=100 * k, reference="size-400") for k in range(1, 5)),
    RunSet("step", temperatures=(650.0,), production=300.0, timestep=1.0, reference="size-400"),
    # such a slow thermostat has no effect within 300 ps
    RunSet("nve", temperatures=(650.0,), production=300.0, thermostat_time=1e9, reference="size-400"),
    # of the frame, both Ge are in one column along c; the two other choices that symmetry does not make equal:
    # neighbouring columns, at heights that differ by 0.12 c, and by 0.38 c
    RunSet("order-1", temperatures=THREE, production=300.0, germanium=(20, 48), reference="size-400"),
    RunSet("order-2", temperatures=THREE, production=300.0, germanium=(20, 49), reference="size-400"),
)


def crystal(germanium: tuple[int, int] | None = None) -> Atoms:
    """50 atoms in the experimental cell; `germanium` are the indices of the Ge atoms, if not as in the file."""
    atoms = read(STRUCTURE)
    if germanium is not None:
        atoms.symbols[list(SHARED)] = "P"
        atoms.symbols[list(germanium)] = "Ge"
    return atoms


def broken(moved: Displacements) -> float:
    """Fraction of P and Ge atoms whose four nearest S atoms differ from those at the start."""
    frames = max(1, round(MEAN_TIME / moved.frame_time))
    inverse = np.linalg.inv(moved.cell)

    def nearest(part: slice) -> np.ndarray:
        sulphur = moved.framework["S"][part].mean(axis=0)
        centres = np.concatenate([moved.framework[e][part].mean(axis=0) for e in ("P", "Ge")])
        scaled = (sulphur[None] - centres[:, None]) @ inverse
        distances = np.linalg.norm((scaled - np.round(scaled)) @ moved.cell, axis=-1)
        return np.sort(np.argsort(distances, axis=1)[:, :4], axis=1)

    return float((nearest(slice(0, frames)) != nearest(slice(-frames, None))).any(axis=1).mean())


def excluded(transport: Transport, share: float) -> str:
    """Reason for excluding the temperature from fits by rule 2, or empty; `share`: fraction of broken PS4 and GeS4."""
    sulphur = transport.framework_share["S"]
    if share > BROKEN:
        return f"{100 * share:.1f} % of PS4 and GeS4 have other S than at the start"
    if sulphur > SULPHUR:
        return f"S diffuses, at {100 * sulphur:.1f} % of Li"
    return "; ".join(transport.verdict)


def interval(estimate: Estimate) -> list[float]:
    """Value, low and high end of the 95 % interval."""
    return [estimate.value, estimate.low, estimate.high]


def rows(chosen: RunSet, study: Study, potential: str) -> list[dict[str, Any]]:
    """Rows of one temperature; rows of 0.1 and 0.3 ns are the first parts of longer runs."""
    (whole,), (moved,) = study.result.transports, study.displacements
    share = broken(moved)
    left_out = excluded(whole, share)
    parts = [t for t in (100.0, 300.0) if t < 0.9 * moved.time and chosen.name in ("main", "size-50", "size-400")]
    found = [_row(chosen, whole, potential, left_out, share)]
    for time in parts:
        shorter = _first(moved, DISCARD + time)
        part = analyse(shorter, whole.temperature, _analysis(1.0))
        why = "; ".join((f"a part of {whole.time:.0f} ps", *part.verdict))
        found.append(_row(chosen, part, potential, why, broken(shorter)))
    return found


def _row(chosen: RunSet, t: Transport, potential: str, left_out: str, broken_share: float) -> dict[str, Any]:
    factor = conductivity_factor(t.ions, t.volume, t.temperature, CHARGE)
    return {
        "set": chosen.name,
        "potential": potential,
        "atoms": t.atoms,
        "temperature_K": t.temperature,
        "time_ps": t.time,
        "timestep_fs": chosen.timestep,
        "volume_A3_per_atom": t.volume / t.atoms,
        "D_cm2_s": interval(t.tracer),
        "D_collective_cm2_s": interval(t.collective),
        "sigma_mS_cm": interval(t.nernst_einstein),
        "sigma_collective_mS_cm": interval(t.conductivity),
        "haven_ratio": interval(t.haven_ratio),
        "D_blocks_cm2_s": t.tracer_blocks and interval(t.tracer_blocks),
        "D_collective_blocks_cm2_s": t.collective_blocks and interval(t.collective_blocks),
        "D_axes_cm2_s": [interval(axis) for axis in t.axes],
        "D_sulphur_cm2_s": t.framework_diffusion["S"],
        "broken_share": broken_share,
        "log_slope": t.log_slope,
        "ion_correlation": t.ion_correlation,
        "jumps": t.jumps.to_json(),
        "left_out": left_out,
        "left_out_of_collective": left_out or "; ".join(t.collective_verdict),
        "sigma_quantiles_mS_cm": _rounded(factor * np.quantile(t.tracer_samples, QUANTILES)),
        "sigma_collective_quantiles_mS_cm": _rounded(factor * np.quantile(t.collective_samples, QUANTILES)),
    }


def _rounded(values: np.ndarray) -> list[float]:
    return [float(f"{value:.5g}") for value in values]


def _first(moved: Displacements, time: float) -> Displacements:
    """The first `time` ps."""
    frames = round(time / moved.frame_time) + 1
    framework = {element: x[:frames] for element, x in moved.framework.items()}
    return replace(moved, ions=moved.ions[:frames], framework=framework)


def _analysis(scale: float) -> AnalysisConfig:
    return AnalysisConfig(discard=DISCARD * scale)


def fits(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A row for each set of three temperatures or more that have all ended, of those that are not left out."""
    fitted = []
    for chosen in SETS:
        of_set = [row for row in found if (row["set"], row["timestep_fs"]) == (chosen.name, chosen.timestep)]
        whole = [row for row in of_set if not is_part(row)]
        for potential in dict.fromkeys(row["potential"] for row in whole):
            ended = [row for row in whole if row["potential"] == potential]
            group = sorted((row for row in ended if not row["left_out"]), key=lambda row: row["temperature_K"])
            if len(ended) == len(chosen.temperatures) >= 3 and len(group) > 1:
                fitted.append(_fit(chosen.name, potential, group))
    return fitted


def _fit(name: str, potential: str, group: list[dict[str, Any]]) -> dict[str, Any]:
    single = _line(group, "sigma_quantiles_mS_cm")
    certain = [row for row in group if not row["left_out_of_collective"]]
    collective = _line(certain, "sigma_collective_quantiles_mS_cm") if len(certain) > 1 else None
    return {
        "set": name,
        "potential": potential,
        "atoms": group[0]["atoms"],
        "volume_A3_per_atom": float(np.mean([row["volume_A3_per_atom"] for row in group])),
        "temperatures_K": [row["temperature_K"] for row in group],
        "Ea_eV": interval(single.activation_energy),
        "sigma_300K_mS_cm": interval(single.at(ROOM)),
        "Ea_collective_eV": collective and interval(collective.activation_energy),
        "sigma_collective_300K_mS_cm": collective and interval(collective.at(ROOM)),
        "headline": name == "main",
        "band": [[t, *interval(single.at(t))] for t in np.linspace(ROOM, group[-1]["temperature_K"], 26).tolist()],
    }


def _line(group: list[dict[str, Any]], key: str) -> ArrheniusFit:
    temperatures = [row["temperature_K"] for row in group]
    return fit_arrhenius(temperatures, [np.array(row[key]) for row in group], of_product=True)


def one_temperature(
    chosen: RunSet, temperature: float, model: str, place: Path, out: Path, scale: float
) -> list[dict[str, Any]]:
    """Run or resume a temperature, analyse it, and draw the density and van Hove functions next to `out`."""
    config = ConductivityConfig(
        ion="Li",
        temperatures=(temperature,),
        supercell=chosen.repeats,
        volume=chosen.volume,
        timestep=chosen.timestep,
        equilibration=20.0 * scale,
        production=(chosen.production + DISCARD) * scale,
        interval=INTERVAL if scale == 1 else 10.0,
        thermostat_time=chosen.thermostat_time,
        seed=chosen.seed + chosen.temperatures.index(temperature),
        analysis=_analysis(scale),
    )
    last = -1
    console = Console(stderr=True)

    def report(progress) -> None:
        nonlocal last
        percent = 100 * progress.done // max(progress.total, 1)
        if percent > last:
            last = percent
            console.print(f"{chosen.name}, {temperature:g} K, {progress.stage}: {percent} %", highlight=False)

    atoms = crystal(chosen.germanium)
    folder = place / chosen.name / f"{temperature:g}-K"
    folder.parent.mkdir(parents=True, exist_ok=True)
    study = calc(atoms, MakeCalculator(model), config, folder, progress=report)
    if chosen.name in conductivity_report.HEADLINE:
        picture = draw_maps(study.displacements[0], chosen.repeats, temperature)
        picture.savefig(out.with_name(f"{out.stem}-{chosen.name}-{temperature:g}-K.png"), dpi=100)
    return rows(chosen, study, Path(model).name)


def _start_process(threads: int) -> None:
    end_with_parent()
    torch.set_num_threads(threads)
    numba.set_num_threads(threads)


def main(
    student: Annotated[str, typer.Option(help="Name or path of the distilled potential.")],
    hdnnp: Annotated[
        str | None, typer.Option(help="Name or path of the HDNNP; without it its set is left out.")
    ] = None,
    runs: Annotated[Path, typer.Option(help="Folder of the runs.")] = Path("runs/lgps-conductivity"),
    out: Annotated[Path | None, typer.Option(help="Output JSON file; default: in the folder of the runs.")] = None,
    only: Annotated[str | None, typer.Option(help="Names of sets, with commas; default: all, in order.")] = None,
    temperatures: Annotated[
        str | None, typer.Option(help="K, with commas: those of the sets to run now; default: all.")
    ] = None,
    processes: Annotated[int, typer.Option(help="Number of temperatures in parallel; they share the cores.")] = 2,
    scale: Annotated[float, typer.Option(help="Factor of all times, for tests of the script.")] = 1.0,
) -> None:
    """Run the missing temperatures, and write the results."""
    names = [s.name for s in SETS] if only is None else only.split(",")
    if unknown := sorted(set(names) - {s.name for s in SETS}):
        raise typer.BadParameter(f"{', '.join(unknown)}: no such set; known are {', '.join(s.name for s in SETS)}")
    out = out or runs / "conductivity.json"
    if scale != 1 and "docs" in out.parts:
        raise typer.BadParameter("--scale: shortened runs are no results; write them elsewhere")
    runs.mkdir(parents=True, exist_ok=True)
    sets = [s for s in SETS if s.name in names]
    chosen = _chosen(temperatures, sets)
    waiting = _waiting(sets, {"student": student, "hdnnp": hdnnp}, _read(out))
    work = [item for item in waiting if item[1] in chosen]
    context = multiprocessing.get_context("spawn")
    threads = max(1, usable_cores() // processes)
    with ProcessPoolExecutor(processes, mp_context=context, initializer=_start_process, initargs=(threads,)) as pool:
        futures = [pool.submit(one_temperature, *item, runs, out, scale) for item in work]
        try:
            for future in as_completed(futures):
                # another call may finish a temperature at the same time
                with FileLock(runs / "results.lock"):
                    _add(out, future.result())
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _chosen(temperatures: str | None, sets: list[RunSet]) -> set[float]:
    """Temperatures to run in this call."""
    known = {f"{t:g}": t for s in sets for t in s.temperatures}
    names = list(known) if temperatures is None else temperatures.split(",")
    if unknown := sorted(set(names) - set(known)):
        raise typer.BadParameter(f"{', '.join(unknown)}: no temperature of these sets; they have {', '.join(known)}")
    return {known[name] for name in names}


def _waiting(
    sets: list[RunSet], models: dict[str, str | None], found: list[dict[str, Any]]
) -> Iterator[tuple[RunSet, float, str]]:
    """Temperatures that are not in OUT."""
    done = {(row["set"], row["potential"], row["timestep_fs"], row["temperature_K"]) for row in found}
    for chosen in sets:
        model = models[chosen.potential]
        for temperature in chosen.temperatures if model is not None else ():
            if (chosen.name, Path(model).name, chosen.timestep, temperature) not in done:
                yield chosen, temperature, model


def _read(out: Path) -> list[dict[str, Any]]:
    return json.loads(out.read_text())["runs"] if out.is_file() else []


def _add(out: Path, new: list[dict[str, Any]]) -> None:
    """Add the rows of a temperature to OUT, in the order of the sets, and update all fits and the plot."""
    order = {chosen.name: number for number, chosen in enumerate(SETS)}
    found = sorted(_read(out) + new, key=lambda r: (order[r["set"]], r["temperature_K"], -r["time_ps"]))
    fitted = fits(found)
    references = {chosen.name: chosen.reference for chosen in SETS if chosen.reference}
    result = {
        "runs": found, "fits": fitted, "controls": controls(found, references), "repeated": repeated(found),
        "aim": [met for met in (aim(fitted),) if met is not None],
    }  # fmt: skip
    parts = (f' "{key}": [{_lines(value)}]' for key, value in result.items())
    write_text(out, "{\n" + ",\n".join(parts) + "\n}\n")
    conductivity_report.write(result, out)


def _lines(rows: list[dict[str, Any]]) -> str:
    """Rows as JSON, one per line."""
    return "\n  " + ",\n  ".join(map(json.dumps, rows)) + "\n " if rows else ""


if __name__ == "__main__":
    typer.run(main)
