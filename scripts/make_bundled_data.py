#!/usr/bin/env python3
"""Make the bundled PBE data set with GPAW, from scratch.

Thirteen non-magnetic metals, covalent solids, salts and oxides; for each one
the equation of state, homogeneous strains and rattled supercells.  Everything
is seeded from the frame's own id, so a rerun makes the same geometries.

Installing what it needs (Debian/Ubuntu; in a fresh virtual environment)::

    apt-get install g++ libxc-dev libopenblas-dev libfftw3-dev
    cat > siteconfig.py <<'EOF'
    compiler = 'g++'
    mpi = False
    fftw = True
    libraries = ['xc', 'openblas', 'fftw3']
    EOF
    pip install ase numpy scipy rich gpaw-data
    GPAW_CONFIG=$PWD/siteconfig.py pip install --no-binary gpaw gpaw

The PAW sets are those of the ``gpaw-data`` package, which GPAW finds by itself
(``gpaw info`` lists the folder).

Making, assembling and checking::

    python scripts/make_bundled_data.py --jobs 2
    python scripts/make_bundled_data.py --check

Each finished calculation is one line of ``WORK/<material>.jsonl``; a stopped
run goes on when started again.  Use a new folder after changing a setting.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import os
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from io import StringIO
from multiprocessing import get_context
from operator import itemgetter
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read, write
from ase.neighborlist import neighbor_list
from ase.spacegroup import crystal
from ase.units import GPa
from rich import box
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "gnnpot" / "data" / "bundled" / "gpaw-pbe.extxyz.gz"

ECUT = 600.0  # eV
# (k-points per 1/Angstrom, Fermi-Dirac width in eV)
METAL = (3.0, 0.2)
INSULATOR = (2.05, 0.1)
CONVERGENCE = {"energy": 1e-6, "density": 1e-5, "eigenstates": 1e-9}

EOS_VOLUMES = np.linspace(-0.12, 0.14, 9)
STRAINS = ("z+0.05", "z-0.04", "xy+0.04", "yz+0.06", "r0.02", "r0.04", "r0.06")
RATTLES = (0.02, 0.04, 0.06, 0.09, 0.12, 0.16, 0.20, 0.25, 0.10)  # Angstrom
CUTOFF_STEP = 0.03  # relative step of the finite difference dE/d(ecut)

console = Console()


@dataclass(frozen=True)
class Material:
    """A crystal near its equilibrium, and how to calculate it."""

    id: str
    cell: Atoms
    settings: tuple[float, float]
    small: tuple[int, int, int]  # supercell of most rattled frames
    large: tuple[int, int, int]  # supercell of every fourth rattled frame

    @property
    def mesh(self) -> tuple[int, int, int]:
        """Even k-point mesh of the primitive cell, the same for all strains.

        Fixed under deformation and divided by the repeats of a supercell, so
        that all frames of a material sample the same k-points.
        """
        lengths = 2 * np.pi * np.linalg.norm(self.cell.cell.reciprocal(), axis=1)
        return tuple(int(2 * np.ceil(self.settings[0] * length / 2 - 1e-6)) for length in lengths)


def materials() -> list[Material]:
    """The crystals of the data set, with lattice constants in Angstrom."""
    sites, lattice = [(0, 0, 0), (0.306, 0.306, 0)], [4.23, 4.23, 2.69, 90, 90, 90]
    stishovite = crystal(["Si", "O"], sites, spacegroup=136, cellpar=lattice)
    found = [
        Material("Al-fcc", bulk("Al", "fcc", 4.04), METAL, (2, 2, 1), (2, 2, 1)),
        Material("Cu-fcc", bulk("Cu", "fcc", 3.63), METAL, (2, 1, 1), (2, 2, 1)),
        Material("Mg-hcp", bulk("Mg", "hcp", 3.19, 5.18), METAL, (2, 1, 1), (2, 1, 1)),
        Material("Na-bcc", bulk("Na", "bcc", 4.19), METAL, (2, 2, 1), (2, 2, 1)),
        Material("SiO2-stishovite", stishovite, INSULATOR, (1, 1, 1), (1, 1, 1)),
    ]
    binary = {"diamond": {"Si": 5.47, "C": 3.57}, "zincblende": {"SiC": 4.38, "AlP": 5.51}}
    binary["rocksalt"] = {"NaCl": 5.70, "LiF": 4.06, "MgO": 4.25, "CaO": 4.84}
    for structure, formula, a in ((s, f, a) for s, fs in binary.items() for f, a in fs.items()):
        name, cell = f"{formula}-{structure}", bulk(formula, structure, a)
        found.append(Material(name, cell, INSULATOR, (2, 1, 1), (2, 2, 1)))
    return found


def seeded(frame_id: str) -> np.random.Generator:
    """A generator that depends on the frame's id and on nothing else."""
    digest = hashlib.sha256(frame_id.encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "big"))


def deform(atoms: Atoms, strain: np.ndarray) -> None:
    """Apply a symmetric strain to cell and positions."""
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)


def random_strain(rng: np.random.Generator, size: float) -> np.ndarray:
    """A random symmetric strain whose largest component is ``size``."""
    strain = rng.normal(size=(3, 3))
    strain = strain + strain.T
    return strain * size / np.abs(strain).max()


def named_strain(name: str, rng: np.random.Generator) -> np.ndarray:
    """The strain that an entry of STRAINS stands for."""
    if name.startswith("r"):
        return random_strain(rng, float(name[1:]))
    axes, value = name.rstrip("+-.0123456789"), float(name.lstrip("xyz"))
    i, j = "xyz".index(axes[0]), "xyz".index(axes[-1])
    strain = np.zeros((3, 3))
    strain[i, j] = strain[j, i] = value if i == j else value / 2
    return strain


def shortest_bond(atoms: Atoms) -> float:
    """The shortest distance between two atoms or images."""
    return float(neighbor_list("d", atoms, 5.0).min())


def rattled(atoms: Atoms, sigma: float, strain: float, rng: np.random.Generator) -> Atoms:
    """Strained and displaced copy in which no bond falls below 72 %."""
    limit = 0.72 * shortest_bond(atoms)
    while True:
        trial = atoms.copy()
        deform(trial, random_strain(rng, strain))
        trial.positions += rng.normal(scale=sigma, size=trial.positions.shape)
        if shortest_bond(trial) > limit:
            return trial


@dataclass(frozen=True)
class Frame:
    """One calculation: a geometry, its mesh and its cutoff."""

    source_id: str
    material_id: str
    config_type: str
    atoms: Atoms
    kpts: tuple[int, int, int]
    width: float
    ecut: float = ECUT


def frames_of(material: Material) -> Iterator[Frame]:
    """All calculations of a material, in a fixed order."""

    def frame(kind: str, index: int, atoms: Atoms, repeat=(1, 1, 1), ecut: float = ECUT) -> Frame:
        kpts = tuple(n // r for n, r in zip(material.mesh, repeat, strict=True))
        frame_id = f"{material.id}/{kind}/{index:02d}"
        return Frame(frame_id, material.id, kind, atoms, kpts, material.settings[1], ecut)

    for i, sign in enumerate((-1, 1)):
        yield frame("cutoff", i, material.cell.copy(), ecut=ECUT * (1 + sign * CUTOFF_STEP))
    for i, volume in enumerate(EOS_VOLUMES):
        atoms = material.cell.copy()
        deform(atoms, np.eye(3) * ((1 + volume) ** (1 / 3) - 1))
        yield frame("eos", i, atoms)
    for i, name in enumerate(STRAINS):
        atoms = material.cell.copy()
        deform(atoms, named_strain(name, seeded(f"{material.id}/strain/{i:02d}")))
        yield frame("strain", i, atoms)
    for i, sigma in enumerate(RATTLES):
        repeat = material.large if i % 4 == 3 else material.small
        rng = seeded(f"{material.id}/rattle/{i:02d}")
        atoms = rattled(material.cell * repeat, sigma, 0.01 + 0.01 * (i % 4), rng)
        yield frame("rattle", i, atoms, repeat)


def calculate(frame: Frame) -> dict:
    """Run GPAW on one frame; the record holds the labels as GPAW gave them."""
    # Imported here so that --check and --assemble work without GPAW.
    from gpaw import GPAW, PW, FermiDirac

    atoms = frame.atoms.copy()
    kpts, smearing = {"size": frame.kpts, "gamma": True}, FermiDirac(frame.width)
    settings = {"xc": "PBE", "kpts": kpts, "occupations": smearing, "convergence": CONVERGENCE}
    atoms.calc = GPAW(mode=PW(frame.ecut), txt=None, **settings)
    record = {key: getattr(frame, key) for key in ("source_id", "material_id", "config_type")}
    record |= {key: getattr(atoms, key).tolist() for key in ("numbers", "cell", "positions")}
    record["energy"] = float(atoms.get_potential_energy(force_consistent=True))
    record["code"] = f"GPAW {version('gpaw')}"
    if frame.config_type != "cutoff":
        record["forces"] = atoms.get_forces().tolist()
        record["stress"] = atoms.get_stress().tolist()
    return record


def load(path: Path) -> dict[str, dict]:
    """Finished records by source id; a torn last line is dropped."""
    records: dict[str, dict] = {}
    for line in path.read_text().splitlines() if path.exists() else ():
        with suppress(json.JSONDecodeError):
            record = json.loads(line)
            records[record["source_id"]] = record
    return records


def append(path: Path, record: dict) -> None:
    """Add one record; the leading newline closes a line torn by a crash."""
    with path.open("a") as stream:
        stream.write("\n" + json.dumps(record) + "\n")
        stream.flush()
        os.fsync(stream.fileno())


def run(chosen: list[Material], work: Path, jobs: int) -> None:
    """Calculate what is missing, taking one frame of each material in turn."""
    # One thread per worker: the matrices are small, and more threads are slower.
    os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
    work.mkdir(parents=True, exist_ok=True)
    todo: list[tuple[int, Frame]] = []
    for material in chosen:
        done = load(work / f"{material.id}.jsonl")
        todo += [x for x in enumerate(frames_of(material)) if x[1].source_id not in done]
    todo.sort(key=itemgetter(0))
    pool = ProcessPoolExecutor(jobs, mp_context=get_context("spawn"))
    with pool, Progress(console=console) as bar:
        task = bar.add_task("frames", total=len(todo))
        futures = {pool.submit(calculate, frame): frame for _, frame in todo}
        for future in as_completed(futures):
            name = futures[future].source_id
            bar.advance(task)
            if error := future.exception():
                console.log(f"[red]{name} failed: {error!r}")
                continue
            append(work / f"{futures[future].material_id}.jsonl", future.result())
            console.log(f"{name}  {future.result()['energy']:.5f} eV")


def pulay_slope(records: dict[str, dict], material_id: str) -> float:
    """dE/d(ecut) per atom, from the two calculations around ECUT."""
    low, high = (records[f"{material_id}/cutoff/{i:02d}"] for i in (0, 1))
    return (high["energy"] - low["energy"]) / (2 * CUTOFF_STEP * ECUT) / len(low["numbers"])


def labelled(record: dict, slope: float) -> Atoms:
    """The record as Atoms with energy, forces and Pulay-corrected stress.

    GPAW's stress is the derivative at a fixed number of plane waves, while the
    energies are at a fixed cutoff; (2/3) ecut dE/d(ecut) / V is the difference.
    """
    atoms = Atoms(record["numbers"], record["positions"], cell=record["cell"], pbc=True)
    stress = np.array(record["stress"])
    stress[:3] += 2 / 3 * ECUT * slope * len(atoms) / atoms.get_volume()
    atoms.info = {key: record[key] for key in ("material_id", "config_type", "code", "source_id")}
    atoms.info["functional"] = "PBE"
    forces = np.array(record["forces"])
    atoms.calc = SinglePointCalculator(atoms, energy=record["energy"], forces=forces, stress=stress)
    return atoms


def assemble(chosen: list[Material], work: Path, out: Path) -> None:
    """Write every finished frame, material by material."""
    images: list[Atoms] = []
    for material in chosen:
        records = load(work / f"{material.id}.jsonl")
        missing = [frame for frame in frames_of(material) if frame.source_id not in records]
        if missing:
            console.log(f"[yellow]{material.id}: {len(missing)} frames are missing")
        slope = pulay_slope(records, material.id)
        found = sorted((r for r in records.values() if "forces" in r), key=itemgetter("source_id"))
        images += [labelled(record, slope) for record in found]
    text = StringIO()
    write(text, images, format="extxyz")
    out.parent.mkdir(parents=True, exist_ok=True)
    # A fixed time stamp keeps the file byte for byte the same.
    out.write_bytes(gzip.compress(text.getvalue().encode(), 9, mtime=0))
    console.log(f"{len(images)} frames, {out.stat().st_size / 1000:.0f} kB: {out}")


def equation_of_state(images: list[Atoms]) -> tuple[float, float, float]:
    """Volume (A^3/atom), bulk modulus (eV/A^3), worst stress error over it.

    The energy is fitted by a cubic in V^(-2/3), the third-order
    Birch-Murnaghan form; the error compares its derivative with the stress.
    """
    volume = np.array([atoms.get_volume() / len(atoms) for atoms in images])
    energy = np.array([atoms.get_potential_energy() / len(atoms) for atoms in images])
    stress = np.array([atoms.get_stress()[:3].mean() for atoms in images])
    fit = np.polynomial.Polynomial.fit(volume ** (-2 / 3), energy, 3)
    slope = fit.deriv()

    def tension(v: np.ndarray) -> np.ndarray:
        return slope(v ** (-2 / 3)) * (-2 / 3) * v ** (-5 / 3)

    grid = np.linspace(volume.min(), volume.max(), 20001)
    curve = tension(grid)
    lowest = float(np.interp(0.0, curve[: curve.argmax()], grid[: curve.argmax()]))
    modulus = float(lowest * np.interp(lowest, grid, np.gradient(curve, grid)))
    return lowest, modulus, float(np.abs(tension(volume) - stress).max() / modulus)


def problems_of(images: list[Atoms]) -> list[str]:
    """What is wrong with single frames or with the set as a whole."""
    found: list[str] = []
    seen: dict[bytes, str] = {}
    for atoms in images:
        name = atoms.info["source_id"]
        geometry = np.r_[atoms.numbers, atoms.cell.array.ravel(), atoms.positions.ravel()]
        twin = seen.setdefault(geometry.round(6).tobytes(), name)
        if twin != name:
            found.append(f"{name} has the geometry of {twin}")
        forces, stress = atoms.get_forces(), atoms.get_stress()
        if not np.isfinite([*forces.ravel(), *stress, atoms.get_potential_energy()]).all():
            found.append(f"{name} has a label that is not finite")
        if np.abs(forces.sum(axis=0)).max() > 0.02:
            found.append(f"{name}: forces sum to {forces.sum(axis=0).round(4)} eV/A")
    if len({atoms.info["source_id"] for atoms in images}) < len(images):
        found.append("source ids repeat")
    return found


def check(path: Path) -> int:
    """Print the table of the data set; the number of problems found."""
    with gzip.open(path, "rt") as stream:
        images = read(stream, ":", format="extxyz")
    problems = problems_of(images)
    table = Table(box=box.MARKDOWN)
    headings = "material frames eos/strain/rattle atoms max_force_eV/Å V0_Å³/atom B0_GPa stress_error/B0"
    for heading in headings.split():
        table.add_column(heading.replace("_", " "), no_wrap=True)
    for name in dict.fromkeys(atoms.info["material_id"] for atoms in images):
        own = [atoms for atoms in images if atoms.info["material_id"] == name]
        kinds = Counter(atoms.info["config_type"] for atoms in own)
        sizes = sorted({len(atoms) for atoms in own})
        force = max(np.linalg.norm(atoms.get_forces(), axis=1).max() for atoms in own)
        v0, b0, error = equation_of_state([a for a in own if a.info["config_type"] == "eos"])
        if error > 0.03:
            problems.append(f"{name}: stress and dE/dV differ by {error:.1%} of B0")
        counts = "/".join(str(kinds[kind]) for kind in ("eos", "strain", "rattle"))
        row = (name, str(len(own)), counts, ", ".join(map(str, sizes)), f"{force:.2f}")
        table.add_row(*row, f"{v0:.2f}", f"{b0 / GPa:.1f}", f"{error:.2%}")
    console.print(table)
    worst = max(np.abs(atoms.get_forces().sum(axis=0)).max() for atoms in images)
    console.print(f"{len(images)} frames; largest sum of forces {worst:.1e} eV/Å", *problems, sep="\n")
    return len(problems)


def main() -> int:
    """Parse the command line and do what it says."""
    parser = argparse.ArgumentParser(description="Make the bundled PBE data set with GPAW.")
    parser.add_argument("--out", type=Path, default=OUT, help="file to write or check")
    parser.add_argument("--work", type=Path, default=Path("bundled-work"), help="finished frames")
    parser.add_argument("--only", nargs="+", metavar="ID", help="these materials only")
    parser.add_argument("--jobs", type=int, default=1, help="frames at a time")
    parser.add_argument("--assemble", action="store_true", help="write what is done; run nothing")
    parser.add_argument("--check", action="store_true", help="check the file; run nothing")
    options = parser.parse_args()
    if options.check:
        return min(check(options.out), 1)
    chosen = [m for m in materials() if not options.only or m.id in options.only]
    if len(chosen) < len(options.only or chosen):
        parser.error(f"materials are: {', '.join(material.id for material in materials())}")
    if not options.assemble:
        run(chosen, options.work, options.jobs)
    assemble(chosen, options.work, options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
