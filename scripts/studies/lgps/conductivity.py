"""The conductivity of Li10GeP2S12 by any potential: all runs of docs/lgps/conductivity.md, resumable.

    python scripts/studies/lgps/conductivity.py --data lgps50_train.extxyz.gz --student my-student --hdnnp my-hdnnp
    python scripts/studies/lgps/conductivity.py --data lgps50_train.extxyz.gz --student my-student --only main

Stopped at any time, the same command continues. What has ended is analysed, and written to OUT (JSON), with an
Arrhenius plot beside it; a set that has not ended is not in there. `--scale 0.001` shortens all times, to try the
script: such numbers are no results, and are refused in docs/.
"""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from ase import Atoms
from rich.console import Console

from gnnpot.cli.conductivity import MakeCalculator
from gnnpot.data import read_frames
from gnnpot.properties.conductivity import AnalysisConfig, ConductivityConfig, Displacements, analyse
from gnnpot.properties.conductivity.calc import calc
from gnnpot.properties.conductivity.msd import Estimate
from gnnpot.properties.conductivity.pictures import draw_arrhenius
from gnnpot.properties.conductivity.result import ROOM, Study, conclude

#: Å, Kamaya et al. 2011
A, C = 8.71771, 12.63452
FIVE, THREE = (350.0, 400.0, 500.0, 650.0, 800.0), (500.0, 650.0, 800.0)
#: (label, K, mS/cm): Kamaya et al., Nat. Mater. 10, 682 (2011); Mo, Ong & Ceder, Chem. Mater. 24, 15 (2012) and Ong et
#: al., Energy Environ. Sci. 6, 148 (2013), ab initio dynamics (PBE) at 600 K and above, extrapolated
PUBLISHED = [
    ("experiment, Kamaya 2011", 300.15, 12.0),
    ("ab initio, Mo 2012", 300.0, 9.0),
    ("ab initio, Ong 2013", 300.0, 13.0),
]
#: rules of docs/lgps/conductivity.md
BROKEN, SULPHUR = 0.01, 0.02
#: ps, of the mean positions whose neighbours are compared
MEAN_TIME = 5.0


@dataclass(frozen=True)
class RunSet:
    """Runs that belong together."""

    name: str
    potential: str = "student"
    repeats: tuple[int, int, int] = (2, 2, 2)
    volume: str = "given"
    temperatures: tuple[float, ...] = FIVE
    production: float = 1000.0  #: ps
    timestep: float = 2.0  #: fs
    thermostat_time: float = 1000.0  #: fs
    seed: int = 0
    ordering: int | None = None  #: of Ge and P; None: that of the frame


SETS = (
    RunSet("main", repeats=(4, 4, 2)),
    RunSet("hdnnp", potential="hdnnp", repeats=(4, 4, 2)),
    RunSet("size-50", repeats=(1, 1, 1)),
    RunSet("size-400"),
    RunSet("volume", volume="npt", temperatures=THREE),
    *(RunSet(f"repeat-{k}", temperatures=(500.0, 800.0), seed=100 * k) for k in range(1, 5)),
    RunSet("step", temperatures=(650.0,), production=300.0, timestep=1.0),
    # a thermostat this slow takes no part in 300 ps
    RunSet("nve", temperatures=(650.0,), production=300.0, thermostat_time=1e9),
    *(RunSet(f"order-{k}", temperatures=THREE, production=300.0, ordering=k) for k in range(3)),
)


def crystal(data: Path, ordering: int | None) -> Atoms:
    """50 atoms in experiment's cell; `ordering` places Ge and P anew on their sites."""
    # ASE's reader looks through a compressed file for every frame's place first, for minutes
    atoms = next(iter(read_frames(data))).to_atoms()
    plain = Atoms(atoms.symbols, scaled_positions=atoms.get_scaled_positions(), cell=np.diag([A, A, C]), pbc=True)
    if ordering is not None:
        sites = np.flatnonzero(np.isin(plain.get_chemical_symbols(), ("Ge", "P")))
        symbols = np.array(plain.get_chemical_symbols())
        symbols[sites] = np.random.default_rng(ordering).permutation(symbols[sites])
        plain.set_chemical_symbols(symbols.tolist())
    return plain


def broken(moved: Displacements) -> float:
    """Share of P and Ge whose four nearest S are not those of the start."""
    frames = max(1, round(MEAN_TIME / moved.frame_time))
    inverse = np.linalg.inv(moved.cell)

    def nearest(part: slice) -> np.ndarray:
        sulphur = moved.framework["S"][part].mean(axis=0)
        centres = np.concatenate([moved.framework[e][part].mean(axis=0) for e in ("P", "Ge")])
        scaled = (sulphur[None] - centres[:, None]) @ inverse
        distances = np.linalg.norm((scaled - np.round(scaled)) @ moved.cell, axis=-1)
        return np.sort(np.argsort(distances, axis=1)[:, :4], axis=1)

    return float((nearest(slice(0, frames)) != nearest(slice(-frames, None))).any(axis=1).mean())


def excluded(study: Study) -> dict[float, str]:
    """Temperatures that rule 2 (a) and (b) leaves out, with the reason."""
    found = {}
    for transport, moved in zip(study.result.transports, study.displacements, strict=True):
        share = broken(moved)
        sulphur = transport.framework_diffusion["S"] / transport.tracer.value
        if share > BROKEN:
            found[transport.temperature] = f"{100 * share:.1f} % of PS4 and GeS4 have other S than at the start"
        elif sulphur > SULPHUR:
            found[transport.temperature] = f"S diffuses, at {100 * sulphur:.1f} % of Li"
    return found


def interval(estimate: Estimate) -> list[float]:
    """Value, low and high end of the 95 % interval."""
    return [estimate.value, estimate.low, estimate.high]


def rows(chosen: RunSet, study: Study, potential: str, left_out: dict[float, str]) -> list[dict[str, Any]]:
    """Rows of `runs`; those of 0.1 and 0.3 ns are parts of longer ones."""
    found = []
    for whole, moved in zip(study.result.transports, study.displacements, strict=True):
        parts = [t for t in (100.0, 300.0) if t < 0.9 * moved.time and chosen.name in ("main", "size-50", "size-400")]
        for time in (*parts, None):
            t = whole if time is None else analyse(_first(moved, time), whole.temperature, _analysis(1.0))
            found.append(
                {
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
                    "left_out": left_out.get(t.temperature, "; ".join(t.verdict)),
                }
            )
    return found


def _first(moved: Displacements, time: float) -> Displacements:
    """The first `time` ps."""
    frames = round(time / moved.frame_time) + 1
    framework = {element: x[:frames] for element, x in moved.framework.items()}
    return replace(moved, ions=moved.ions[:frames], framework=framework)


def _analysis(scale: float) -> AnalysisConfig:
    return AnalysisConfig(discard=20.0 * scale)


def fits(chosen: RunSet, study: Study, potential: str, left_out: dict[float, str]) -> list[dict[str, Any]]:
    """The row of `fits`, if there are two temperatures to fit."""
    result = conclude(list(study.result.transports), 1.0, skip=tuple(left_out))
    first = result.transports[0]
    if result.nernst_einstein is None or result.collective is None:
        return []
    return [
        {
            "set": chosen.name,
            "potential": potential,
            "atoms": first.atoms,
            "volume_A3_per_atom": first.volume / first.atoms,
            "temperatures_K": list(result.nernst_einstein.temperatures),
            "Ea_eV": interval(result.nernst_einstein.activation_energy),
            "sigma_300K_mS_cm": interval(result.nernst_einstein.at(ROOM)),
            "Ea_collective_eV": interval(result.collective.activation_energy),
            "sigma_collective_300K_mS_cm": interval(result.collective.at(ROOM)),
            "headline": chosen.name == "main",
        }
    ]


def one_set(chosen: RunSet, model: str, data: Path, place: Path, processes: int, scale: float) -> Study:
    """Run, or continue, and analyse a set."""
    config = ConductivityConfig(
        ion="Li",
        temperatures=chosen.temperatures,
        supercell=chosen.repeats,
        volume=chosen.volume,
        timestep=chosen.timestep,
        equilibration=20.0 * scale,
        production=(chosen.production + 20.0) * scale,
        interval=100.0 if scale == 1 else 10.0,
        thermostat_time=chosen.thermostat_time,
        seed=chosen.seed,
        analysis=_analysis(scale),
    )
    last: dict[float, int] = {}
    console = Console(stderr=True)

    def report(progress) -> None:
        percent = 100 * progress.done // max(progress.total, 1)
        if percent > last.get(progress.temperature, -1):
            last[progress.temperature] = percent
            console.print(f"{chosen.name}, {progress.temperature:g} K, {progress.stage}: {percent} %", highlight=False)

    atoms = crystal(data, chosen.ordering)
    return calc(atoms, MakeCalculator(model), config, place / chosen.name, processes=processes, progress=report)


def main(
    student: Annotated[str, typer.Option(help="Name or path of the distilled potential.")],
    data: Annotated[Path, typer.Option(help="The frames; the first is the structure.")],
    hdnnp: Annotated[
        str | None, typer.Option(help="Name or path of the HDNNP; without it its set is left out.")
    ] = None,
    runs: Annotated[Path, typer.Option(help="Folder of the runs.")] = Path("runs/lgps-conductivity"),
    out: Annotated[Path | None, typer.Option(help="JSON; default: in the folder of the runs.")] = None,
    only: Annotated[str | None, typer.Option(help="Names of sets, with commas; default: all, in order.")] = None,
    processes: Annotated[int, typer.Option(help="Temperatures side by side.")] = 2,
    scale: Annotated[float, typer.Option(help="Factor of all times, to try the script.")] = 1.0,
) -> None:
    """Run what has not been run, and write what has."""
    names = [s.name for s in SETS] if only is None else only.split(",")
    if unknown := sorted(set(names) - {s.name for s in SETS}):
        raise typer.BadParameter(f"{', '.join(unknown)}: no such set; known are {', '.join(s.name for s in SETS)}")
    out = out or runs / "conductivity.json"
    if scale != 1 and "docs" in out.parts:
        raise typer.BadParameter("--scale: shortened runs are no results; write them elsewhere")
    runs.mkdir(parents=True, exist_ok=True)
    models = {"student": student, "hdnnp": hdnnp}
    for chosen in SETS:
        model = models[chosen.potential]
        if chosen.name not in names or model is None:
            continue
        study = one_set(chosen, model, data, runs, processes, scale)
        left_out = excluded(study)
        potential = Path(model).name
        _write(out, chosen.name, rows(chosen, study, potential, left_out), fits(chosen, study, potential, left_out))
        result = conclude(list(study.result.transports), 1.0, skip=tuple(left_out))
        draw_arrhenius(result, PUBLISHED).savefig(out.with_name(f"conductivity-{chosen.name}.png"))


def _write(out: Path, name: str, found: list[dict[str, Any]], fitted: list[dict[str, Any]]) -> None:
    """Replace the rows of a set in OUT."""
    before = json.loads(out.read_text()) if out.is_file() else {"runs": [], "fits": []}
    after = {
        key: [row for row in before[key] if row["set"] != name] + new
        for key, new in (("runs", found), ("fits", fitted))
    }
    partial = out.with_suffix(".partial")
    partial.write_text(json.dumps(after, indent=1) + "\n")
    partial.replace(out)


if __name__ == "__main__":
    typer.run(main)
