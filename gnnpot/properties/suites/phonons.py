"""Phonons: frequencies of ten crystals compared with DFT, and heat capacities of binary crystals.

The ten crystals have the cell, positions and supercell of the DFT calculation. Frequencies are compared at the wave
vectors that are commensurate with the supercell, where they are not interpolated: the highest frequency, all
frequencies in ascending order, and whether there is an imaginary one (`IMAGINARY`). Eight references are PBE and two
PBEsol, a difference of about 1 % at fixed volume. `scripts/fixtures/make_phonon_reference.py` creates them from the
forces in phonopy's examples.

Heat capacities (300 K; reference: Alexandria, PBE) are calculated for crystals relaxed by the potential, in supercells
of at least `LENGTH` Å. They are not sensitive to the accuracy of a potential, since most modes are excited at 300 K.
"""

import json
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator

from gnnpot.properties.phonons import with_force_constants
from gnnpot.properties.relaxed import relaxed, repeats
from gnnpot.properties.suites.base import Figure, Item, Overlap, Result, Results, Suite, mean, measured, numbers_of
from gnnpot.properties.suites.data import DataFile, data_file, read_rows, sha256_of
from gnnpot.properties.suites.harmonic import commensurate_frequencies, heat_capacity
from gnnpot.properties.suites.pictures import parity
from gnnpot.properties.suites.structures import atoms_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Picture

CAPACITIES = DataFile("alexandria-binary-pbe-phonon-half.json.gz", "matcalc's heat capacities of Alexandria")
#: THz, a mode with a lower frequency is imaginary; above, it may be an acoustic mode with frequency zero
IMAGINARY = -0.1
#: Å, minimum height of the supercells for heat capacities
LENGTH = 10.0
#: K, temperature of the heat capacities
TEMPERATURE = 300.0
#: eV/Å, convergence threshold of the largest force
FMAX = 2e-3
_DFT = "DFT, "


class PhononsSuite(Suite):
    """Frequencies of ten crystals and, with --data, 293 heat capacities."""

    name = "phonons"
    title = "highest frequency, all frequencies and imaginary modes of ten crystals, heat capacities at 300 K"
    source = "phonopy's examples (BSD-3-Clause, shipped); a part of matcalc's alexandria-binary-pbe-phonon, --data"
    overlaps = (
        Overlap(
            "phonon benchmark",
            "fine-tuned on the training part of the MDR phonon benchmark, whose crystals its file does not list: "
            "crystals of this suite may be among them",
        ),
        Overlap("sAlex", "crystals of the heat capacities (with --data) may be in its training set"),
    )

    def all_items(self) -> Sequence[Item]:
        """The ten crystals, then those with heat capacities."""
        text = resources.files("gnnpot.properties.suites").joinpath("phonons_dft.json").read_text(encoding="utf-8")
        items = []
        for name, row in json.loads(text)["crystals"].items():
            atoms = Atoms(row["numbers"], cell=row["cell"], scaled_positions=row["scaled_positions"], pbc=True)
            items.append(Item(_DFT + name, numbers_of(atoms), (atoms, row)))
        if self.options.data is not None:
            for row in read_rows(CAPACITIES, self.options.data, ("mp_id", "structure", "heat_capacity")):
                atoms = atoms_of(row["structure"])
                items.append(Item(row["mp_id"], numbers_of(atoms), (atoms, row)))
        return items

    def items(self) -> list[Item]:
        """At most `options.count` items: the ten crystals first, then crystals with heat capacities, evenly spaced."""
        every, count = self.all_items(), self.options.count
        ten = [item for item in every if item.key.startswith(_DFT)]
        others = [item for item in every if not item.key.startswith(_DFT)]
        if count is None or count >= len(every):
            return list(every)
        if count <= len(ten):
            return ten[:count]
        chosen: Sequence[int] | np.ndarray = (
            np.unique(np.linspace(0, len(others) - 1, count - len(ten)).round().astype(int)) if others else []
        )
        return [*ten, *(others[k] for k in chosen)]

    def identity(self) -> dict[str, Any]:
        """The file of heat capacities, if given, and the settings of their calculation."""
        given = self.options.data
        return {
            "data": "" if given is None else sha256_of(data_file(CAPACITIES, given)),
            "length": LENGTH,
            "fmax": FMAX,
        }

    def measure(self, item: Item, calculator: BaseCalculator, folder: Path) -> Result:
        """Frequencies (THz), or the heat capacity (J/K/mol of the given cell)."""
        atoms, row = item.content
        if item.key.startswith(_DFT):
            found = commensurate_frequencies(with_force_constants(atoms, calculator, tuple(row["supercell"])))
            expected: np.ndarray = np.repeat(row["frequencies"], row["counts"])
            return {
                "max": float(found[-1]),
                "max_expected": float(expected[-1]),
                "min": float(found[0]),
                "min_expected": float(expected[0]),
                "mae": float(np.abs(found - expected).mean()),
            }
        crystal = relaxed(atoms, calculator, cell="full", fmax=FMAX)
        phonon = with_force_constants(crystal, calculator, repeats(crystal.cell, LENGTH))
        minimum = float(commensurate_frequencies(phonon)[0])
        cells = len(atoms) / len(phonon.primitive)
        return {
            "capacity": cells * heat_capacity(phonon, TEMPERATURE),
            "capacity_expected": row["heat_capacity"],
            "min": minimum,
        }

    def summary(self, results: Results) -> dict[str, Figure]:
        """Mean errors, and for how many of the ten crystals potential and DFT agree on imaginary modes."""
        found = measured(results)
        ten = [r for key, r in found.items() if key.startswith(_DFT)]
        others = [r for key, r in found.items() if not key.startswith(_DFT)]
        right = sum((r["min"] < IMAGINARY) == (r["min_expected"] < IMAGINARY) for r in ten)
        figures = {
            "highest frequency, MAE": mean([abs(r["max"] - r["max_expected"]) for r in ten], "THz"),
            "all frequencies, MAE": mean([r["mae"] for r in ten], "THz"),
            "imaginary or not as in DFT": Figure(right, note=f"of {len(ten)}"),
        }
        if others:
            # relative, since heat capacities are proportional to the number of atoms in the cell
            errors = [100 * abs(r["capacity"] / r["capacity_expected"] - 1) for r in others]
            figures["heat capacity, mean relative error"] = mean(errors, "%")
            count = sum(not key.startswith(_DFT) for key in results)
            figures["heat capacities"] = Figure(len(others), note=f"of {count}")
            figures["of these with an imaginary mode"] = Figure(sum(r["min"] < IMAGINARY for r in others))
        return figures

    def picture(self, results: Mapping[str, Results]) -> "Picture":
        """Parity plots of the highest frequency and the heat capacity."""
        panels = {"highest frequency, THz": "max", "heat capacity, J/K/mol": "capacity"}
        points = {
            label: {
                name: (
                    [r[f"{key}_expected"] for r in measured(found).values() if key in r],
                    [r[key] for r in measured(found).values() if key in r],
                )
                for name, found in results.items()
            }
            for label, key in panels.items()
        }
        return parity({label: p for label, p in points.items() if any(len(x) for x, _ in p.values())})
