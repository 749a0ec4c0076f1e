"""Equations of state of the elements in four cubic structures, compared with the average of two all-electron codes.

Reference: Bosoni et al., Nat. Rev. Phys. 6, 45 (2024); PBE without spin polarisation and without U, at volumes from
0.94 to 1.06 of the minimum. For potentials trained on magnetic ground states, deviations are partly caused by the
missing spin polarisation of the reference; medians of errors are therefore reported instead of means.
"""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator
from ase.io import read

from gnnpot.data.readers.base import open_text
from gnnpot.properties.equation_of_state import EquationOfStateConfig, calc
from gnnpot.properties.suites.base import Figure, Item, Overlap, Result, Results, Suite, measured, median, numbers_of
from gnnpot.properties.suites.data import DataFile, content_error, data_file, read_json, sha256_of
from gnnpot.properties.suites.pictures import shares
from gnnpot.units import GPA

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Picture

FRAMES = DataFile("unaries_vasp_pbe_eos.extxyz.gz", "the crystals of the ACWF equations of state")
REFERENCE = DataFile(
    "results-unaries-verification-PBE-v1-AE-average.json", "the all-electron average of the ACWF equations of state"
)


class EquationsOfStateSuite(Suite):
    """Volume and bulk modulus of the elements in four cubic structures."""

    name = "equations-of-state"
    title = "elements in four cubic structures, against the all-electron average (Bosoni et al. 2024)"
    source = "acwf-verification (MIT), two files in one folder, --data"
    overlaps = (Overlap("equations of state", "VASP's energies of these equations of state are in its training set"),)

    def all_items(self) -> Sequence[Item]:
        """The crystals, with their names as keys."""
        content, path = read_json(REFERENCE, self.options.data), data_file(FRAMES, self.options.data)
        expected = content.get("BM_fit_data") if isinstance(content, dict) else None
        if not isinstance(expected, dict):
            raise content_error(REFERENCE, data_file(REFERENCE, self.options.data))
        # read as text, since ASE seeks in files, and each seek in a compressed file reads it from the beginning
        with open_text(path) as file:
            text = file.read()
        crystals: dict[str, list[Atoms]] = {}
        for atoms in read(io.StringIO(text), ":", format="extxyz"):
            name = str(atoms.info.get("acwf"))
            if name not in expected:
                raise content_error(FRAMES, path)
            crystals.setdefault(name, []).append(atoms)
        return [Item(name, numbers_of(frames[0]), (frames, expected[name])) for name, frames in crystals.items()]

    def identity(self) -> dict[str, Any]:
        """The two data files."""
        return {"data": [sha256_of(data_file(file, self.options.data)) for file in (FRAMES, REFERENCE)]}

    def measure(self, item: Item, calculator: BaseCalculator, folder: Path) -> Result:
        """Volume (Å³ per atom) and bulk modulus (GPa), with their references."""
        frames, expected = item.content
        volumes = np.sort([atoms.get_volume() for atoms in frames])
        atoms = frames[len(frames) // 2].copy()
        state = calc(atoms, calculator, EquationOfStateConfig(volumes=volumes.tolist()))
        return {
            "volume": state.volume / len(atoms),
            "volume_expected": expected["min_volume"] / len(atoms),
            "modulus": state.bulk_modulus / GPA,
            "modulus_expected": expected["bulk_modulus_ev_ang3"] / GPA,
        }

    def summary(self, results: Results) -> dict[str, Figure]:
        """Median relative errors; the error is infinite for crystals without a minimum."""
        found = measured(results)
        failed = [np.inf] * (len(results) - len(found))
        figures = {"with a minimum": Figure(len(found), note=f"of {len(results)}")}
        for key, what in (("volume", "volume"), ("modulus", "bulk modulus")):
            errors = [100 * e for e in _errors(found, key)]
            figures[f"{what}, median relative error"] = median([*errors, *failed], "%")
        return figures

    def picture(self, results: Mapping[str, Results]) -> "Picture":
        """Cumulative distributions of the errors."""
        panels = {
            "relative error of the volume, %": "volume",
            "relative error of the bulk modulus, %": "modulus",
        }
        return shares(
            {
                label: {n: ([100 * e for e in _errors(measured(f), key)], len(f)) for n, f in results.items()}
                for label, key in panels.items()
            }
        )


def _errors(found: Mapping[str, Result], key: str) -> list[float]:
    return [abs(r[key] / r[f"{key}_expected"] - 1) for r in found.values()]
