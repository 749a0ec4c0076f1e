"""Element reference energies: the part of the energy that depends only on the composition.

    references = ElementReferences.fit(store)            # least squares of E = Σ_e n_e E_e
    references.apply(frame.numbers)                      # eV

A potential learns the remainder, which is small and centred on zero. The energies are fitted, not those of free atoms.
If the compositions do not determine them (all frames are NaCl), the solution of least norm is used.

Fits to frames are robust. Free atoms, which are not bonded, are excluded if other frames have their element. Frames
that deviate from the fit by more than `OUTLIER` standard deviations, estimated from the median absolute deviation, and
by more than `LEAST_OUTLIER` eV per atom are excluded, too. They are found by a fit of least absolute deviations, which
is insensitive to outliers. Excluded frames are logged.
"""

import logging
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from ase.data import chemical_symbols
from scipy.sparse import csr_array, vstack

from gnnpot.config import from_mapping as read_options
from gnnpot.data.frame import Frame, atomic_number
from gnnpot.data.structure import is_free_atom
from gnnpot.errors import ConfigError, DataError, UnknownElementError

if TYPE_CHECKING:
    from gnnpot.data.store import FrameStore

log = logging.getLogger(__name__)

#: singular values below this fraction of the largest are treated as zero
RANK_TOLERANCE = 1e-9
#: number of frames whose dense compositions are in memory at a time
BLOCK = 65536
#: least deviation of an outlier: in standard deviations (from the median absolute deviation), and in eV per atom
OUTLIER, LEAST_OUTLIER = 40.0, 4.0
#: if more than this fraction of the frames are outliers, the fit does not describe the data, and none are excluded
MAX_OUTLIERS = 0.25
#: number of frames, evenly spread, in the fit of least absolute deviations
SAMPLE = 5000
#: iterations of reweighting in the fit of least absolute deviations
ROUNDS = 30


@dataclass(frozen=True)
class ElementReferences:
    """Reference energies of E elements. Raises `DataError` if the fields are inconsistent."""

    elements: tuple[int, ...]  #: atomic numbers, ascending
    energies: tuple[float, ...]  #: eV per atom
    uncertainties: tuple[float, ...] = ()  #: standard uncertainties, eV; NaN if unknown; () for none
    undetermined: tuple[str, ...] = ()  #: combinations of energies that the data do not determine, such as "Cl - Na"
    source: str = ""  #: data of the fit

    def __post_init__(self) -> None:
        if len(self.energies) != len(self.elements) or len(self.uncertainties) not in (0, len(self.elements)):
            raise DataError("element references need one energy, and one uncertainty or none, for each element")
        if list(self.elements) != sorted(set(self.elements)) or any(not 1 <= z <= 118 for z in self.elements):
            raise DataError("element references need distinct atomic numbers from 1 to 118 in ascending order")
        if not np.all(np.isfinite(self.energies)):
            raise DataError("element references have NaN or infinite energies; fit them again")

    @classmethod
    def fit(
        cls, frames: "FrameStore | Iterable[Frame]", *, ridge: float = 0.0, source: str = ""
    ) -> "ElementReferences":
        """Fit to the energies of frames or of a store; frames without energy are ignored.

        Raises `DataError` if no frame has an energy.
        """
        blocks: Iterable[tuple[np.ndarray, np.ndarray, np.ndarray]]
        # `frames` can only be a store if its module has been imported; importing it here would require pyarrow
        stores = sys.modules.get("gnnpot.data.store")
        if stores is not None and isinstance(frames, stores.FrameStore):
            index = frames.index()
            elements = np.unique(index.elements)
            parts = [slice(k, k + BLOCK) for k in range(0, len(index), BLOCK)]
            blocks = ((index.composition(elements, p)[0], index.energy[p], index.free_atom[p]) for p in parts)
        else:
            frames = [f for f in frames if f.energy is not None]
            counts, elements = count_elements([f.numbers for f in frames])
            free = np.array([is_free_atom(f.numbers, f.cell, f.pbc) for f in frames], dtype=bool)
            blocks = [(counts, np.array([f.energy for f in frames]), free)]
        return cls._fit_robustly(blocks, elements, ridge, source)._warned()

    @classmethod
    def fit_counts(
        cls,
        counts: np.ndarray,
        energies: np.ndarray,
        elements: Sequence[int],
        weights: np.ndarray | None = None,
        *,
        ridge: float = 0.0,
        source: str = "",
    ) -> "ElementReferences":
        """Weighted least squares of energies per atom: min Σ_f w_f [(E_f - Σ_e n_fe E_e) / N_f]² + ridge Σ_e E_e².

        The solution has least norm. Its standard uncertainties are based on the variance of the residuals. They do not
        include the combinations in `undetermined`, and are NaN if F does not exceed the rank.

        Args:
            counts: [F, E] number of atoms of each element.
            energies: [F] eV; NaN for frames to ignore.
            elements: [E] atomic numbers.
            weights: [F], 1 by default.
            ridge: Strength of the regularisation, in units of Σ w.
            source: Description of the data.
        """
        block = (np.asarray(counts, dtype=float), np.asarray(energies, dtype=float), weights)
        solution = cls._solve(_reduce([block], len(elements)), np.asarray(elements, dtype=int), ridge, source)
        return solution._warned()

    @classmethod
    def fit_blocks(
        cls, blocks: Iterable[tuple[np.ndarray, ...]], elements: np.ndarray, *, source: str = ""
    ) -> "ElementReferences":
        """Fit as in `fit`, to blocks (counts [F, E], energies [F]), or (counts, energies, free atoms [F] bool)."""
        return cls._fit_robustly(blocks, np.asarray(elements), 0.0, source)

    @classmethod
    def _fit_robustly(
        cls, blocks: Iterable[tuple[np.ndarray, ...]], elements: np.ndarray, ridge: float, source: str
    ) -> "ElementReferences":
        """Fit without free atoms and outliers, which are logged."""
        data = _Data.of(blocks, elements)
        used = data.without_free_atoms()
        aside = int(data.known.sum() - used.sum())
        if aside:
            log.warning("element references: %d free atoms were set aside; other frames have their elements", aside)
        fit = cls._solve(data.reduced(used), elements, ridge, source)
        outliers = data.outliers(used, lambda weights: cls._solve(data.reduced(weights), elements, ridge, source))
        if outliers.any():
            log.warning(
                "element references: %d of %d frames were set aside, more than %g eV per atom from the fit of the "
                "others (the first is number %d); check their energies and units",
                outliers.sum(), used.sum(), LEAST_OUTLIER, np.flatnonzero(outliers)[0],
            )  # fmt: skip
            fit = cls._solve(data.reduced(used & ~outliers), elements, ridge, source)
        return fit

    @classmethod
    def _solve(cls, problem: "_ReducedProblem", elements: np.ndarray, ridge: float, source: str) -> "ElementReferences":
        if problem.frames == 0:
            raise DataError("no frame has an energy, so element references can't be fitted; check the energy's key")
        present = np.flatnonzero(np.abs(problem.matrix).max(axis=0) > 0)
        present = present[np.argsort(elements[present])]
        elements, matrix = elements[present], problem.matrix[:, present]
        left, singular, right = np.linalg.svd(matrix, full_matrices=False)
        keep = singular > RANK_TOLERANCE * singular.max()
        damped = singular[keep] / (singular[keep] ** 2 + ridge * problem.weight)
        solution = right[keep].T @ (damped * (left[:, keep].T @ problem.target))
        freedom = problem.frames - int(keep.sum())
        misfit = float(np.sum((problem.target - matrix @ solution) ** 2)) + problem.misfit
        variance = misfit / freedom if freedom > 0 else np.nan
        uncertainties = np.sqrt(variance * np.sum((right[keep].T * damped) ** 2, axis=1))
        undetermined = _undetermined(matrix, elements)
        return cls(
            tuple(elements.tolist()), tuple(solution.tolist()), tuple(uncertainties.tolist()), undetermined, source
        )

    def _warned(self) -> "ElementReferences":
        for combination in self.undetermined:
            log.warning("element references: the data do not fix %s; the smallest energies were taken", combination)
        return self

    def apply(self, numbers: np.ndarray) -> float:
        """Return Σ E_e over the atoms, eV. Raises `UnknownElementError` for an element without an energy."""
        energies = self.energies_by_number()[np.asarray(numbers)]
        if np.isnan(energies).any():
            unseen = sorted({chemical_symbols[z] for z in np.asarray(numbers)[np.isnan(energies)]})
            raise UnknownElementError(f"there is no reference energy for {', '.join(unseen)}; fit the references to it")
        return float(energies.sum())

    def energies_by_number(self) -> np.ndarray:
        """Return [119] energies by atomic number, eV; NaN for elements without an energy."""
        table = np.full(119, np.nan)
        table[list(self.elements)] = self.energies
        return table

    def refit(
        self, frames: Iterable[Frame], residuals: np.ndarray, *, ridge: float = 0.0, source: str = ""
    ) -> "ElementReferences":
        """Return references shifted by a fit to the residuals of a potential, for labels of another code or functional.

        Elements that are not in the frames keep their energies, as do combinations that the frames do not determine,
        which are in `undetermined`.

        Args:
            frames: The frames.
            residuals: [F] label - prediction, eV; NaN for frames to ignore.
            ridge: As in `fit_counts`; it damps combinations that are poorly determined.
            source: Description of the data.

        Raises `DataError` if frames and residuals differ in number, or if all residuals are NaN.
        """
        frames = list(frames)
        numbers = [f.numbers for f in frames]
        residuals = np.asarray(residuals, dtype=float)
        if len(numbers) != len(residuals) or not numbers:
            raise DataError(f"there are {len(numbers)} frames but {len(residuals)} residuals; give one for each frame")
        counts, elements = count_elements(numbers)
        free = np.array([is_free_atom(f.numbers, f.cell, f.pbc) for f in frames], dtype=bool)
        shift = self._fit_robustly([(counts, residuals, free)], elements, ridge, source)
        energies = dict(zip(self.elements, self.energies, strict=True))
        spread = dict(zip(self.elements, self.uncertainties or [np.nan] * len(self.elements), strict=True))
        for z, energy, sigma in zip(shift.elements, shift.energies, shift.uncertainties, strict=True):
            energies[z] = energies.get(z, 0.0) + energy
            spread[z] = sigma
        known = sorted(energies)
        return type(self)(
            tuple(known),
            tuple(energies[z] for z in known),
            tuple(spread[z] for z in known),
            shift.undetermined,
            source or self.source,
        )

    def to_mapping(self) -> dict:
        """Return JSON values by chemical symbol; floats are exact, unknown uncertainties are `None`."""
        symbols = [chemical_symbols[z] for z in self.elements]
        uncertainties = [None if np.isnan(u) else u for u in self.uncertainties]
        return {
            "energies": dict(zip(symbols, self.energies, strict=True)),
            "uncertainties": dict(zip(symbols, uncertainties, strict=True)) if uncertainties else {},
            "undetermined": list(self.undetermined),
            "source": self.source,
        }

    @classmethod
    def from_mapping(cls, mapping: Mapping, where: str = "element references") -> "ElementReferences":
        """Create references from the result of `to_mapping`, or from {"energies": {symbol: eV}}. Raises `DataError`."""
        try:
            written = read_options(_Written, mapping, where)
        except ConfigError as error:
            raise DataError(f"{error}; element references need 'energies', a mapping of symbols to eV") from None
        energies = {atomic_number(s, where): e for s, e in written.energies.items()}
        given = {atomic_number(s, where): np.nan if u is None else u for s, u in written.uncertainties.items()}
        elements = sorted(energies)
        return cls(
            tuple(elements),
            tuple(energies[z] for z in elements),
            tuple(given.get(z, np.nan) for z in elements) if given else (),
            written.undetermined,
            written.source,
        )


@dataclass(frozen=True)
class _Written:
    """Schema of `ElementReferences.to_mapping`; energies in eV by symbol."""

    energies: dict[str, float]
    uncertainties: dict[str, float | None] = field(default_factory=dict)
    undetermined: tuple[str, ...] = ()
    source: str = ""


@dataclass(frozen=True)
class _ReducedProblem:
    """A least-squares problem of any number of frames, reduced to at most E rows by QR decomposition."""

    matrix: np.ndarray  #: [<=E, E]
    target: np.ndarray  #: [<=E]
    misfit: float  #: squared residual that no solution can remove, in addition to the residual of `matrix`
    frames: int  #: number of frames with an energy and a weight
    weight: float  #: sum of their weights


class _Data:
    """Sparse compositions, and energies, of F frames."""

    def __init__(self, counts: csr_array, energies: np.ndarray, free: np.ndarray, elements: np.ndarray) -> None:
        self.counts, self.energies, self.free, self.elements = counts, energies, free, elements
        self.n_atoms = counts.sum(axis=1)
        self.known = np.isfinite(energies)

    @classmethod
    def of(cls, blocks: Iterable[tuple[np.ndarray, ...]], elements: np.ndarray) -> "_Data":
        parts = [(csr_array(b[0]), np.asarray(b[1], dtype=float), b[2] if len(b) > 2 else None) for b in blocks]
        if not parts:
            raise DataError("no frame has an energy, so element references can't be fitted; check the energy's key")
        free = [np.zeros(len(e), dtype=bool) if f is None else np.asarray(f, dtype=bool) for _, e, f in parts]
        counts = vstack([c for c, _, _ in parts], format="csr")
        return cls(counts, np.concatenate([e for _, e, _ in parts]), np.concatenate(free), elements)

    def without_free_atoms(self) -> np.ndarray:
        """Return [F] bool: frames with an energy, except free atoms whose element is in other frames."""
        return self._with_all_elements(self.known & ~self.free, self.known)

    def _with_all_elements(self, chosen: np.ndarray, used: np.ndarray) -> np.ndarray:
        """Return [F] bool: `chosen`, and frames of `used` with an element that is in no chosen frame."""
        covered = np.asarray(self.counts[chosen].sum(axis=0)) > 0
        return chosen | (used & (self.counts[:, ~covered].sum(axis=1) > 0))

    def reduced(self, weights: np.ndarray) -> "_ReducedProblem":
        """Return the least-squares problem of the frames with these weights (or booleans); weights 0 are skipped."""
        weights = np.asarray(weights, dtype=float)
        frames = np.flatnonzero(weights)
        parts = [frames[k : k + BLOCK] for k in range(0, len(frames), BLOCK)]
        blocks = ((self.counts[p].toarray(), self.energies[p], weights[p]) for p in parts)
        return _reduce(blocks, self.counts.shape[1])

    def outliers(self, used: np.ndarray, solve: Callable[[np.ndarray], "ElementReferences"]) -> np.ndarray:
        """Return [F] bool: frames of `used` far from a fit of least absolute deviations to `SAMPLE` of them.

        `solve` fits to frames with given weights; it is called with updated weights until the fit has converged.
        """
        chosen = np.flatnonzero(used)
        chosen = chosen[np.unique(np.linspace(0, len(chosen) - 1, min(SAMPLE, len(chosen))).astype(int))]
        weights = np.zeros(len(used))
        weights[chosen] = 1.0
        for _ in range(ROUNDS):
            residuals = np.abs(self._residuals(solve(weights))[chosen])
            least = max(1e-3 * float(np.median(residuals)), 1e-9)
            weights[chosen] = least / np.maximum(residuals, least)
        residuals = np.abs(self._residuals(solve(weights)))
        judged = used & np.isfinite(residuals)
        spread = 1.4826 * float(np.median(residuals[judged]))
        found = judged & (residuals > max(OUTLIER * spread, LEAST_OUTLIER))
        if found.sum() > MAX_OUTLIERS * used.sum():
            return np.zeros_like(found)
        return used & ~self._with_all_elements(used & ~found, used)

    def _residuals(self, fit: "ElementReferences") -> np.ndarray:
        """Return [F] residuals, eV per atom; NaN for frames with an element that the fit does not have."""
        energies = fit.energies_by_number()[self.elements]
        unknown = self.counts[:, np.isnan(energies)].sum(axis=1) > 0
        residuals = (self.energies - self.counts @ np.nan_to_num(energies)) / self.n_atoms
        return np.where(unknown, np.nan, residuals)


def _reduce(blocks: Iterable[tuple[np.ndarray, np.ndarray, np.ndarray | None]], n_elements: int) -> _ReducedProblem:
    """Reduce the rows (w^½ n/N | w^½ E/N) by QR decomposition, block by block, to limit memory to one block."""
    rows = np.zeros((0, n_elements + 1))
    frames, total = 0, 0.0
    for counts, energies, weights in blocks:
        weights = np.ones(len(energies)) if weights is None else np.asarray(weights, dtype=float)
        n_atoms = counts.sum(axis=1)
        if len(energies) and (n_atoms.min() <= 0 or not weights.min() >= 0 or np.isinf(energies).any()):
            raise DataError("element references need atoms in every frame, finite energies and weights of 0 or more")
        known = np.isfinite(energies) & (weights > 0)
        scale = np.sqrt(weights[known]) / n_atoms[known]
        block = np.column_stack([counts[known], energies[known]]) * scale[:, None]
        rows = np.asarray(np.linalg.qr(np.vstack([rows, block]), mode="r"))
        frames += int(known.sum())
        total += float(weights[known].sum())
    # the last row of a full triangle is the residual that no element energies can remove
    full = len(rows) > n_elements
    misfit = float(rows[-1, -1] ** 2) if full else 0.0
    rows = rows[:n_elements]
    return _ReducedProblem(rows[:, :-1], rows[:, -1], misfit, frames, total)


def count_elements(numbers: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return the number of atoms of each element `[F, E]` from atomic numbers, and the elements `[E]`, ascending."""
    table = np.zeros((len(numbers), 119))
    for row, atoms in zip(table, numbers, strict=True):
        row += np.bincount(atoms, minlength=119)
    elements = np.flatnonzero(table.any(axis=0))
    return table[:, elements], elements


def _undetermined(matrix: np.ndarray, elements: np.ndarray) -> tuple[str, ...]:
    """Return the combinations of element energies that the data do not determine: a basis of the null space, as text.

    The basis is in reduced echelon form, so that each combination has few elements.
    """
    _, singular, right = np.linalg.svd(matrix, full_matrices=True)
    rank = int((singular > RANK_TOLERANCE * singular.max()).sum())
    null = right[rank:].copy()
    row = 0
    for column in range(null.shape[1]):
        if row == len(null):
            break
        pivot = row + int(np.abs(null[row:, column]).argmax())
        if abs(null[pivot, column]) < 1e-6:
            continue
        null[[row, pivot]] = null[[pivot, row]]
        null[row] /= null[row, column]
        others = np.arange(len(null)) != row
        null[others] -= null[others, column, None] * null[row]
        row += 1
    return tuple(_in_words(vector, elements) for vector in null)


def _in_words(vector: np.ndarray, elements: np.ndarray) -> str:
    terms: list[str] = []
    for coefficient, z in zip(vector, elements, strict=True):
        if abs(coefficient) > 1e-6:
            size = "" if abs(abs(coefficient) - 1) < 1e-6 else f"{abs(coefficient):.3g} "
            sign = ("- " if coefficient < 0 else "+ ") if terms else ("-" if coefficient < 0 else "")
            terms.append(f"{sign}{size}{chemical_symbols[z]}")
    return " ".join(terms)
