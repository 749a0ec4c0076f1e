"""Element reference energies: the part of a total energy that depends on the composition alone.

For frame f with n_fz atoms of element z, E_f ≈ Σ_z n_fz E0_z, fitted per atom by least squares:

    minimize Σ_f w_f (E_f/N_f - Σ_z x_fz E0_z)²,   x_fz = n_fz/N_f

    references = ElementReferences.fit(frames)
    references.apply(numbers)                     # eV, to subtract from a total energy

The standard uncertainty of E0_z is the root of the diagonal of s² (XᵀWX)⁺ with s² the residual variance. Where the
compositions can't tell elements apart (rank deficiency) the solution of least norm is taken, a warning is logged that
names the elements, and `undetermined` keeps them.
"""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase.data import atomic_numbers, chemical_symbols

from gnnpot.data.frame import Frame
from gnnpot.errors import DataError, UnknownElementError

logger = logging.getLogger(__name__)

#: Singular values below this fraction of the largest count as zero.
_RANK_TOLERANCE = 1e-8


@dataclass(frozen=True, slots=True)
class ElementReferences:
    """One energy (eV) an element."""

    elements: tuple[str, ...]
    energies: tuple[float, ...]  #: eV, one an element
    uncertainties: tuple[float, ...] = ()  #: eV, standard uncertainties; empty: unknown
    undetermined: tuple[str, ...] = ()  #: elements whose energies the data could not tell apart
    source: str = ""

    def __post_init__(self) -> None:
        if len(self.energies) != len(self.elements):
            raise ValueError(f"energies: {len(self.energies)} are given for {len(self.elements)} elements")

    @classmethod
    def zero(cls, elements: Iterable[str]) -> "ElementReferences":
        """References of 0 eV, for a model that carries its own."""
        elements = tuple(elements)
        return cls(elements, (0.0,) * len(elements), source="zero")

    @classmethod
    def fit(
        cls, frames: Iterable[Frame], *, weights: Iterable[float] | None = None, source: str = ""
    ) -> "ElementReferences":
        """Fitted to the labelled energies of `frames`; raises `DataError` if there is none."""
        labelled = [(f.numbers, f.energy) for f in frames if f.energy is not None]
        if not labelled:
            raise DataError("no frame has an energy; element references need at least one")
        return cls.fit_energies(*zip(*labelled, strict=True), weights=weights, source=source)

    @classmethod
    def fit_energies(
        cls,
        numbers: Iterable[np.ndarray],
        energies: Iterable[float],
        *,
        weights: Iterable[float] | None = None,
        source: str = "",
    ) -> "ElementReferences":
        """Fitted to total energies (eV) of structures with atomic `numbers`."""
        counts = np.stack([np.bincount(z, minlength=119) for z in numbers]).astype(float)
        present = np.flatnonzero(counts.sum(0))
        sizes = counts.sum(1)
        x = counts[:, present] / sizes[:, None]
        y = np.asarray(list(energies), dtype=float) / sizes
        root = np.ones(len(y)) if weights is None else np.sqrt(np.asarray(list(weights), dtype=float))
        u, s, vt = np.linalg.svd(x * root[:, None], full_matrices=False)
        keep = s > _RANK_TOLERANCE * s[0]
        solution = vt[keep].T @ ((u[:, keep].T @ (y * root)) / s[keep])
        degrees = max(len(y) - int(keep.sum()), 1)
        variance = float(np.sum((root * (y - x @ solution)) ** 2)) / degrees
        spread = np.sqrt(variance * np.sum((vt[keep] / s[keep][:, None]) ** 2, axis=0))
        symbols = tuple(chemical_symbols[z] for z in present)
        determined = np.sum(vt[keep] ** 2, axis=0) > 1 - 1e-6
        undetermined = tuple(e for e, ok in zip(symbols, determined, strict=True) if not ok)
        if undetermined:
            logger.warning(
                "element references: %d compositions can't tell the energies of %s apart; the solution of least norm is taken",
                len(y),
                ", ".join(undetermined),
            )
        return cls(symbols, tuple(map(float, solution)), tuple(map(float, spread)), undetermined, source)

    def refit(self, numbers: Iterable[np.ndarray], residuals: Iterable[float], source: str = "") -> "ElementReferences":
        """References plus those fitted to `residuals` (eV, label minus prediction) of structures with `numbers`.

        Elements that do not occur keep their energies.
        """
        shift = type(self).fit_energies(numbers, residuals)
        shifts = dict(zip(shift.elements, zip(shift.energies, shift.uncertainties, strict=True), strict=True))
        old = self.uncertainties or (0.0,) * len(self.elements)
        energies = tuple(
            e + shifts.get(symbol, (0.0, 0.0))[0] for symbol, e in zip(self.elements, self.energies, strict=True)
        )
        spread = tuple(shifts.get(symbol, (0.0, s))[1] for symbol, s in zip(self.elements, old, strict=True))
        return type(self)(self.elements, energies, spread, shift.undetermined, source or self.source)

    def apply(self, numbers: np.ndarray) -> float:
        """Σ_i E0(Z_i), eV; raises `UnknownElementError` for an element without a reference."""
        table = self.energies_by_number()
        total = float(np.sum(table[np.asarray(numbers)]))
        if not np.isfinite(total):
            unseen = sorted({chemical_symbols[int(z)] for z in numbers} - set(self.elements))
            raise UnknownElementError(f"element references: there is none for {', '.join(unseen)}; fit them with data")
        return total

    def energies_by_number(self) -> np.ndarray:
        """[119] eV by atomic number; NaN for elements without a reference."""
        table = np.full(119, np.nan)
        for symbol, energy in zip(self.elements, self.energies, strict=True):
            table[atomic_numbers[symbol]] = energy
        return table

    def to_mapping(self) -> dict[str, Any]:
        """For JSON; floats survive exactly."""
        return {name: getattr(self, name) for name in self.__slots__}

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> "ElementReferences":
        return cls(**{k: v if isinstance(v, str) else tuple(v) for k, v in mapping.items()})
