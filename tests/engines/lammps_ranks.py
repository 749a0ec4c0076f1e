"""Run by each rank: structures in LAMMPS and by ASE's calculator. `python lammps_ranks.py OUT` or under mpiexec.

Writes one JSON: of each case, or of those that are named after OUT, how what LAMMPS gives differs from what the
calculator gives for the same positions.
"""

import copy
import json
import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.lammps import Prism
from ase.io.lammpsdata import write_lammps_data

from gnnpot.data.references import ElementReferences
from gnnpot.engines.calculator import Calculator
from gnnpot.engines.lammps import open_lammps
from gnnpot.models import (
    HDNNP,
    ZBL,
    HDNNPConfig,
    M3GNet,
    M3GNetConfig,
    Nequix,
    NequixConfig,
    SevenNet,
    SevenNetConfig,
    ZBLConfig,
)
from gnnpot.models.symmetry_sets import BehlerSet
from gnnpot.potential import Potential

ELEMENTS = ("Na", "Cl", "K")
#: components of LAMMPS's pressure in ASE's order, of the virial alone
STRESSES = (1, 2, 3, 6, 5, 4)


def potentials() -> dict[str, Potential]:
    """Untrained ones, in float64 but for "single"."""
    torch.manual_seed(0)
    references = ElementReferences.from_mapping({"energies": dict(zip(ELEMENTS, (-1.0, -2.0, -3.0), strict=True))})
    sevennet = SevenNetConfig(
        elements=ELEMENTS, channels=(16, 8, 8), layers=2, cutoff=4.0, cutoff_on=3.5, element_linear=True, products=True
    )
    nequix = NequixConfig(elements=ELEMENTS, channels=(16, 8, 8), layers=3, cutoff=3.6)
    scalars = SevenNetConfig(elements=ELEMENTS, channels=(8,), layers=4, cutoff=4.0, cutoff_on=3.5, element_scales=True)
    deep = SevenNetConfig(elements=ELEMENTS, channels=(8, 4), layers=5, cutoff=4.5, cutoff_function="polynomial")
    hdnnp = HDNNPConfig(elements=ELEMENTS, symmetry_set=BehlerSet(), hidden=(8,))
    repulsion = ZBL(ZBLConfig(elements=ELEMENTS, cutoff=4.5))
    found = {
        "sevennet": Potential(SevenNet(sevennet), references, 0.7),
        "nequix": Potential(Nequix(nequix), references, terms=[repulsion]),
        "scalars": Potential(SevenNet(scalars), references),
        "deep": Potential(SevenNet(deep), references, terms=[repulsion]),
        "hdnnp": Potential(HDNNP(hdnnp), references, terms=[repulsion]),
        "m3gnet": Potential(M3GNet(M3GNetConfig(elements=ELEMENTS, units=8, blocks=1, max_n=2, max_l=2)), references),
    }
    found = {name: potential.double().eval() for name, potential in found.items()}
    return {**found, "single": copy.deepcopy(found["nequix"]).float()}


def triclinic() -> Atoms:
    """Rock salt of three elements, sheared and disturbed."""
    atoms = bulk("NaCl", "rocksalt", a=5.7, cubic=True).repeat((2, 2, 2))
    atoms.symbols[[0, 10]] = "K"
    atoms.set_cell(atoms.cell.array @ np.array([[1, 0, 0], [0.12, 1, 0], [0.05, -0.1, 1]]), scale_atoms=True)
    atoms.rattle(0.1, seed=1)
    atoms.wrap()
    return atoms


def thin() -> Atoms:
    """24 atoms in a cell of 4 Å, less than cutoffs, in two directions."""
    atoms = bulk("NaCl", "rocksalt", a=5.7, orthorhombic=True).repeat((1, 1, 6))
    atoms.symbols[[3]] = "K"
    atoms.rattle(0.1, seed=2)
    atoms.wrap()
    return atoms


def lopsided(most: float = 10.0) -> Atoms:
    """Atoms at one end of a long cell, so that another rank has few or none of them."""
    atoms = bulk("NaCl", "rocksalt", a=5.7, cubic=True).repeat((2, 1, 1))
    atoms.rattle(0.1, seed=3)
    atoms.set_cell([6.0, 6.0, 40.0])
    atoms.positions = atoms.positions[:, [1, 2, 0]] + 0.2
    atoms.positions[0, 2] = most
    return atoms


@dataclass
class Case:
    """What is run in LAMMPS: a potential, a structure and LAMMPS's commands."""

    potential: str
    structure: Atoms = field(default_factory=triclinic)
    commands: str = "run 0"
    before: str = ""  #: the structure is read


def cases() -> dict[str, Case]:
    """By what is tested."""
    moved = "velocity all create 900 1\nfix 1 all npt temp 900 900 0.05 tri 0 0 0.3\ntimestep 0.001\nthermo 15\nrun 15"
    # atoms that change ranks, and neighbours that are listed anew
    hot = "velocity all create 4000 1\nfix 1 all nve\ntimestep 0.001\nneigh_modify every 5 delay 0 check no\nrun 30"
    return {
        "two layers": Case("sevennet"),
        "three layers": Case("nequix"),
        "three layers, float32": Case("single"),
        "four layers of scalars": Case("scalars"),
        "five layers": Case("deep"),
        "hdnnp": Case("hdnnp"),
        "two layers, npt": Case("sevennet", commands=moved),
        "three layers, hot": Case("nequix", commands=hot),
        "hdnnp, npt": Case("hdnnp", commands=moved),
        "a cell smaller than the cutoff": Case("deep", thin()),
        "ranks smaller than the cutoff": Case("deep", thin(), before="processors * 1 1"),
        "few atoms": Case("nequix", lopsided(23.0)),
        "no atoms": Case("nequix", lopsided()),
        "tiled": Case("deep", commands="balance 0.9 rcb\nrun 0", before="comm_style tiled"),
    }


def gathered(engine) -> dict:
    """Results, positions and cell as LAMMPS has them, by atom ID."""
    low, high, xy, yz, xz = engine.extract_box()[:5]
    cell = np.diag(np.subtract(high, low))
    cell[1, 0], cell[2, 0], cell[2, 1] = xy, xz, yz
    return {
        "energy": engine.get_thermo("pe"),
        "stress": [-engine.extract_variable(f"p{k}") * units.bar for k in STRESSES],
        "forces": np.array(engine.gather_atoms("f", 1, 3)).reshape(-1, 3),
        "positions": np.array(engine.gather_atoms("x", 1, 3)).reshape(-1, 3) - np.array(low),
        "cell": cell,
    }


def run(potential: Potential, case: Case, data: Path) -> tuple[dict, dict]:
    """What LAMMPS gives, and the calculator for LAMMPS's final positions; the latter of rank 0 only."""
    atoms = case.structure
    with open_lammps(open_potential=lambda _: potential) as engine:
        engine.commands_string(
            f"units metal\natom_style atomic\nnewton on\n{case.before}\nread_data {data}\npair_style gnnpot\n"
            f"pair_coeff * * {case.potential} {' '.join(ELEMENTS)}\nneighbor 1.0 bin\n"
            "compute each all pe/atom\ncompute sum all reduce sum c_each\nvariable total equal c_sum\n"
            "compute virial all pressure NULL virial\n"
            + "".join(f"variable p{k} equal c_virial[{k}]\n" for k in STRESSES)
            + f"thermo_style custom step pe c_sum {' '.join(f'c_virial[{k}]' for k in STRESSES)}\n{case.commands}\n"
        )
        found = gathered(engine)
        found["energies"] = engine.extract_variable("total")
        found["own"] = engine.extract_global("nlocal")
    frame = Atoms(atoms.numbers, found["positions"], cell=found["cell"], pbc=True, calculator=Calculator(potential))
    expected = {
        "energy": frame.get_potential_energy(), "stress": frame.get_stress(), "forces": frame.get_forces(),
        "positions": found["positions"], "cell": found["cell"], "energies": frame.get_potential_energy(),
    }  # fmt: skip
    return found, expected


def main(output: Path, chosen: set[str]) -> None:
    from mpi4py import MPI

    world, result, every = MPI.COMM_WORLD, {}, potentials()
    data = output.with_suffix(".data")
    for name, case in cases().items():
        if chosen and name not in chosen:
            continue
        if world.rank == 0:
            write_lammps_data(data, case.structure, specorder=list(ELEMENTS), masses=True, units="metal")
        world.barrier()
        found, expected = run(every[case.potential], case, data)
        result[name] = {
            "differences": {k: float(np.abs(np.asarray(found[k]) - np.asarray(expected[k])).max()) for k in expected},
            "energy": found["energy"], "largest_force": float(np.abs(found["forces"]).max()),
            "volume": float(np.linalg.det(found["cell"])), "own": world.allgather(found["own"]),
        }  # fmt: skip
    if world.rank == 0:
        assert Prism(triclinic().cell.array).is_skewed()
        content = {"ranks": world.size, "volume": triclinic().get_volume(), "cases": result}
        output.write_text(json.dumps(content, indent=1))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]), set(sys.argv[2:]))
