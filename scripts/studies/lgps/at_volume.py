"""Errors and pressures of potentials for Li10GeP2S12 at the experimental volume, for which there are no DFT frames.

    python scripts/studies/lgps/at_volume.py --teacher my-teacher --student my-student \\
        --hdnnp my-hdnnp --out docs/lgps/at-volume.json

For each temperature, dynamics with the student (NVT, 50 atoms, experimental cell) give frames every 0.2 ps after 2 ps,
which the teacher labels. Errors are relative to the teacher, whose own error is known for DFT frames of larger volumes.
"""

import json
import tempfile
from pathlib import Path
from typing import Annotated, Any

import ase.io
import numpy as np
import typer
from ase import Atoms
from ase.units import GPa
from conductivity import crystal

import gnnpot
from gnnpot.engines.md import MDConfig, run_md

TEMPERATURES = (350.0, 500.0, 800.0)
#: fs, and steps
TIMESTEP, FIRST, APART, FRAMES = 2.0, 1000, 100, 40


def frames_of(student: gnnpot.Calculator, start: Atoms, temperature: float) -> list[Atoms]:
    """Frames of the student's dynamics."""
    steps = FIRST + APART * (FRAMES - 1)
    config = MDConfig(ensemble="bussi", temperature=temperature, timestep=TIMESTEP, steps=steps, interval=APART, seed=0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run.traj"
        run_md(start, student, config, trajectory=path)
        frames = ase.io.read(path, index=":")
    return frames[FIRST // APART :]


def labels(calculator: gnnpot.Calculator, frames: list[Atoms]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Energies [n] eV, forces [n, atoms, 3] eV/Å and pressures [n] GPa without the kinetic part."""
    energies, forces, pressures = [], [], []
    for frame in frames:
        atoms = frame.copy()
        atoms.calc = calculator
        energies.append(atoms.get_potential_energy())
        forces.append(atoms.get_forces())
        pressures.append(-atoms.get_stress()[:3].mean() / GPa)
    return np.array(energies), np.array(forces), np.array(pressures)


def compared(of: tuple[np.ndarray, ...], to: tuple[np.ndarray, ...], atoms: int) -> dict[str, float]:
    """Errors of the labels `of` relative to those of the teacher."""
    shift = of[0] - to[0]
    return {
        "forces_mae_meV_A": float(1e3 * np.abs(of[1] - to[1]).mean()),
        "energy_mae_meV_atom": float(1e3 * np.abs(shift).mean() / atoms),
        "energy_mae_without_mean_meV_atom": float(1e3 * np.abs(shift - shift.mean()).mean() / atoms),
        "pressure_GPa": float(of[2].mean()),
        "pressure_mae_GPa": float(np.abs(of[2] - to[2]).mean()),
    }


def main(
    teacher: Annotated[str, typer.Option(help="Name or path.")],
    student: Annotated[str, typer.Option(help="Name or path.")],
    out: Annotated[Path, typer.Option(help="Output JSON file.")],
    hdnnp: Annotated[str | None, typer.Option(help="Name or path of an HDNNP to evaluate too.")] = None,
) -> None:
    """Measure and write."""
    start = crystal()
    potentials = {"teacher": teacher, "student": student} | ({} if hdnnp is None else {"hdnnp": hdnnp})
    calculators = {role: gnnpot.Calculator(name) for role, name in potentials.items()}
    rows: list[dict[str, Any]] = []
    for temperature in TEMPERATURES:
        frames = frames_of(calculators["student"], start, temperature)
        reference = labels(calculators["teacher"], frames)
        for role, calculator in calculators.items():
            found = reference if role == "teacher" else labels(calculator, frames)
            rows.append({"temperature_K": temperature, "role": role, **compared(found, reference, len(start))})
    result = {"volume_A3": start.get_volume(), "atoms": len(start), "frames": FRAMES, "rows": rows}
    out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    typer.run(main)
