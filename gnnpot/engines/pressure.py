"""Pressure of a structure in motion.

P = 2 E_kin / (3 V) - tr(σ) / 3, positive under compression; σ is the stress of the potential, V the volume of the cell.
ASE's stresses and the `externalstress` of its barostats have the opposite sign.
"""

from ase import Atoms

from gnnpot.units import GPA


def pressure_of(atoms: Atoms) -> float | None:
    """Pressure in GPa, including the kinetic part.

    Calculators that compute the stress together with the forces, such as those of gnnpot, are not called again.

    Returns:
        The pressure; `None` if the structure is not periodic in three directions, or its calculator has no stress.
    """
    known = getattr(atoms.calc, "implemented_properties", ())
    if "stress" not in known or not atoms.pbc.all() or atoms.cell.rank < 3:
        return None
    try:
        stress = atoms.get_stress(include_ideal_gas=True)
    except NotImplementedError:
        # some calculators have the stress in some of their modes only
        return None
    return -float(stress[:3].mean()) / GPA
