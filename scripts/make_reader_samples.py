#!/usr/bin/env python3
"""Make the small files of Quantum ESPRESSO and GPAW on which the readers are tested.

Silicon, sheared and with one atom out of place, and the same under twelve strains, plus and minus one in each of the
six directions, and two displacements: the file's own energies tell by differences what its stresses and forces
should be. Besides, a relaxation of cell and atoms with smearing, a spin-polarised run with +U, one whose electrons
don't converge, and one that is periodic along one axis only.

Installing what it needs (Debian/Ubuntu): `apt-get install quantum-espresso` for `pw.x` and its pseudopotentials; for
GPAW see `scripts/make_bundled_data.py`, which says how to build it. Then, with the Python that GPAW is installed in:

    python scripts/make_reader_samples.py

It takes a few minutes; the files go to `tests/data/samples`.
"""

from __future__ import annotations

import argparse
import gc
import gzip
import re
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.io import write

PSEUDOPOTENTIALS = Path("/usr/share/espresso/pseudo")
SAMPLES = Path(__file__).parents[1] / "tests" / "data" / "samples"
#: strain of each difference, and displacement in Å
STRAIN, DISPLACEMENT = 0.004, 0.02
VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))


def silicon() -> list[Atoms]:
    """Silicon without symmetry; then strained by +, - in each Voigt direction; then atom 1 moved by + and - along y."""
    base = bulk("Si", a=5.3)
    shear = [[0.01, 0.02, -0.01], [0.02, -0.02, 0.03], [-0.01, 0.03, 0.015]]
    base.set_cell(base.cell.array @ (np.eye(3) + shear), scale_atoms=True)
    base.positions[1] += [0.08, -0.05, 0.11]
    frames = [base]
    for i, j in VOIGT:
        for sign in (1, -1):
            strain = np.zeros((3, 3))
            strain[i, j] += sign * STRAIN / 2
            strain[j, i] += sign * STRAIN / 2
            strained = base.copy()
            strained.set_cell(base.cell.array @ (np.eye(3) + strain), scale_atoms=True)
            frames.append(strained)
    for sign in (1, -1):
        moved = base.copy()
        moved.positions[1, 1] += sign * DISPLACEMENT
        frames.append(moved)
    return frames


def aluminium() -> Atoms:
    """Four atoms of aluminium, one of them out of place."""
    atoms = bulk("Al", a=3.9, cubic=True)
    atoms.positions[1] += [0.1, 0.0, -0.06]
    return atoms


def pw(atoms: Atoms, pseudopotential: str, folder: Path, kpoints: int, **options: object) -> str:
    """The output of one run of pw.x, without the names of its folders."""
    symbol = atoms.symbols[0]
    system = {
        "ibrav": 0, "nat": len(atoms), "ntyp": 1, "ecutwfc": options.pop("ecutwfc"), **options.pop("system", {})
    }  # fmt: skip
    control = {
        "calculation": options.pop("calculation", "scf"), "pseudo_dir": str(PSEUDOPOTENTIALS), "outdir": str(folder),
        "tprnfor": True, "tstress": True, "verbosity": "low", **options.pop("control", {}),
    }  # fmt: skip
    electrons = {"conv_thr": 1e-11, **options.pop("electrons", {})}
    sections = {"control": control, "system": system, "electrons": electrons}
    if control["calculation"] == "vc-relax":
        sections |= {"ions": {}, "cell": options.pop("cell", {})}
    lines = []
    for name, entries in sections.items():
        lines += [f"&{name}", *(f"  {key} = {_fortran(value)}" for key, value in entries.items()), "/"]
    lines += ["ATOMIC_SPECIES", f"{symbol} 1.0 {pseudopotential}"]
    lines += ["CELL_PARAMETERS angstrom", *(" ".join(f"{x:.12f}" for x in row) for row in atoms.cell.array)]
    lines += ["ATOMIC_POSITIONS angstrom"]
    lines += [f"{symbol} " + " ".join(f"{x:.12f}" for x in row) for row in atoms.positions]
    lines += ["K_POINTS automatic", f"{kpoints} {kpoints} {kpoints} 0 0 0"]
    text = "\n".join(lines) + "\n"
    output = subprocess.run(["pw.x"], input=text, text=True, cwd=folder, capture_output=True, check=False).stdout
    return output.replace(str(folder), "/scratch")


def _fortran(value: object) -> str:
    if isinstance(value, bool):
        return f".{str(value).lower()}."
    return f"'{value}'" if isinstance(value, str) else repr(value)


def espresso(into: Path, folder: Path) -> None:
    """The files of Quantum ESPRESSO."""
    runs = [pw(atoms, "Si.pz-vbc.UPF", folder, 2, ecutwfc=44.0) for atoms in silicon()]
    save(into / "si.pwo.gz", "".join(runs))
    smearing = {"occupations": "smearing", "smearing": "mp", "degauss": 0.02}
    relaxed = pw(
        aluminium(), "Al.pz-vbc.UPF", folder, 2, ecutwfc=16.0, calculation="vc-relax", system=smearing,
        control={"nstep": 20, "forc_conv_thr": 2e-2, "etot_conv_thr": 1e-2}, electrons={"conv_thr": 1e-9},
        cell={"press_conv_thr": 3.0},
    )  # fmt: skip
    save(into / "al_vcrelax.pwo.gz", relaxed)
    magnetic = {
        "nspin": 2, "starting_magnetization(1)": 0.4, "lda_plus_u": True, "Hubbard_U(1)": 2.5, "ecutrho": 200.0,
        "occupations": "smearing", "smearing": "mv", "degauss": 0.05,
    }  # fmt: skip
    iron = Atoms("Fe2", [[0, 0, 0], [1.45, 1.4, 1.5]], cell=[2.85, 2.87, 2.9], pbc=True)
    run = pw(
        iron, "Fe.pbe-nd-rrkjus.UPF", folder, 2, ecutwfc=28.0, system=magnetic, control={"verbosity": "high"},
        electrons={"conv_thr": 1e-6, "mixing_beta": 0.3, "mixing_mode": "local-TF"},
    )  # fmt: skip
    save(into / "fe_u.pwo.gz", run)
    unconverged = pw(
        aluminium(), "Al.pz-vbc.UPF", folder, 2, ecutwfc=12.0, system=smearing, electrons={"electron_maxstep": 2}
    )
    save(into / "al_unconverged.pwo.gz", unconverged)


def gpaw(into: Path, folder: Path) -> None:
    """The files of GPAW: text as it writes it now and as it did up to 2025, and its two kinds of binary files."""
    from gpaw import GPAW, PW, KohnShamConvergenceError

    for name, legacy in (("si_gpaw", False), ("si_gpaw_legacy", True)):
        text = folder / f"{name}.txt"
        frames = silicon()[: 1 if legacy else None]
        frames[0].calc = GPAW(
            mode=PW(500), xc="PBE", kpts=(2, 2, 2), symmetry="off", convergence={"density": 1e-7}, txt=str(text),
            legacy_gpaw=legacy,
        )  # fmt: skip
        for atoms in frames:
            atoms.calc = frames[0].calc
            atoms.get_potential_energy(), atoms.get_forces(), atoms.get_stress()
        _close(frames)
        save(into / f"{name}.txt.gz", _anonymous(text.read_text()))
    text = folder / "small.txt"
    atoms = silicon()[0]
    atoms.calc = GPAW(mode=PW(120), xc="PBE", kpts=(1, 1, 1), symmetry="off", txt=str(text))
    atoms.get_potential_energy(), atoms.get_forces(), atoms.get_stress()
    atoms.calc.write(str(into / "small_gpaw.gpw"))
    write(str(into / "small_gpaw.traj"), atoms)
    _close([atoms])
    save(into / "small_gpaw.txt.gz", _anonymous(text.read_text()))
    for name, legacy in (("h_gpaw", False), ("h_gpaw_legacy", True)):
        text = folder / f"{name}.txt"
        chain = Atoms("H2", [[0, 2, 2.1], [1.1, 2, 2]], magmoms=[1, 1], cell=[2.6, 4, 4], pbc=[True, False, False])
        smearing = {"name": "fermi-dirac", "width": 0.2, "fixmagmom": True}
        chain.calc = GPAW(
            mode="fd", h=0.25, xc="LDA", kpts=(2, 1, 1), occupations=smearing, txt=str(text), legacy_gpaw=legacy
        )
        chain.get_potential_energy(), chain.get_forces()
        _close([chain])
        save(into / f"{name}.txt.gz", _anonymous(text.read_text()))
        chain.calc = GPAW(mode="fd", h=0.3, xc="LDA", maxiter=3, txt=str(text), legacy_gpaw=legacy)
        try:
            chain.get_potential_energy()
        except KohnShamConvergenceError:
            _close([chain])
            save(into / f"unconverged_{name[2:]}.txt.gz", _anonymous(text.read_text()))


def _close(frames: list[Atoms]) -> None:
    """Take the calculator away, which writes the end of its text when it goes."""
    for atoms in frames:
        atoms.calc = None
    gc.collect()


def _anonymous(text: str) -> str:
    """Without what tells of the machine and of where things are installed on it."""
    private = ("user:", "date:", "arch:", "pid:", "cwd:", "file:")
    lines = [line for line in text.splitlines(keepends=True) if not line.lower().lstrip().startswith(private)]
    return re.sub(r"(?<=\s)/\S+", "/path", "".join(lines))


def save(path: Path, text: str) -> None:
    """Write gzipped text without name and time, so that the same text is the same file."""
    path.write_bytes(gzip.compress(text.encode(), 9, mtime=0))


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("codes", nargs="*", default=["espresso", "gpaw"], help="espresso, gpaw; default: both")
    parser.add_argument("--output", type=Path, default=SAMPLES, help="folder of the files")
    options = parser.parse_args(arguments)
    options.output.mkdir(parents=True, exist_ok=True)
    for code in options.codes:
        with tempfile.TemporaryDirectory() as folder:
            {"espresso": espresso, "gpaw": gpaw}[code](options.output, Path(folder))


if __name__ == "__main__":
    main()
