"""Lossless conversion of frames to rows of an Arrow table and back.

| column                                     | type              | null                          |
|--------------------------------------------|-------------------|-------------------------------|
| numbers                                    | list<int16>       | never                         |
| positions                                  | list<double>, 3N  | never                         |
| cell                                       | list<double>[9]   | never                         |
| pbc                                        | list<bool>[3]     | never                         |
| energy, forces, … (`data.quantities`)      | double, or a list | no label                      |
| n_atoms, elements, counts                  | int, lists of int | never; read by the index      |
| fingerprint                                | int64             | never; see `fingerprint`      |
| source … config_type (the provenance)      | string            | never, "" if unknown          |
| hubbard_u                                  | string, JSON      | not specified by the source   |
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import numpy as np
import pyarrow as pa

from gnnpot.data.frame import Frame, Provenance
from gnnpot.data.quantities import ATTRIBUTES, QUANTITIES, Quantity, fields_of

_WORDS = tuple(f.name for f in fields(Provenance) if f.name != "hubbard_u")

#: columns with few distinct values, stored with dictionary encoding
REPEATED = [*(name for name in _WORDS if name != "source_id"), "hubbard_u"]


def schema() -> pa.Schema:
    """Return the schema of a store."""
    return pa.schema(
        [
            pa.field("numbers", pa.list_(pa.int16()), nullable=False),
            pa.field("positions", pa.list_(pa.float64()), nullable=False),
            pa.field("cell", pa.list_(pa.float64(), 9), nullable=False),
            pa.field("pbc", pa.list_(pa.bool_(), 3), nullable=False),
            *(
                pa.field(name, pa.list_(pa.float64()) if _is_list(quantity) else pa.float64())
                for name, quantity in QUANTITIES.items()
            ),
            pa.field("n_atoms", pa.int32(), nullable=False),
            pa.field("elements", pa.list_(pa.int16()), nullable=False),
            pa.field("counts", pa.list_(pa.int32()), nullable=False),
            pa.field("fingerprint", pa.int64(), nullable=False),
            *(pa.field(name, pa.string(), nullable=False) for name in _WORDS),
            pa.field("hubbard_u", pa.string()),
        ]
    )


def double_columns() -> list[str]:
    """Return the columns of doubles, which compress better with byte stream split encoding."""
    lists = ["positions", "cell", *(name for name, quantity in QUANTITIES.items() if _is_list(quantity))]
    return [f"{name}.list.element" for name in lists] + [n for n, q in QUANTITIES.items() if not _is_list(q)]


def required_columns() -> list[str]:
    """Return the columns that every shard has; columns of labels that were added later may be missing."""
    return [name for name in schema().names if name not in QUANTITIES or name in ATTRIBUTES]


def _is_list(quantity: Quantity) -> bool:
    return bool(quantity.shape_of(1))


def fingerprint(frame: Frame) -> int:
    """Return a 64-bit hash of the structure: numbers, pbc, and positions and cell to 1e-5 Å, in the order of the atoms.

    It does not depend on the labels. Two different structures have the same hash with a probability of 2^-64.
    """
    digest = hashlib.blake2b(frame.numbers.astype("<i2").tobytes(), digest_size=8)
    for array in (frame.positions, frame.cell):
        digest.update(np.rint(array * 1e5).astype("<i8").tobytes())
    digest.update(frame.pbc.tobytes())
    return int.from_bytes(digest.digest(), "little", signed=True)


def to_table(frames: Sequence[Frame]) -> pa.Table:
    """Convert frames to an Arrow table with the columns of `schema`."""
    compositions = [np.unique(f.numbers, return_counts=True) for f in frames]
    columns: dict[str, Any] = {
        "numbers": [f.numbers for f in frames],
        "positions": [f.positions.ravel() for f in frames],
        "cell": [f.cell.ravel() for f in frames],
        "pbc": [f.pbc for f in frames],
        **_label_columns(frames),
        "n_atoms": [len(f) for f in frames],
        "elements": [elements for elements, _ in compositions],
        "counts": [counts for _, counts in compositions],
        "fingerprint": [fingerprint(f) for f in frames],
        "hubbard_u": [
            None if f.provenance.hubbard_u is None else json.dumps(dict(f.provenance.hubbard_u), sort_keys=True)
            for f in frames
        ],
    }
    columns |= {name: [getattr(f.provenance, name) for f in frames] for name in _WORDS}
    fields = schema()
    return pa.table([pa.array(columns[f.name], type=f.type) for f in fields], schema=fields)


def _label_columns(frames: Sequence[Frame]) -> dict[str, list]:
    labels = [frame.labels for frame in frames]
    return {
        name: [None if name not in row else np.ravel(row[name]) if _is_list(quantity) else row[name] for row in labels]
        for name, quantity in QUANTITIES.items()
    }


def to_frames(table: pa.Table) -> list[Frame]:
    """Convert a table of `to_table` to frames, which are not checked again."""
    n = table.num_rows
    words = {name: table[name].to_pylist() for name in (*_WORDS, "hubbard_u")}
    columns: dict[str, Any] = {
        "numbers": [x.astype(np.int64) for x in _known_lists(table["numbers"])],
        "positions": [x.reshape(-1, 3) for x in _known_lists(table["positions"])],
        "cell": [x.reshape(3, 3) for x in _known_lists(table["cell"])],
        "pbc": _lists(table["pbc"]),
    }
    labels = {name: _labels(table[name], q) for name, q in QUANTITIES.items() if name in table.schema.names}
    frames = []
    for k in range(n):
        u = words["hubbard_u"][k]
        provenance = Provenance(
            **{name: words[name][k] for name in _WORDS}, hubbard_u=None if u is None else json.loads(u)
        )
        given = fields_of({name: column[k] for name, column in labels.items()})
        given |= {name: column[k] for name, column in columns.items()}
        frames.append(Frame.trusted(provenance=provenance, **given))
    return frames


def _labels(column: pa.ChunkedArray, quantity: Quantity) -> list:
    """Return the labels of all rows, `None` for rows without one."""
    if not _is_list(quantity):
        return column.to_pylist()
    shape = quantity.shape if quantity.per == "structure" else (-1, *quantity.shape)
    return [None if values is None else values.reshape(shape) for values in _lists(column)]


def _known_lists(column: pa.ChunkedArray) -> list[np.ndarray]:
    """As `_lists`, for a column without nulls. Raises `ValueError` for a null."""
    found = [x for x in _lists(column) if x is not None]
    if len(found) != len(column):
        raise ValueError("a row has no value where all have one")
    return found


def _lists(column: pa.ChunkedArray) -> list[np.ndarray | None]:
    """Convert a list column to one writable array per row, `None` for nulls."""
    array = column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], type=column.type)
    valid = array.is_valid().to_numpy(zero_copy_only=False)
    if isinstance(array, pa.FixedSizeListArray):
        values = array.flatten().to_numpy(zero_copy_only=False).reshape(-1, array.type.list_size)
        return [row.copy() for row in values]
    offsets = array.offsets.to_numpy()
    values = array.values.to_numpy(zero_copy_only=False)
    rows = zip(valid, offsets[:-1], offsets[1:], strict=True)
    return [values[a:b].copy() if ok else None for ok, a, b in rows]
