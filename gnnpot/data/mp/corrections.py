"""MP2020: the Materials Project's corrections of PBE and PBE+U energies, as pymatgen calculates them.

    correction = mp2020(numbers, positions, cell, "GGA+U")       # eV, of the whole cell; None: no valid entry

They make energies of GGA and GGA+U comparable, and shift anions; they follow from composition, oxidation states and
whether oxygen is an oxide, a peroxide or a superoxide, and are the same for all frames of a relaxation. They add to the
energy alone: forces and stress are its derivatives still.

The interface tells the correction of one calculation of a material; here each run has its own, by its own run type.

Source: Wang, Kingsbury, McDermott et al., Scientific Reports 11, 15496 (2021); the U values are those of the Materials
Project's input sets, which calculations with run type GGA+U are taken to have.
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
    """The correction (eV) of a structure; `None` if the scheme has none: GGA for what it wants with U, or the reverse.

    `numbers` [N], `positions` [N, 3] and `cell` [3, 3] in Å, `run_type` GGA or GGA+U.
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
        # pymatgen warns where it has to guess oxidation states; it says in its documentation what it does then
        warnings.simplefilter("ignore")
        try:
            return float(sum(adjustment.value for adjustment in scheme.get_adjustments(entry)))
        except CompatibilityError:
            return None


def run_corrections(batch: FrameBatch) -> np.ndarray:
    """[F] eV, the correction of each frame, calculated of the last frame of its run; NaN where there is none."""
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
