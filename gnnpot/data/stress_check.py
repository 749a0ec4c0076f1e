"""Check of the sign and unit of the stresses of a data set, by comparison with energy differences.

    check = check_stress(frames)        # raises DataError if sign or unit are wrong
    check.verdict, check.factor         # "agrees", 1.00
    store = write_checked_store(frames, "train.store")          # the verdict is stored in the manifest

Consider two frames a and b of the same atoms, whose cells differ by a small strain ε, with additional small
displacements Δr of the atoms. Their energies differ by the work of stress and forces. With errors of third order in ε
and Δr:

    E_b - E_a + ½ (F_a + F_b)·Δr  =  ½ Σ_k (V_a σ_a,kk + V_b σ_b,kk) ε_kk  + shear terms                          (1)

The left side, O, follows from energies and forces; the right side, P, from the stresses. Each pair whose shear terms
and work of forces are small votes with the ratio O/P. It is 1 if the labels are correct, -1 if the sign is wrong,
1/1602 if the stress is in kbar, and 1/160 if it is in GPa. Pairs on opposite sides of an energy minimum, and pairs
whose O is within the noise of calculated energies, do not vote. The verdict requires a clear majority.

Only the diagonal components are checked; pairs that differ by shear are ignored.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from gnnpot.data.frame import Frame
from gnnpot.data.store import FrameStore, write_store
from gnnpot.errors import DataError
from gnnpot.units import BOHR, GPA, HARTREE, KBAR, stress_from_voigt

log = logging.getLogger(__name__)

#: largest strain and displacement (Å) between the frames of a pair for which equation (1) is valid
MAX_STRAIN, MAX_DISPLACEMENT = 0.08, 0.3
#: largest work of shear relative to that of the diagonal, and of forces relative to O
MAX_SHEAR, MAX_FORCES_WORK = 0.2, 0.5
#: least |P| relative to the magnitudes of its two terms; if the energy has a minimum between a and b, they cancel
MIN_NET_FRACTION = 0.7
#: least work of a pair, eV per atom, above the noise of calculated energies
MIN_WORK = 2e-3
#: least number of votes for a verdict, and the fraction of them that must agree
MIN_VOTES, MAJORITY = 4, 0.75
#: largest number of votes per group, of pairs tried per group, and of votes in total
VOTES_PER_GROUP, TRIED_PER_GROUP, ENOUGH_VOTES = 12, 200, 4000
#: a median ratio within a factor TOLERANCE of 1 (or of a unit) is a match; beyond WRONG_UNIT_FACTOR, the unit is wrong
TOLERANCE, WRONG_UNIT_FACTOR = 3.0, 10.0
#: largest number of frames per group (material and order of elements), and of atoms in total, that are held
GROUP_FRAMES, HELD_ATOMS = 64, 1_000_000

_UNITS = {
    "kbar": 1 / KBAR,
    "GPa": 1 / GPA,
    "bar": 1000 / KBAR,
    "Ha/Bohr³": BOHR**3 / HARTREE,
}


@dataclass(frozen=True, slots=True)
class StressCheck:
    """Result of the comparison of stresses with energies."""

    verdict: Literal["agrees", "disagrees", "undecided"]
    votes: int  #: number of pairs of frames that voted
    agreeing: int  #: number of votes for the sign of the labels
    materials: int  #: number of materials of the voting pairs
    factor: float | None  #: median of the ratios O/P: factor from the labels to the correct stresses
    meaning: str  #: the verdict as a sentence

    def to_mapping(self) -> dict:
        return asdict(self)

    def require(self, where: str = "the data") -> "StressCheck":
        """Return self, or raise `DataError` if the labels are wrong."""
        if self.verdict == "disagrees":
            raise DataError(f"{where}: {self.meaning}; name the file's convention with stress= (--stress)")
        return self


class StressSample:
    """Bounded sample of a stream of frames, for the check at its end.

    For each material and order of elements, at most `GROUP_FRAMES` frames are held, by reproducible reservoir sampling.
    Once `HELD_ATOMS` atoms are held, new materials are ignored.
    """

    def __init__(self) -> None:
        self._groups: dict[tuple, list[Frame]] = {}
        self._seen: dict[tuple, int] = {}
        self._atoms = 0
        self._rng = np.random.default_rng(0)

    def add(self, frame: Frame) -> None:
        if frame.energy is None or frame.stress is None or not frame.pbc.all():
            return
        key = (frame.provenance.material_id, frame.numbers.astype(np.int16).tobytes())
        group = self._groups.get(key)
        full = self._atoms + len(frame) > HELD_ATOMS
        if group is None:
            if full:
                return
            group = self._groups[key] = []
        self._seen[key] = seen = self._seen.get(key, 0) + 1
        if len(group) < GROUP_FRAMES and not full:
            group.append(frame)
            self._atoms += len(frame)
        elif (k := int(self._rng.integers(seen))) < len(group):
            group[k] = frame

    def watch(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        """Yield the frames unchanged, and sample them."""
        for frame in frames:
            self.add(frame)
            yield frame

    def result(self) -> StressCheck:
        """Return the verdict on the frames added so far."""
        ratios: list[float] = []
        materials = set()
        for (material, _), group in self._groups.items():
            votes = _votes(group)
            ratios.extend(votes)
            if votes:
                materials.add(material)
            if len(ratios) >= ENOUGH_VOTES:
                break
        check = _judge(np.array(ratios), len(materials))
        log.info("stress check: %s", check.meaning)
        return check


def check_stress(frames: Iterable[Frame]) -> StressCheck:
    """Compare the stresses of frames with their energies. Raises `DataError` if the sign or the unit is wrong."""
    sample = StressSample()
    for frame in frames:
        sample.add(frame)
    return sample.result().require()


def write_checked_store(
    frames: Iterable[Frame],
    folder: Path | str,
    *,
    source: str = "",
    filters: Mapping[str, int] | None = None,
    overwrite: bool = False,
) -> FrameStore:
    """Write a store as `data.store.write_store`, with the stress check of a sample of the frames in the manifest."""
    sample = StressSample()
    return write_store(
        sample.watch(frames),
        folder,
        source=source,
        filters=filters,
        stress_check=lambda: sample.result().to_mapping(),
        overwrite=overwrite,
    )


def _judge(ratios: np.ndarray, materials: int) -> StressCheck:
    n, positive = len(ratios), int((ratios > 0).sum())
    factor = float(np.median(ratios)) if n else float("nan")
    said = f"{n} pairs of frames of {materials} material{'s' if materials != 1 else ''}"

    def verdict(word: Literal["agrees", "disagrees", "undecided"], meaning: str) -> StressCheck:
        return StressCheck(word, n, positive, materials, factor if n else None, meaning)

    if n < MIN_VOTES or max(positive, n - positive) < MAJORITY * n:
        found = f"{said}, {positive} for the sign of the labels" if n else "no two frames can be compared"
        return verdict("undecided", f"can't tell whether stress and energies agree: {found}")
    off = abs(np.log(abs(factor)))
    if factor > 0 and off < np.log(TOLERANCE):
        return verdict("agrees", f"stress agrees with the energies ({said})")
    wrong = ["the wrong sign (positive under compression)"] if factor < 0 else []
    if off >= np.log(TOLERANCE):
        unit = next((u for u, x in _UNITS.items() if abs(np.log(abs(factor) * x)) < np.log(TOLERANCE)), None)
        if unit is None and off < np.log(WRONG_UNIT_FACTOR):
            return verdict("undecided", f"can't tell whether stress and energies agree: {said} say {factor:.2g} times")
        wrong.append(f"the unit {unit} instead of eV/Å³" if unit else "a wrong unit")
    problem = f"stress has {' and '.join(wrong)}: by the energies of {said} it should be {factor:.3g} times what it is"
    return verdict("disagrees", problem)


def _votes(group: list[Frame]) -> list[float]:
    """Return the ratios O/P of equation (1) of the valid pairs of a group, in order of decreasing |P|."""
    group = [frame for frame in group if frame.stress is not None]
    if len(group) < 2:
        return []
    cells = np.stack([f.cell for f in group])
    virials = np.stack([f.volume * stress_from_voigt(f.stress) for f in group if f.stress is not None])
    a, b = np.triu_indices(len(group), 1)
    strain = _strains(cells[a], cells[b])
    near = np.abs(strain).max(axis=(1, 2)) < MAX_STRAIN
    a, b, strain = a[near], b[near], strain[near]
    work_a, work_b = virials[a] * strain, virials[b] * strain
    diagonal_a, diagonal_b = (np.trace(w, axis1=1, axis2=2) for w in (work_a, work_b))
    predicted = 0.5 * (diagonal_a + diagonal_b)
    shear = np.abs(0.5 * (work_a + work_b).sum(axis=(1, 2)) - predicted)
    steady = np.abs(predicted) > MIN_NET_FRACTION * 0.5 * (np.abs(diagonal_a) + np.abs(diagonal_b))
    usable = np.flatnonzero(steady & (shear < MAX_SHEAR * np.abs(predicted)))
    votes = []
    for k in usable[np.argsort(-np.abs(predicted[usable]), kind="stable")][:TRIED_PER_GROUP]:
        observed = _observed(group[a[k]], group[b[k]])
        if observed is not None:
            votes.append(observed / float(predicted[k]))
        if len(votes) == VOTES_PER_GROUP:
            break
    return votes


def _strains(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the strain [P, 3, 3] from cells `a` to `b` relative to their mean; inf for pairs that are also rotated."""
    middle = 0.5 * (a + b)
    gradient = np.linalg.solve(middle, b - a)
    symmetric = 0.5 * (gradient + gradient.swapaxes(1, 2))
    rotation = np.abs(gradient - symmetric).max(axis=(1, 2))
    symmetric[rotation > 0.1 * np.abs(symmetric).max(axis=(1, 2)) + 1e-9] = np.inf
    return symmetric


def _observed(a: Frame, b: Frame) -> float | None:
    """Return O of equation (1), eV; `None` if the displacements are too large, or O is within the noise."""
    shift = np.linalg.solve(b.cell.T, b.positions.T).T - np.linalg.solve(a.cell.T, a.positions.T).T
    moved = (shift - np.rint(shift)) @ (0.5 * (a.cell + b.cell))
    moved -= moved.mean(axis=0)
    largest = np.abs(moved).max()
    if a.energy is None or b.energy is None:
        return None
    observed = b.energy - a.energy
    if a.forces is not None and b.forces is not None:
        by_forces = 0.5 * float(np.sum((a.forces + b.forces) * moved))
        observed += by_forces
        if largest > MAX_DISPLACEMENT or abs(by_forces) > MAX_FORCES_WORK * abs(observed):
            return None
    elif largest > 0.01:
        return None
    return observed if abs(observed) > MIN_WORK * len(a) else None
