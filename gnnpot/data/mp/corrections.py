"""MP2020: corrections of PBE and PBE+U energies by the Materials Project, calculated with pymatgen.

    correction = mp2020(numbers, positions, cell, "GGA+U")       # eV, total of the cell; None: no valid entry

The corrections make energies of GGA and GGA+U comparable, and shift the energies of anions. They depend on the
composition, the oxidation states and the type of oxygen (oxide, peroxide or superoxide), and are the same for all
frames of a relaxation. They are constants added to the energy, of which forces and stress remain the derivatives.

The API of the Materials Project gives the correction of one calculation per material; here, the correction of each run
is calculated, for its own run type.

Source: Wang, Kingsbury, McDermott et al., Scientific Reports 11, 15496 (2021). Calculations with run type GGA+U are
assumed to have the U values of the input sets of the Materials Project.
"""

import warnings
from functools import cache
from typing import Any

import numpy as np
from ase.data import chemical_symbols

from gnnpot.data.mp.batch import FrameBatch

NO_ENTRY = "GGA where the Materials Project's corrections need +U, or the reverse"


@cache
def _scheme() -> Any:
    from pymatgen.entries.compatibility import MaterialsProject2020Compatibility

    return MaterialsProject2020Compatibility(check_potcar=False)


def mp2020(numbers: np.ndarray, positions: np.ndarray, cell: np.ndarray, run_type: str) -> float | None:
    """Return the correction of a structure, eV; `None` if the scheme requires +U for a GGA calculation, or vice versa.

    Args:
        numbers: [N] atomic numbers.
        positions: [N, 3] Å.
        cell: [3, 3] Å.
        run_type: GGA or GGA+U.
    """
    from pymatgen.core import Structure
    from pymatgen.entries.compatibility import CompatibilityError
    from pymatgen.entries.computed_entries import ComputedStructureEntry

    scheme = _scheme()
    structure = Structure(cell, [chemical_symbols[z] for z in numbers], positions, coords_are_cartesian=True)
    symbols = {chemical_symbols[z] for z in np.unique(numbers)}
    hubbards = {}
    if run_type == "GGA+U":
        electronegative = max(structure.composition.elements, key=lambda element: element.X).symbol
        settings = scheme.u_settings.get(electronegative, {})
        hubbards = {symbol: float(u) for symbol, u in settings.items() if symbol in symbols}
        if not hubbards:
            return None
    entry = ComputedStructureEntry(structure, 0.0, parameters={"run_type": run_type, "hubbards": hubbards})
    with warnings.catch_warnings():
        # pymatgen warns if it has to guess oxidation states; its documentation describes this case
        warnings.simplefilter("ignore")
        try:
            return float(sum(adjustment.value for adjustment in scheme.get_adjustments(entry)))
        except CompatibilityError:
            return None


def run_corrections(batch: FrameBatch) -> np.ndarray:
    """Return [F], the correction of each frame, calculated for the last frame of its run, eV; NaN if there is none."""
    out = np.full(len(batch), np.nan)
    offsets = batch.offsets
    ends = np.flatnonzero(np.diff(np.append(batch.run, -1)) != 0)
    for last in ends:
        run = batch.run[last]
        a, b = offsets[last], offsets[last + 1]
        run_type = "GGA+U" if batch.words["functional"][run].endswith("+U") else "GGA"
        value = mp2020(batch.numbers[a:b], batch.positions[a:b], batch.cell[last], run_type)
        if value is not None:
            out[batch.run == run] = value
    return out
