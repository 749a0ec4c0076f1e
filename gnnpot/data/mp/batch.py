"""Batches of frames as flat arrays, which the pipeline reads, filters and writes without an object per frame.

    batch.energy[batch.has_energy], batch.forces        # over F frames, over their A atoms
    kept = batch.select(~outliers)
    table = kept.to_table()                              # rows of a store, as in `gnnpot.data.schema`

A run is a sequence of consecutive frames that belong together: the steps of a relaxation.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import pyarrow as pa

from gnnpot.data.quantities import QUANTITIES, labels_where
from gnnpot.data.schema import schema

#: fields of length A, and of length R; all others have length F
_PER_ATOM = ("numbers", "positions", *labels_where(lambda quantity: quantity.per == "atom"))
_PER_RUN = ("words",)
#: fields of the provenance of a run; `source_id` is composed of "task" and the step
WORDS = ("source", "task", "material_id", "code", "functional", "pseudopotentials", "config_type", "hubbard_u")


@dataclass(frozen=True, eq=False)
class FrameBatch:
    """F periodic frames with A atoms in R runs, in the units of `gnnpot.units`. Missing values are NaN."""

    sizes: np.ndarray  #: [F] int64, number of atoms of each frame
    numbers: np.ndarray  #: [A] int16, atomic numbers
    positions: np.ndarray  #: [A, 3] Å
    cell: np.ndarray  #: [F, 3, 3] rows are lattice vectors, Å
    energy: np.ndarray  #: [F] eV
    forces: np.ndarray  #: [A, 3] eV/Å
    stress: np.ndarray  #: [F, 6] eV/Å³, Voigt, positive under tension
    magmoms: np.ndarray  #: [A] µB
    electronic_steps: np.ndarray  #: [F] number of electronic steps; -1 if unknown
    electronic_change: np.ndarray  #: [F] change of the energy in the last electronic step, eV per atom
    final_energy: np.ndarray  #: [F] energy of the last frame of the material's relaxation, eV per atom
    task_offset: np.ndarray  #: [F] last energy of the task minus `final_energy`, eV per atom
    deprecated: np.ndarray  #: [F] bool, whether the task or its material is marked as deprecated
    step: np.ndarray  #: [F] int64, number of the frame in its run, as in the source
    run: np.ndarray  #: [F] int64, index of the run, ascending
    words: Mapping[str, np.ndarray]  #: provenance by `WORDS`: [R] str objects; hubbard_u: JSON or `None`

    def __len__(self) -> int:
        return len(self.sizes)

    @property
    def offsets(self) -> np.ndarray:
        """[F + 1]; frame f has the atoms offsets[f]:offsets[f + 1]."""
        return np.concatenate([[0], np.cumsum(self.sizes)])

    @property
    def has_energy(self) -> np.ndarray:
        """[F] bool: frames with an energy."""
        return self.has("energy")

    @property
    def has_forces(self) -> np.ndarray:
        """[F] bool: frames with forces on all atoms."""
        return self.has("forces")

    def has(self, label: str) -> np.ndarray:
        """Return [F] bool: frames with a label of `data.quantities`."""
        values = getattr(self, label, None)
        if values is None:
            return np.zeros(len(self), dtype=bool)
        missing = np.isnan(values).any(axis=tuple(range(1, values.ndim)))
        return ~(self.any_atom(missing) if QUANTITIES[label].per == "atom" else missing)

    @property
    def energy_per_atom(self) -> np.ndarray:
        """[F] energy per atom, eV."""
        return self.energy / self.sizes

    @property
    def largest_force(self) -> np.ndarray:
        """[F] length of the longest force vector of each frame, eV/Å; NaN without forces."""
        return self.most(np.linalg.norm(self.forces, axis=1))

    @property
    def volume(self) -> np.ndarray:
        """[F] cell volume, Å³."""
        return np.abs(np.linalg.det(self.cell))

    def most(self, values: np.ndarray) -> np.ndarray:
        """Return [F], the largest of `values` [A] in each frame."""
        if len(self) == 0:
            return np.empty(0)
        return np.maximum.reduceat(values, self.offsets[:-1])

    def any_atom(self, values: np.ndarray) -> np.ndarray:
        """Return [F] bool: whether any of `values` [A] bool is true in each frame."""
        if len(self) == 0:
            return np.empty(0, dtype=bool)
        return np.logical_or.reduceat(values, self.offsets[:-1])

    def select(self, kept: np.ndarray) -> "FrameBatch":
        """Return the frames for which `kept` [F] is true; runs without frames are kept."""
        if kept.all():
            return self
        atoms = np.repeat(kept, self.sizes)
        changed: dict[str, Any] = {}
        for f in fields(self):
            if f.name not in _PER_RUN:
                changed[f.name] = getattr(self, f.name)[atoms if f.name in _PER_ATOM else kept]
        return FrameBatch(words=self.words, **changed)

    def with_energy(self, energy: np.ndarray) -> "FrameBatch":
        """Return the frames with other energies [F]."""
        return replace(self, energy=energy)

    def fingerprints(self) -> np.ndarray:
        """Return [F] int64, `gnnpot.data.schema.fingerprint` of each frame."""
        numbers = self.numbers.astype("<i2").tobytes()
        positions = np.rint(self.positions * 1e5).astype("<i8").tobytes()
        cells = np.rint(self.cell * 1e5).astype("<i8").tobytes()
        pbc = np.ones(3, dtype=bool).tobytes()
        ends = self.offsets.tolist()
        digests = []
        for k in range(len(self)):
            a, b = ends[k], ends[k + 1]
            digest = hashlib.blake2b(numbers[2 * a : 2 * b], digest_size=8)
            digest.update(positions[24 * a : 24 * b])
            digest.update(cells[72 * k : 72 * k + 72])
            digest.update(pbc)
            digests.append(digest.digest())
        return np.frombuffer(b"".join(digests), dtype="<i8").astype(np.int64)

    def to_table(self) -> pa.Table:
        """Convert to rows of a store, identical to those of `schema.to_table`."""
        elements, counts, kinds = self._compositions()
        columns = {
            "numbers": _lists(self.numbers.astype(np.int16), self.sizes),
            "positions": _lists(self.positions.ravel(), 3 * self.sizes),
            "cell": pa.FixedSizeListArray.from_arrays(pa.array(self.cell.ravel()), 9),
            "pbc": pa.FixedSizeListArray.from_arrays(pa.array(np.ones(3 * len(self), dtype=bool)), 3),
            **{name: self._label_column(name) for name in QUANTITIES},
            "n_atoms": pa.array(self.sizes.astype(np.int32)),
            "elements": elements.take(kinds),
            "counts": counts.take(kinds),
            "fingerprint": pa.array(self.fingerprints()),
        }
        run = pa.array(self.run)
        for name in WORDS:
            if name != "task":
                columns[name] = pa.array(self.words[name], type=pa.string()).take(run)
        columns["source_id"] = pa.array(self.source_ids(), type=pa.string())
        fields = schema()
        return pa.table([columns[f.name].cast(f.type) for f in fields], schema=fields)

    def _label_column(self, label: str) -> pa.Array:
        """Return the column of a label, with null for frames without it."""
        values, quantity, known = getattr(self, label, None), QUANTITIES[label], self.has(label)
        if values is None:
            return pa.nulls(len(self))
        if not quantity.shape_of(1):
            return pa.array(values, mask=~known)
        return _lists(values, self.sizes if quantity.per == "atom" else np.ones(len(self), dtype=np.int64), known)

    def source_ids(self) -> list[str]:
        """Return the source id, task and step, of each frame."""
        tasks = self.words["task"]
        return [f"{tasks[r]}-{s}" for r, s in zip(self.run.tolist(), self.step.tolist(), strict=True)]

    def element_counts(self) -> np.ndarray:
        """Return [119], the number of atoms by atomic number."""
        return np.bincount(self.numbers, minlength=119)

    def _compositions(self) -> tuple[pa.ListArray, pa.ListArray, pa.Array]:
        """Return the elements and counts of each run that has frames, and the index of each frame into them.

        All frames of a run have the same atoms.
        """
        runs, first = np.unique(self.run, return_index=True)
        starts = self.offsets
        found = [np.unique(self.numbers[starts[k] : starts[k + 1]], return_counts=True) for k in first]
        sizes = np.array([len(e) for e, _ in found], dtype=np.int64)
        empty = [np.empty(0, dtype=np.int64)]
        elements = np.concatenate([e for e, _ in found] or empty).astype(np.int16)
        counts = np.concatenate([c for _, c in found] or empty).astype(np.int32)
        return _lists(elements, sizes), _lists(counts, sizes), pa.array(np.searchsorted(runs, self.run))


def _lists(values: np.ndarray, sizes: np.ndarray, valid: np.ndarray | None = None) -> pa.ListArray:
    """Return a list column of `values` [sum of sizes, ...], flattened; rows for which `valid` is false are null."""
    width = int(np.prod(values.shape[1:]))
    if valid is not None and not valid.all():
        values = values[np.repeat(valid, sizes)]
        sizes = np.where(valid, sizes, 0)
    offsets = np.concatenate([[0], np.cumsum(width * sizes)]).astype(np.int32)
    mask = None if valid is None or valid.all() else pa.array(~valid)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(values.ravel()), mask=mask)


def spread(values: np.ndarray, sizes: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Repeat part k of ragged `values`, with `sizes[k]` rows, `times[k]` times in place."""
    repeated = np.repeat(sizes, times)
    starts = np.repeat(np.concatenate([[0], np.cumsum(sizes)])[:-1], times)
    ends = np.cumsum(repeated)
    rows = np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - repeated, repeated) + np.repeat(starts, repeated)
    return values[rows]
