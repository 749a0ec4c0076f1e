"""A step of molecular dynamics in LAMMPS on one and several ranks, beside ASE's on one thread.

    python scripts/benchmarks/lammps_ranks.py run -o lammps.jsonl              # one rank, and ASE
    mpiexec -n 2 python scripts/benchmarks/lammps_ranks.py run -o lammps.jsonl
    python scripts/benchmarks/lammps_ranks.py table lammps.jsonl -o docs/benchmarks/lammps.md

Rock salt with untrained potentials in float32 (HDNNP in float64): the weights don't change the time. Time is that of
the processor, of the rank that takes longest, for a step: it counts the work of each rank also where ranks share
cores with other programs, as wall time does not. Waiting for other ranks is part of it, since MPICH waits actively.
"""

import json
import time
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from ase.build import bulk
from ase.io.lammpsdata import write_lammps_data
from ase.md.verlet import VelocityVerlet
from ase.units import fs

from gnnpot.data.references import ElementReferences
from gnnpot.engines.calculator import Calculator
from gnnpot.engines.lammps import open_lammps
from gnnpot.models import HDNNP, HDNNPConfig, SevenNet, SevenNetConfig
from gnnpot.models.symmetry_sets import BehlerSet
from gnnpot.potential import Potential
from gnnpot.runs.files import write_text

ELEMENTS = ("Na", "Cl")
app = typer.Typer()


def potentials() -> dict[str, Potential]:
    torch.manual_seed(0)
    references = ElementReferences.from_mapping({"energies": dict.fromkeys(ELEMENTS, -1.0)})
    sevennet = SevenNetConfig(elements=ELEMENTS, channels=(32, 16), layers=2, cutoff=5.0)
    hdnnp = HDNNPConfig(elements=ELEMENTS, symmetry_set=BehlerSet(), hidden=(16, 16))
    models = {"HDNNP, 6 Å": HDNNP(hdnnp), "SevenNet, 2 layers of 5 Å": SevenNet(sevennet)}
    return {name: Potential(model, references).eval() for name, model in models.items()}


@app.command()
def run(
    output: Annotated[Path, typer.Option("--output", "-o", help="Lines of JSON, appended.")],
    atoms: Annotated[str, typer.Option(help="Numbers of atoms, with commas.")] = "512,4096",
    steps: Annotated[int, typer.Option(help="That are timed.")] = 5,
) -> None:
    """Measure on the ranks of this call."""
    from mpi4py import MPI

    world = MPI.COMM_WORLD
    torch.set_num_threads(1)
    for count in (int(n) for n in atoms.split(",")):
        side = round((count / 8) ** (1 / 3))
        crystal = bulk("NaCl", "rocksalt", a=5.64, cubic=True).repeat((side,) * 3)
        crystal.rattle(0.05, seed=1)
        data = output.with_name(f"{output.stem}-{world.size}.data")
        if world.rank == 0:
            write_lammps_data(data, crystal, specorder=list(ELEMENTS), masses=True, units="metal")
        world.barrier()
        for name, potential in potentials().items():
            row = {"model": name, "atoms": len(crystal), "ranks": world.size}
            row |= in_lammps(potential, data, steps, world)
            if world.size == 1:
                row["ase_s"], row["ase_wall_s"], row["ase_energy"] = in_ase(potential, crystal, steps)
            if world.rank == 0:
                with output.open("a") as lines:
                    lines.write(json.dumps(row) + "\n")
        if world.rank == 0:
            data.unlink()


def in_lammps(potential: Potential, data: Path, steps: int, world) -> dict:
    with open_lammps(open_potential=lambda _: potential) as engine:
        engine.commands_string(
            f"units metal\natom_style atomic\nnewton on\nread_data {data}\npair_style gnnpot\n"
            f"pair_coeff * * model {' '.join(ELEMENTS)}\nneighbor 0.5 bin\nfix 1 all nve\ntimestep 0.001\nrun 0"
        )
        energy = engine.get_thermo("pe")
        engine.command("run 2 post no")
        start, wall = time.process_time(), time.monotonic()
        engine.command(f"run {steps} post no")
        seconds = np.array([time.process_time() - start, time.monotonic() - wall]) / steps
    longest = np.max(world.allgather(seconds), axis=0)
    return {"s": float(longest[0]), "wall_s": float(longest[1]), "energy": energy}


def in_ase(potential: Potential, crystal, steps: int) -> tuple[float, float, float]:
    moving = crystal.copy()
    moving.calc = Calculator(potential)
    energy = moving.get_potential_energy()
    dynamics = VelocityVerlet(moving, 1.0 * fs)
    dynamics.run(2)
    start, wall = time.process_time(), time.monotonic()
    dynamics.run(steps)
    return (time.process_time() - start) / steps, (time.monotonic() - wall) / steps, energy


@app.command()
def table(lines: Annotated[Path, typer.Argument()], output: Annotated[Path, typer.Option("--output", "-o")]) -> None:
    """Write the table."""
    rows = [json.loads(line) for line in lines.read_text().splitlines()]
    text = [
        "# A step in LAMMPS", "",
        "`scripts/benchmarks/lammps_ranks.py`: rock salt, one thread for each rank, time of the processor for a step,",
        "of the rank that takes longest. ΔE is the difference of the energy to that of ASE's calculator.", "",
        "| potential | atoms | ranks | ms | over ASE on one thread | faster than one rank | ΔE, eV/atom |",
        "|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    for row in sorted(rows, key=lambda r: (r["model"], r["atoms"], r["ranks"])):
        one = next(r for r in rows if (r["model"], r["atoms"], r["ranks"]) == (row["model"], row["atoms"], 1))
        difference = abs(row["energy"] - one["ase_energy"]) / row["atoms"]
        text.append(
            f"| {row['model']} | {row['atoms']:,} | {row['ranks']} | {1000 * row['s']:.0f} | "
            f"{row['s'] / one['ase_s']:.2f} | {one['s'] / row['s']:.2f} | {difference:.0e} |"
        )
    write_text(output, "\n".join([*text, ""]))


if __name__ == "__main__":
    app()
