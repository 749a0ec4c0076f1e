"""Make the crystal that `scripts/demo` relaxes, and compare its relaxed volume with the bundled PBE data.

python scripts/demo_check.py start nacl.cif
python scripts/demo_check.py compare nacl-relaxed.extxyz       # status 1 if it differs by 5 % or more
"""

import sys

import numpy as np
from ase.build import bulk
from ase.eos import EquationOfState
from ase.io import read

from gnnpot.data import bundled_path

#: maximum relative error of the volume
TOLERANCE = 0.05


def pbe_volume(material: str) -> float:
    """Volume per atom (Å³) at the minimum of the bundled energies, by a Birch-Murnaghan fit."""
    kind = (material, "eos")
    frames = [a for a in read(bundled_path(), ":") if (a.info["material_id"], a.info["config_type"]) == kind]
    volumes = np.array([atoms.get_volume() / len(atoms) for atoms in frames])
    energies = np.array([atoms.get_potential_energy() / len(atoms) for atoms in frames])
    return float(EquationOfState(volumes, energies, eos="birchmurnaghan").fit()[0])


def main(what: str, path: str) -> int:
    if what == "start":
        atoms = bulk("NaCl", "rocksalt", a=6.0, cubic=True)
        atoms.rattle(0.1, seed=1)
        atoms.write(path)
        return 0
    atoms = read(path)
    found, expected = atoms.get_volume() / len(atoms), pbe_volume("NaCl-rocksalt")
    difference = found / expected - 1
    holds = abs(difference) < TOLERANCE
    sys.stdout.write(
        f"relaxed: {found:.2f} Å³ per atom, PBE: {expected:.2f} Å³, difference {100 * difference:+.1f} % "
        f"({'within' if holds else 'NOT within'} {100 * TOLERANCE:.0f} %)\n"
    )
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
