"""Conversion of structures to and from JSON, as sent to the page and saved by the server.

Example::

    payload = to_payload(atoms)        # numbers, positions (base64 of float64), cell, pbc, fixed
    atoms = to_atoms(payload)
"""

import base64
from typing import Any

import numpy as np
from ase import Atoms
from ase.constraints import FixAtoms


def encode(array: np.ndarray, dtype: str) -> str:
    """Encode an array as base64 of its little-endian bytes."""
    return base64.b64encode(np.ascontiguousarray(array, dtype=np.dtype(dtype).newbyteorder("<")).tobytes()).decode()


def decode(text: str, dtype: str) -> np.ndarray:
    """Decode an array from base64 of its little-endian bytes; the result has one dimension."""
    return np.frombuffer(base64.b64decode(text), dtype=np.dtype(dtype).newbyteorder("<")).astype(dtype)


def cell_of(atoms: Atoms) -> list[list[float]] | None:
    """Return the cell vectors as rows, or `None` without a three-dimensional cell."""
    return [[float(x) for x in row] for row in atoms.cell.array] if atoms.cell.rank == 3 else None


def to_payload(atoms: Atoms) -> dict[str, Any]:
    """Convert a structure to the values that `to_atoms` needs, with formula and cell parameters for the page."""
    fixed = sorted({int(i) for c in atoms.constraints if isinstance(c, FixAtoms) for i in c.index})
    cell = cell_of(atoms)
    return {
        "numbers": [int(z) for z in atoms.numbers],
        "positions": encode(atoms.positions, "float64"),
        "cell": cell,
        "pbc": [bool(p) for p in atoms.pbc] if cell else [False] * 3,
        "fixed": fixed,
        "formula": atoms.get_chemical_formula(),
        "cellpar": [round(float(x), 4) for x in atoms.cell.cellpar()] if cell else None,
    }


def to_atoms(payload: dict[str, Any]) -> Atoms:
    """Convert the values of `to_payload` to a structure."""
    positions = decode(payload["positions"], "float64").reshape(-1, 3)
    atoms = Atoms(payload["numbers"], positions=positions, cell=payload["cell"], pbc=payload["pbc"])
    if payload["fixed"]:
        atoms.set_constraint(FixAtoms(payload["fixed"]))
    return atoms
