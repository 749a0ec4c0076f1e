"""Bulk and shear moduli of binary crystals, compared with the Materials Project.

The moduli are Hill averages of `gnnpot.properties.elastic.calc`, after relaxation of positions and cell.

Reference: de Jong et al., Sci. Data 2, 150009 (2015), in the selection of matcalc.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ase.calculators.calculator import BaseCalculator

from gnnpot.errors import SimulationError
from gnnpot.properties.elastic import ElasticConfig, calc
from gnnpot.properties.suites.base import (
    Figure,
    Item,
    Overlap,
    Result,
    Results,
    Suite,
    counted,
    measured,
    median,
    numbers_of,
)
from gnnpot.properties.suites.data import DataFile, data_file, read_rows, sha256_of
from gnnpot.properties.suites.pictures import parity
from gnnpot.properties.suites.structures import atoms_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Picture

MODULI = DataFile("mp-binary-pbe-elasticity-half.json.gz", "matcalc's elastic moduli of the Materials Project")
#: eV/Å, convergence threshold of the largest force
FMAX = 0.005
#: GPa; crystals with larger moduli are left out, since they come from calculations that did not converge
LARGEST = 600.0


class ElasticitySuite(Suite):
    """Moduli of 495 crystals."""

    name = "elasticity"
    title = "bulk and shear moduli (Voigt-Reuss-Hill) of binary crystals, against the Materials Project's"
    source = "a part of matcalc's mp-binary-pbe-elasticity (BSD-3-Clause), --data"
    overlaps = (
        Overlap(
            "MPtrj", "relaxations of these crystals may be among its frames of MPtrj, their strained copies are not"
        ),
        Overlap("Materials Project", "calculations of these crystals may be in its training set"),
    )

    def all_items(self) -> Sequence[Item]:
        """The crystals, with Materials Project identifiers as keys."""
        keys = ("mp_id", "structure", "bulk_modulus_vrh", "shear_modulus_vrh")
        items = []
        for row in read_rows(MODULI, self.options.data, keys):
            atoms = atoms_of(row["structure"])
            if 0 < row["bulk_modulus_vrh"] < LARGEST and 0 < row["shear_modulus_vrh"] < LARGEST:
                items.append(Item(row["mp_id"], numbers_of(atoms), (atoms, row)))
        return items

    def identity(self) -> dict[str, Any]:
        """The data file, and the threshold of relaxations."""
        return {"data": sha256_of(data_file(MODULI, self.options.data)), "fmax": FMAX}

    def measure(self, item: Item, calculator: BaseCalculator, folder: Path) -> Result:
        """Moduli and their references, GPa."""
        atoms, row = item.content
        found = calc(atoms, calculator, ElasticConfig(fmax=FMAX))
        if not found.stable:
            raise SimulationError(f"{item.key}: the crystal is unstable against strain")
        return {
            "bulk": found.bulk_modulus,
            "shear": found.shear_modulus,
            "bulk_expected": row["bulk_modulus_vrh"],
            "shear_expected": row["shear_modulus_vrh"],
        }

    def summary(self, results: Results) -> dict[str, Figure]:
        """Median absolute errors; the error is infinite for crystals that are unstable or do not relax."""
        found = list(measured(results).values())
        failed = [np.inf] * (len(results) - len(found))
        figures = {"crystals": counted(results)}
        for key in ("bulk", "shear"):
            errors = [*(abs(r[key] - r[f"{key}_expected"]) for r in found), *failed]
            figures[f"{key} modulus, median error"] = median(errors, "GPa")
        return figures

    def picture(self, results: Mapping[str, Results]) -> "Picture":
        """Parity plots of the moduli."""
        return parity(
            {
                f"{key} modulus, GPa": {
                    name: (
                        [r[f"{key}_expected"] for r in measured(found).values()],
                        [r[key] for r in measured(found).values()],
                    )
                    for name, found in results.items()
                }
                for key in ("bulk", "shear")
            }
        )
