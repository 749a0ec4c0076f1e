"""Effect of the time step on the dynamics of Li10GeP2S12: energy conservation and error of the temperature.

    python scripts/studies/lgps/timestep.py lgps-4 --out docs/lgps/timestep.json

400 atoms at the experimental volume are simulated without thermostat (velocity Verlet), all from the same state at
800 K. For harmonic vibrations of frequency ω, velocity Verlet samples displacements at a temperature that is higher
than that of the velocities by the fraction (ω Δt)²/4, to first order; a thermostat controls the temperature of the
velocities. The mean of ω² over all vibrations is Σ F²/m/(3 N k T).
"""

import json
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from ase import Atoms, units
from ase.md.bussi import Bussi
from ase.md.velocitydistribution import thermalize_momenta
from ase.md.verlet import VelocityVerlet
from conductivity import crystal

import gnnpot
from gnnpot.runs.files import write_text

TEMPERATURE, STEPS = 800.0, (1.0, 2.0, 3.0, 4.0)
#: ps, and the time step of the equilibration, fs
EQUILIBRATION, TIME, FIRST_STEP = 5.0, 20.0, 2.0


def start(model: str) -> Atoms:
    """400 atoms, equilibrated."""
    atoms, rng = crystal() * (2, 2, 2), np.random.default_rng(0)
    thermalize_momenta(atoms, temperature_K=2 * TEMPERATURE, rng=rng)
    atoms.calc = gnnpot.Calculator(model)
    dynamics = Bussi(atoms, FIRST_STEP * units.fs, temperature_K=TEMPERATURE, taut=100 * units.fs, rng=rng)
    dynamics.run(round(1000 * EQUILIBRATION / FIRST_STEP))
    return atoms


def measured(first: Atoms, model: str, timestep: float) -> dict[str, float]:
    """A row: fluctuation of the total energy, its drift, and the excess temperature of the displacements."""
    atoms = first.copy()
    atoms.calc = gnnpot.Calculator(model)
    dynamics = VelocityVerlet(atoms, timestep * units.fs)
    energies, squares, temperatures = [], [], []

    def sample() -> None:
        energies.append(atoms.get_total_energy() / len(atoms))
        temperatures.append(atoms.get_temperature())
        squares.append((atoms.get_forces() ** 2 / atoms.get_masses()[:, None]).sum())

    dynamics.attach(sample, interval=1)
    dynamics.run(round(1000 * TIME / timestep))
    times = np.arange(len(energies)) * timestep / 1000
    line = np.polyfit(times, energies, 1)
    temperature = float(np.mean(temperatures))
    # eV/(Å² u), by the units of ASE
    square_frequency = np.mean(squares) / (3 * len(atoms) * units.kB * temperature)
    return {
        "timestep_fs": timestep,
        "temperature_K": temperature,
        "fluctuation_ueV_atom": float(1e6 * np.std(energies - np.polyval(line, times))),
        "drift_ueV_atom_ps": float(1e6 * line[0]),
        "excess_temperature_percent": float(100 * square_frequency * (timestep * units.fs) ** 2 / 4),
    }


def main(
    model: Annotated[str, typer.Argument(help="Name or path of a potential.")],
    out: Annotated[Path, typer.Option(help="Output JSON file.")],
) -> None:
    """Measure and write."""
    torch.set_num_threads(1)
    first = start(model)
    rows = []
    for timestep in STEPS:
        rows.append(measured(first, model, timestep))
        typer.echo(json.dumps(rows[-1]))
    write_text(out, json.dumps({"potential": Path(model).name, "atoms": len(first), "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    typer.run(main)
