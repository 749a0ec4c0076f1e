"""Time and memory of one step (energy and potential) for silicon with a vacancy, 8 to 4,096 atoms, on one thread.

    python scripts/studies/functional/cost.py -f gnnpot-kedf-1 -f gnnpot-kedf-1:single -f wt \\
        --dftpy si.lda.recpot --dftpy-python venv/bin/python -o docs/functional/cost.json

Each measurement runs in its own process, to measure its peak memory. Measurements of one size follow each other
directly and are repeated `--rounds` times, of which the minimum counts, so that other load on the machine affects all
equally. Times are CPU seconds. The setup (structure factors, Ewald sum) is given separately. `name:single` is single
precision. `--dftpy` measures Wang-Teter in DFTpy (a step is the total functional with Wang-Teter, LDA, Hartree and the
pseudopotential), with an interpreter that needs only that package. Sizes in the output are not measured again.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import bulk

SIZES = {8: (1, 1, 1), 64: (2, 2, 2), 512: (4, 4, 4), 4096: (8, 8, 8)}
#: of a step in one process; at the largest size the first step is the only one
REPETITIONS = {8: 20, 64: 4, 512: 2}
#: points along one side of the cube of 8 atoms; 6.5/bohr
POINTS = 24


def structure(size: int) -> Atoms:
    """Cubic supercell of silicon with one vacancy."""
    return (bulk("Si", "diamond", a=5.43, cubic=True) * SIZES[size])[1:]


def measure(function, repetitions: int) -> float:
    """Minimum CPU time of a call, s."""
    times = []
    for _ in range(repetitions):
        start = time.process_time()
        function()
        times.append(time.process_time() - start)
    return min(times)


def ours(size: int, name: str) -> dict:
    """One step of gnnpot's solver."""
    import torch

    from gnnpot.functional.energy import TotalEnergy
    from gnnpot.functional.external import Ions
    from gnnpot.functional.solver import orbital_free_grid
    from gnnpot.functional.space import FourierSpace
    from gnnpot.functional.store import open_functional

    torch.set_num_threads(1)
    atoms = structure(size)
    start = time.process_time()
    grid = orbital_free_grid(atoms, 6.5)
    ions = Ions(atoms, grid)
    density = torch.from_numpy(ions.starting_density()).reshape(1, -1)
    functional = open_functional(name.removesuffix(":single"))
    inner = torch.float32 if name.endswith(":single") else torch.float64
    energy = TotalEnergy(functional, FourierSpace(grid, inner=inner), torch.from_numpy(ions.potential).reshape(1, -1))
    setup = time.process_time() - start
    step = measure(lambda: energy(density), REPETITIONS.get(size, 1))
    return {"points": grid.size, "setup_s": setup, "step_s": step}


def dftpy(size: int, pseudopotential: str) -> dict:
    """One evaluation of DFTpy's total functional."""
    from dftpy.field import DirectField
    from dftpy.functional import Functional, TotalFunctional
    from dftpy.grid import DirectGrid
    from dftpy.ions import Ions

    atoms = structure(size)
    ions = Ions.from_ase(atoms)
    grid = DirectGrid(lattice=ions.cell, nr=np.array([n * POINTS for n in SIZES[size]]), full=False)
    parts = {
        "KE": Functional(type="KEDF", name="WT"),
        "XC": Functional(type="XC", name="LDA"),
        "HARTREE": Functional(type="HARTREE"),
        "PSEUDO": Functional(type="PSEUDO", grid=grid, ions=ions, PP_list={"Si": pseudopotential}),
    }
    evaluator = TotalFunctional(**parts)
    density = DirectField(grid=grid)
    density[:] = 4 * len(atoms) / ions.cell.volume * (1 + 0.3 * np.random.default_rng(0).uniform(size=density.shape))
    evaluator(density, calcType={"E", "V"})
    step = measure(lambda: evaluator(density, calcType={"E", "V"}), REPETITIONS.get(size, 1))
    return {"points": int(np.prod(density.shape)), "step_s": step}


def measure_apart(interpreter: str, option: str, name: str, size: int) -> dict:
    """Run one measurement in a new process."""
    command = [interpreter, __file__, option, name, "--size", str(size), "--one"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else {"failed": done.stderr[-300:]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-f", "--functional", action="append", default=[])
    parser.add_argument("--dftpy")
    parser.add_argument("--dftpy-python", default=sys.executable)
    parser.add_argument("--size", type=int, action="append")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--one", action="store_true", help="measure in this process, and print JSON")
    parser.add_argument("-o", "--output", type=Path)
    arguments = parser.parse_args()
    if arguments.one:
        function, name = (dftpy, arguments.dftpy) if arguments.dftpy else (ours, arguments.functional[0])
        measured = function(arguments.size[0], name)
        measured["memory_gib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        sys.stdout.write(json.dumps(measured) + "\n")
        return
    jobs = [(name, sys.executable, "-f", name) for name in arguments.functional]
    if arguments.dftpy:
        jobs.append(("dftpy wt", arguments.dftpy_python, "--dftpy", arguments.dftpy))
    results: dict = json.loads(arguments.output.read_text()) if arguments.output.exists() else {}
    for size in arguments.size or SIZES:
        missing = [job for job in jobs if str(size) not in results.get(job[0], {})]
        rounds = arguments.rounds if size in REPETITIONS else 1
        found = [[measure_apart(*job[1:], size) for job in missing] for _ in range(rounds)]
        for job, values in zip(missing, zip(*found, strict=True), strict=True):
            best = min(values, key=lambda value: value.get("step_s", float("inf")))
            results.setdefault(job[0], {})[str(size)] = best
        arguments.output.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
