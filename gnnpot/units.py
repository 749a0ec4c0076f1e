"""Units and sign conventions used throughout gnnpot, unit constants, and conversion of stresses.

| quantity          | unit | convention                                                     |
|-------------------|------|----------------------------------------------------------------|
| length, positions | Å    |                                                                |
| energy            | eV   | total energy of the cell unless a name says `per_atom`         |
| forces            | eV/Å | -dE/dr                                                         |
| stress            | eV/Å³| +1/V dE/dε: positive under tension (ASE's sign); Voigt order   |
|                   |      | xx, yy, zz, yz, xz, xy (ASE's order), shear not doubled        |
| magnetic moments  | µB   |                                                                |
| time              | fs   | not ASE's time unit                                            |
| temperature       | K    |                                                                |

The values are taken from `ase.units` (CODATA 2014).
"""

import numpy as np
from ase import units as _ase

HARTREE: float = _ase.Hartree
RYDBERG: float = _ase.Rydberg
BOHR: float = _ase.Bohr
GPA: float = _ase.GPa
KBAR: float = 0.1 * _ase.GPa
FEMTOSECOND: float = _ase.fs
BOLTZMANN: float = _ase.kB
#: e²/(4πε₀) in eV Å
COULOMB: float = _ase.Hartree * _ase.Bohr

#: (row, column) of each Voigt component, in ASE's order
VOIGT: tuple[tuple[int, int], ...] = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))


def stress_to_voigt(stress: np.ndarray) -> np.ndarray:
    """Convert stress tensors `[..., 3, 3]` to Voigt components `[..., 6]`; off-diagonal pairs are averaged."""
    stress = np.asarray(stress, dtype=float)
    return np.stack([0.5 * (stress[..., i, j] + stress[..., j, i]) for i, j in VOIGT], axis=-1)


def stress_from_voigt(voigt: np.ndarray) -> np.ndarray:
    """Convert Voigt components `[..., 6]` to symmetric stress tensors `[..., 3, 3]`."""
    voigt = np.asarray(voigt, dtype=float)
    full = np.empty((*voigt.shape[:-1], 3, 3))
    for k, (i, j) in enumerate(VOIGT):
        full[..., i, j] = full[..., j, i] = voigt[..., k]
    return full
