"""Sequence of structures from a file or a store, and a hash that identifies them."""

import functools
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import overload

import numpy as np
from ase import Atoms

from gnnpot.data.bundled import resolve_bundled
from gnnpot.data.frame import Frame
from gnnpot.data.manifest import MANIFEST
from gnnpot.data.store import FrameStore
from gnnpot.data.structure_files import iterate_structures
from gnnpot.data.structures import StructureLike, as_atoms


class Structures(Sequence[Atoms]):
    """Structures to be computed, without labels.

    Args:
        source: ASE `Atoms`, pymatgen structures or frames; frames of a store are read when they are needed.
    """

    def __init__(self, source: Sequence[StructureLike]) -> None:
        self._source = source

    def __len__(self) -> int:
        return len(self._source)

    @overload
    def __getitem__(self, k: int) -> Atoms: ...
    @overload
    def __getitem__(self, k: slice) -> list[Atoms]: ...
    def __getitem__(self, k: int | slice) -> Atoms | list[Atoms]:
        if isinstance(k, slice):
            return [self[i] for i in range(*k.indices(len(self)))]
        found = self._source[k]
        atoms = as_atoms(found).copy()
        atoms.calc = None
        if isinstance(found, Frame):
            p = found.provenance
            words = {"source": p.source, "source_id": p.source_id, "material_id": p.material_id}
            atoms.info.update({name: word for name, word in words.items() if word})
        return atoms

    @functools.cached_property
    def sha256(self) -> str:
        """Hash of everything in the structures that can affect a result, and of their `info`."""
        if isinstance(self._source, FrameStore):
            return self._source.sha256
        digest = hashlib.sha256()
        for atoms in self:
            moments, charges = atoms.get_initial_magnetic_moments(), atoms.get_initial_charges()
            for array in (atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc, moments, charges):
                digest.update(np.ascontiguousarray(array).tobytes())
            held = [constraint.todict() for constraint in atoms.constraints]
            digest.update(json.dumps([held, atoms.info], default=str, sort_keys=True).encode())
        return digest.hexdigest()


def open_structures(path: Path | str) -> Structures:
    """Open the structures of a store, or of a file in any format that ASE reads.

    Structures that gnnpot can't compute, for instance those with partially occupied sites, are included.

    Args:
        path: Folder of a store, a file, or `bundled:NAME`.

    Returns:
        The structures, in order.

    Raises:
        DataError: The file or store can't be read.
    """
    path = resolve_bundled(path)
    if (path / MANIFEST).is_file():
        return Structures(FrameStore(path))
    return Structures(list(iterate_structures(path, check=False)))
