"""Errors on labelled frames, from the user or a published set: hot, compressed, or near equilibrium.

The energies of frames are uncorrected total energies. If the card of a potential states that it was trained on energies
with the MP2020 correction (CHGNet), this correction is added to the energy of each frame. Frames do not contain whether
they were calculated with PBE or PBE+U; it is assumed to be as the correction requires. The error in energy is reported
without and with a constant shift of all energies.
"""

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ase.calculators.calculator import BaseCalculator, PropertyNotImplementedError

from gnnpot.data.bundled import resolve_bundled
from gnnpot.data.frame import Frame
from gnnpot.data.mp.corrections import mp2020
from gnnpot.data.readers import read_frames
from gnnpot.data.store import FrameStore
from gnnpot.errors import DataError
from gnnpot.properties.suites.base import (
    Figure,
    Item,
    Overlap,
    Result,
    Results,
    Suite,
    SuiteOptions,
    counted,
    mean,
    measured,
)
from gnnpot.properties.suites.data import sha256_of
from gnnpot.properties.suites.pictures import shares
from gnnpot.units import GPA

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Picture

#: start of the name of files of held-out materials, and text in the card of a potential trained without such materials
HELD_OUT_FILE, HELD_OUT_CARD = "held-out", "held out"


class FramesSuite(Suite):
    """Errors of energies, forces and stresses on labelled frames."""

    name = "frames"
    title = "labelled frames: energies, forces, stresses"
    source = "any labelled frames, --data; the published figures are of MatterSim's benchmark (MIT)"
    overlaps = (
        Overlap("MPtrj", "if these are frames of MPtrj, they or others of their materials may be in its training set"),
        Overlap("Materials Project", "frames of these materials may be in its training set"),
    )

    def __init__(self, options: SuiteOptions) -> None:
        super().__init__(options)
        if options.data is None:
            raise DataError("frames: give labelled frames with --data (a file or a store)")
        self._path: Path = resolve_bundled(options.data)

    @property
    def label(self) -> str:
        """Name of the suite and name of the file, separated by a dot."""
        return f"{self.name}.{self._path.name.partition('.')[0]}"

    def overlap(self, training: str) -> str:
        """As `Suite.overlap`; empty if the file has held-out materials and the card states that some were held out.

        `scripts/benchmarks/held_out_frames.py` writes such a file for gnnpot-1.
        """
        if self._path.name.startswith(HELD_OUT_FILE) and HELD_OUT_CARD in training.lower():
            return ""
        return super().overlap(training)

    def all_items(self) -> Sequence[Item]:
        """The frames, in the order of the file."""
        path = self._path
        if not path.exists():
            raise DataError(f"{path}: does not exist; give labelled frames with --data (a file or a store)")
        frames = FrameStore(path) if path.is_dir() else read_frames(path)
        return [Item(str(k), tuple(int(z) for z in np.unique(frame.numbers)), frame) for k, frame in enumerate(frames)]

    def identity(self) -> dict[str, Any]:
        """The data file or store."""
        path = self._path
        return {"data": FrameStore(path).sha256 if path.is_dir() else sha256_of(path)}

    def measure(self, item: Item, calculator: BaseCalculator, folder: Path) -> Result:
        """Errors of a frame: energy per atom (eV), forces (eV/Å), stress (GPa)."""
        frame: Frame = item.content
        atoms = frame.to_atoms()
        atoms.calc = None
        atoms.calc = calculator
        result: Result = {"atoms": len(frame)}
        energy = _expected_energy(frame, calculator)
        if energy is not None:
            result["energy"] = (atoms.get_potential_energy() - energy) / len(frame)
        if frame.forces is not None:
            error = atoms.get_forces() - frame.forces
            result["forces_mae"] = float(np.abs(error).mean())
            result["forces_norm"] = float(np.linalg.norm(error, axis=1).mean())
        if frame.stress is not None:
            # calculators without stress are evaluated on energies and forces only
            with contextlib.suppress(PropertyNotImplementedError):
                result["stress_mae"] = float(np.abs(atoms.get_stress() - frame.stress).mean()) / GPA
        return result

    def summary(self, results: Results) -> dict[str, Figure]:
        """Mean errors over frames; for forces, over atoms."""
        found = list(measured(results).values())
        energies = [r["energy"] for r in found if "energy" in r]
        forces = [r for r in found if "forces_mae" in r]
        weights = np.array([r["atoms"] for r in forces], dtype=float)

        def over_atoms(key: str) -> Figure:
            value = float(np.average([r[key] for r in forces], weights=weights)) if forces else None
            return Figure(value, "eV/Å")

        shifted = np.array(energies) - np.median(energies) if energies else []
        return {
            "frames": counted(results),
            "energy, MAE": mean([1e3 * abs(e) for e in energies], "meV/atom"),
            "energy after one shift, MAE": mean([1e3 * abs(e) for e in shifted], "meV/atom"),
            "force components, MAE": over_atoms("forces_mae"),
            "force, mean length of the error": over_atoms("forces_norm"),
            "stress, MAE": mean([r["stress_mae"] for r in found if "stress_mae" in r], "GPa"),
        }

    def picture(self, results: Mapping[str, Results]) -> "Picture":
        """Cumulative distributions of the errors."""
        panels = {"error of the energy, eV/atom": "energy", "mean length of the force's error, eV/Å": "forces_norm"}
        return shares(
            {
                label: {
                    n: ([abs(r[key]) for r in measured(found).values() if key in r], len(found))
                    for n, found in results.items()
                }
                for label, key in panels.items()
            }
        )


def _expected_energy(frame: Frame, calculator: BaseCalculator) -> float | None:
    """Reference energy of a frame, eV; None if it has no energy that is comparable with the potential's."""
    card = getattr(calculator, "card", None)
    if frame.energy is None or card is None or "MP2020" not in card.energy_reference:
        return frame.energy
    for run_type in ("GGA+U", "GGA"):
        correction = mp2020(frame.numbers, frame.positions, frame.cell, run_type)
        if correction is not None:
            return frame.energy + correction
    return None
