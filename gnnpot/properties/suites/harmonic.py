"""Quantities of the phonon suite: frequencies at commensurate wave vectors, and heat capacities.

    phonopy = with_force_constants(atoms, calculator, (2, 2, 2))      # gnnpot.properties.phonons
    commensurate_frequencies(phonopy)      # THz
    heat_capacity(phonopy, 300.0)          # J/K/mol of the primitive cell

Imaginary frequencies are represented by negative values. No non-analytical term correction is applied.

Source: Togo, Chaput, Tadano & Tanaka, J. Phys.: Condens. Matter 35, 353001 (2023).
"""

from typing import Any

import numpy as np

from gnnpot.properties.phonons import thermal_properties

#: Å, mesh of wave vectors for thermal properties: about MESH_LENGTH / a points along a lattice vector of length a
MESH_LENGTH = 60.0


def commensurate_frequencies(phonopy: Any) -> np.ndarray:
    """Frequencies (THz, ascending) at all wave vectors that are commensurate with the supercell, [Q * 3N].

    At these wave vectors, frequencies are not interpolated. Force constants must be calculated before.
    """
    from phonopy.harmonic.dynmat_to_fc import get_commensurate_points

    matrix = np.linalg.inv(phonopy.primitive_matrix) @ phonopy.supercell_matrix
    phonopy.run_qpoints(get_commensurate_points(np.rint(matrix).astype(int)))
    return np.sort(phonopy.qpoints.frequencies.ravel())


def heat_capacity(phonopy: Any, temperature: float) -> float:
    """Heat capacity at constant volume, J/K/mol of the primitive cell, at `temperature` (K).

    Modes with imaginary frequencies are left out, see `properties.phonons.thermal_properties`.
    """
    phonopy.run_mesh(MESH_LENGTH)
    return float(thermal_properties(phonopy, [temperature]).heat_capacity[0])
