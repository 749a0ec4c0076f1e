"""Time of a molecular dynamics step in LAMMPS on one rank and on all ranks, compared with ASE on one thread.

    export MPIR_CVAR_ENABLE_HEAVY_YIELD=1
    run="mpiexec -n 2 python scripts/benchmarks/lammps_ranks.py run -o docs/benchmarks/lammps.jsonl"
    $run n2p2-silicon Si.vasp --label "HDNNP, silicon"
    $run lgps-4 Li10GeP2S12.vasp --label "SevenNet, Li10GeP2S12" --atoms 4000
    python scripts/benchmarks/lammps_ranks.py table docs/benchmarks/lammps.jsonl -o docs/benchmarks/lammps.md

The structure is repeated to about `--atoms` atoms in a nearly cubic cell, displaced by 0.05 Å, and moves at 300 K with
a time step of 1 fs. All engines list neighbours up to 0.5 Å beyond the cutoff. ASE, LAMMPS on the first rank only and
LAMMPS on all ranks are timed in alternation, `--steps` steps each. The time of a step is the processor time of the
slowest rank. It equals the wall time if each rank has its own core, and is affected little by other programs. To
exclude the time of waiting for other ranks, MPICH ranks must sleep while they wait, which the variable above enables.
The differences are those between LAMMPS and the ASE calculator before the first step.
"""

import contextlib
import json
import statistics
import time
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from ase import Atoms, units
from ase.io import read
from ase.io.lammpsdata import write_lammps_data
from ase.md.velocitydistribution import thermalize_momenta
from ase.md.verlet import VelocityVerlet

from gnnpot.engines.calculator import Calculator
from gnnpot.engines.lammps import open_lammps
from gnnpot.hub.opening import load
from gnnpot.potential import Potential
from gnnpot.runs.files import write_text

SKIN = 0.5
#: components of the LAMMPS pressure in ASE's order
STRESSES = (1, 2, 3, 6, 5, 4)
app = typer.Typer()


@app.command()
def run(
    model: Annotated[str, typer.Argument(help="Name or path of a potential.")],
    structure: Annotated[Path, typer.Argument(help="Structure in a format of ASE, with an orthorhombic cell.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="JSON lines file, to which rows are appended.")],
    label: Annotated[str | None, typer.Option(help="Label of the row; default: name of the potential.")] = None,
    atoms: Annotated[int, typer.Option(help="Approximate number of atoms.")] = 4096,
    steps: Annotated[int, typer.Option(help="Steps of a turn.")] = 10,
    turns: Annotated[int, typer.Option()] = 7,
) -> None:
    """Run the measurement on the MPI ranks of this call."""
    from mpi4py import MPI

    world, alone = MPI.COMM_WORLD, MPI.COMM_SELF
    torch.set_num_threads(1)
    potential, crystal = load(model), supercell(read(structure), atoms)
    elements = list(dict.fromkeys(crystal.symbols))
    data = output.with_suffix(".data")
    if world.rank == 0:
        write_lammps_data(data, crystal, specorder=elements, masses=True, units="metal", velocities=True)
    world.barrier()
    row: dict[str, Any] = {
        "label": label or model, "model": Path(model).name, "atoms": len(crystal), "ranks": world.size, "steps": steps
    }  # fmt: skip
    with in_lammps(potential, data, elements, world) as on_all, in_lammps(potential, data, elements, alone) as on_one:
        moving = crystal.copy()
        moving.calc = Calculator(potential, skin=SKIN)
        # all ranks take part in the calls of LAMMPS on all ranks
        found = {"all": results(on_all), "one": results(on_one)}
        row["differences"] = {key: differences(value, moving) for key, value in found.items()}
        row["own"] = world.allgather(on_all.extract_global("nlocal"))
        dynamics = VelocityVerlet(moving, 1.0 * units.fs)
        runs = {
            "ase": lambda: dynamics.run(steps),
            "one": lambda: on_one.command(f"run {steps} pre no post no"),
            "all": lambda: on_all.command(f"run {steps} pre no post no"),
        }
        times: dict[str, list[float]] = {name: [] for name in runs}
        clock: dict[str, list[float]] = {name: [] for name in runs}
        for turn, (name, go) in product(range(turns + 1), runs.items()):
            wait(world)
            start, used = time.monotonic(), time.process_time()
            if name == "all" or world.rank == 0:
                go()
            used = max(world.allgather(time.process_time() - used))
            if turn:
                times[name].append(used / steps)
                clock[name].append((time.monotonic() - start) / steps)
    if world.rank == 0:
        data.unlink()
        with output.open("a") as lines:
            lines.write(json.dumps({**row, "s": times, "clock_s": clock}) + "\n")


def supercell(cell: Atoms, count: int) -> Atoms:
    """About `count` atoms, displaced and moving, in the most cubic of the supercells of about this size."""
    lengths, each = cell.cell.lengths(), len(cell)
    many = [n for n in product(range(1, 25), repeat=3) if abs(each * np.prod(n) / count - 1) <= 0.03]
    repeats = min(many, key=lambda n: float(np.ptp(np.log(n * lengths))))
    crystal = cell.repeat(repeats)
    crystal.rattle(0.05, seed=1)
    thermalize_momenta(crystal, 300, rng=np.random.default_rng(1))
    crystal.wrap()
    return crystal


@contextlib.contextmanager
def in_lammps(potential: Potential, data: Path, elements: list[str], comm: Any) -> Iterator[Any]:
    """Start LAMMPS on the ranks of `comm`, and compute the first forces."""
    with open_lammps(open_potential=lambda _: potential, comm=comm) as engine:
        engine.commands_string(
            f"units metal\natom_style atomic\nnewton on\nread_data {data}\npair_style gnnpot\n"
            f"pair_coeff * * model {' '.join(elements)}\nneighbor {SKIN} bin\nfix 1 all nve\ntimestep 0.001\n"
            "compute virial all pressure NULL virial\n"
            f"thermo_style custom step pe {' '.join(f'c_virial[{k}]' for k in STRESSES)}\nrun 0 post no"
        )
        yield engine


def results(engine: Any) -> dict[str, Any]:
    pressure = engine.numpy.extract_compute("virial", 0, 1)
    return {
        "energy": engine.get_thermo("pe"),
        "forces": np.array(engine.gather_atoms("f", 1, 3)).reshape(-1, 3),
        "stress": np.array([-pressure[k - 1] * 1e5 * units.Pascal for k in STRESSES]),
    }


def differences(found: dict[str, Any], atoms: Atoms) -> dict[str, float]:
    """Largest differences of the energy per atom (eV), the forces (eV/Å) and the stress (eV/Å³)."""
    return {
        "energy": abs(found["energy"] - atoms.get_potential_energy()) / len(atoms),
        "forces": float(np.abs(found["forces"] - atoms.get_forces()).max()),
        "stress": float(np.abs(found["stress"] - atoms.get_stress()).max()),
    }


def wait(world: Any) -> None:
    """Wait for the other ranks without using processor time; the barrier of MPI waits actively."""
    request = world.Ibarrier()
    while not request.Test():
        time.sleep(0.001)


@app.command()
def table(lines: Annotated[Path, typer.Argument()], output: Annotated[Path, typer.Option("--output", "-o")]) -> None:
    """Write the table."""
    rows = [json.loads(line) for line in lines.read_text().splitlines()]
    head = "| potential | atoms | ASE, one thread | 1 rank | 1 rank / ASE | ranks | all ranks | 1 rank / all ranks |"
    text = [
        "# Time of a step in LAMMPS", "",
        "Measured with `scripts/benchmarks/lammps_ranks.py`: one thread for each rank, medians of runs in turns.", "",
        "Wall time on an otherwise idle machine with two cores:", "", "<!-- clock -->", "",
        head, "|---|---|---|---|---|---|---|---|",
        *(speeds(row, "clock_s") for row in rows), "", "<!-- processor -->", "",
        "Processor time of the slowest rank, without waiting:", "",
        head, "|---|---|---|---|---|---|---|---|", *(speeds(row, "s") for row in rows), "",
        "Largest differences from ASE's calculator in the energy for an atom, forces and stress. The first number is",
        "for one rank, the second for all ranks:", "",
        "| potential | ΔE, eV | ΔF, eV/Å | Δσ, eV/Å³ |", "|---|---|---|---|",
    ]  # fmt: skip
    for row in rows:
        worst = [
            ", ".join(f"{row['differences'][ranks][name]:.0e}" for ranks in ("one", "all"))
            for name in ("energy", "forces", "stress")
        ]
        text.append(f"| {row['label']} | {' | '.join(worst)} |")
    write_text(output, "\n".join([*text, ""]))


def speeds(row: dict[str, Any], kind: str) -> str:
    """Row of the table with the times of one kind."""
    s = row[kind]
    ase, one, every = (f"{1000 * statistics.median(s[name]):.0f} ms" for name in ("ase", "one", "all"))
    over, faster = (
        statistics.median(a / b for a, b in zip(s[x], s[y], strict=True)) for x, y in (("one", "ase"), ("one", "all"))
    )
    return (
        f"| {row['label']} | {row['atoms']:,} | {ase} | {one} | {over:.2f} | {row['ranks']} | {every} | {faster:.2f} |"
    )


if __name__ == "__main__":
    app()
