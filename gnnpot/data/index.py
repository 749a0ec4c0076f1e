"""Index of a store: the properties of all frames that batching, splitting and element references need."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from gnnpot.data.structure import is_free_atom
from gnnpot.errors import DataError

_COLUMNS = ["n_atoms", "energy", "material_id", "source", "config_type", "elements", "counts", "fingerprint"]


@dataclass(frozen=True, eq=False)
class StoreIndex:
    """Arrays over the F frames of a store. Each distinct string is stored once; frames refer to it by index."""

    n_atoms: np.ndarray  #: [F] int64
    energy: np.ndarray  #: [F] eV; NaN for frames without this label
    fingerprint: np.ndarray  #: [F] int64, equal for equal structures
    materials: np.ndarray  #: [M] names of the materials
    material: np.ndarray  #: [F] index into `materials`
    sources: np.ndarray  #: names of the sources
    source: np.ndarray  #: [F] index into `sources`
    config_types: np.ndarray  #: names of the configuration types
    config_type: np.ndarray  #: [F] index into `config_types`
    offsets: np.ndarray  #: [F + 1]: frame f has elements[offsets[f]:offsets[f + 1]]
    elements: np.ndarray  #: atomic numbers, ascending within a frame
    counts: np.ndarray  #: number of atoms of each of `elements`
    free_atom: np.ndarray  #: [F] bool: a single atom without nearby images, see `structure.is_free_atom`

    def __len__(self) -> int:
        return len(self.n_atoms)

    @property
    def material_id(self) -> np.ndarray:
        """[F] name of the material of each frame."""
        return self.materials[self.material]

    @property
    def equivalence(self) -> np.ndarray:
        """[F] int64, equal for frames of equal composition and energy (to 1e-5 eV); distinct for unlabelled frames.

        It detects copies of a structure that are rotated or have their atoms in a different order.
        """
        weights = np.random.default_rng(0).integers(1, 2**62, 119)
        sums = np.concatenate([[0], np.cumsum(weights[self.elements] * self.counts)])
        unlabelled = np.isnan(self.energy)
        energy = np.rint(np.where(unlabelled, 0.0, self.energy) * 1e5).astype(np.int64)
        key = np.diff(sums[self.offsets]) + energy * np.int64(0x9E3779B97F4A7C1)
        return np.where(unlabelled, np.iinfo(np.int64).min + np.arange(len(self)), key)

    def composition(
        self, elements: Sequence[int] | None = None, frames: slice = slice(None)
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the number of atoms of each element `[F, E]` of `frames`, and the atomic numbers `[E]`.

        The elements are all elements of the store unless `elements` is given. Raises `DataError` if a frame has an
        element that is not in `elements`.
        """
        wanted = np.unique(self.elements) if elements is None else np.asarray(elements)
        column = np.full(119, -1)
        column[wanted] = np.arange(len(wanted))
        start, stop, _ = frames.indices(len(self))
        entries = slice(self.offsets[start], self.offsets[stop])
        columns = column[self.elements[entries]]
        if len(columns) and columns.min() < 0:
            extra = sorted({int(z) for z in self.elements[entries]} - {int(z) for z in wanted})
            raise DataError(f"the frames have elements {extra} besides those asked for; add them")
        dense = np.zeros((stop - start, len(wanted)))
        dense[np.repeat(np.arange(stop - start), np.diff(self.offsets[start : stop + 1])), columns] = self.counts[
            entries
        ]
        return dense, wanted


def read_index(shards: Sequence[Path]) -> StoreIndex:
    """Read the index of the frames in Parquet shards. Raises `DataError` if a shard is damaged."""
    tables, free_atoms = [], []
    for path in shards:
        try:
            table = pq.read_table(path, columns=[*_COLUMNS, "cell", "pbc"], use_threads=False)
            free_atoms.append(_free_atoms(table))
            tables.append(table.select(_COLUMNS))
        except (OSError, pa.ArrowException, ValueError) as error:
            problem = " ".join(str(error).split())[:120]
            raise DataError(f"{path}: is damaged ({problem}); copy or convert the store again") from None
    table = pa.concat_tables(tables)
    words = {name: _encoded(table[name]) for name in ("material_id", "source", "config_type")}
    sizes = pc.list_value_length(table["elements"]).to_numpy()
    return StoreIndex(
        n_atoms=table["n_atoms"].to_numpy().astype(np.int64),
        energy=pc.fill_null(table["energy"], np.nan).to_numpy(),
        fingerprint=table["fingerprint"].to_numpy(),
        materials=words["material_id"][0],
        material=words["material_id"][1],
        sources=words["source"][0],
        source=words["source"][1],
        config_types=words["config_type"][0],
        config_type=words["config_type"][1],
        offsets=np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
        elements=pc.list_flatten(table["elements"]).to_numpy().astype(np.int64),
        counts=pc.list_flatten(table["counts"]).to_numpy().astype(np.int64),
        free_atom=np.concatenate(free_atoms),
    )


def _free_atoms(table: pa.Table) -> np.ndarray:
    """Return whether each frame is a free atom, [F] bool."""
    free = table["n_atoms"].to_numpy() == 1
    single = np.flatnonzero(free)
    chosen = table.select(["elements", "cell", "pbc"]).take(single).to_pydict()
    rows = zip(single, chosen["elements"], chosen["cell"], chosen["pbc"], strict=True)
    for k, elements, cell, pbc in rows:
        free[k] = is_free_atom(np.array(elements), np.reshape(cell, (3, 3)), np.array(pbc))
    return free


def _encoded(column: pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray]:
    """Return the distinct strings in order of appearance, and the index of each row into them."""
    encoded = pa.chunked_array(column).combine_chunks().dictionary_encode()
    return np.array(encoded.dictionary.to_pylist(), dtype=object), encoded.indices.to_numpy().astype(np.int64)
