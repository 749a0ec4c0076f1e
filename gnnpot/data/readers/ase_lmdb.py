"""Reader of ASE-LMDB files (`.aselmdb`), the format of OMat24, OMol25, sAlex and other data sets of fairchem.

Units and signs are those of ASE: eV, Å, stress in eV/Å³, positive under tension, xx yy zz yz xz xy or 3x3. Labels are
the stored calculator results; other keys are looked up in the key-value pairs and the data of the row.

It requires the package ase-db-backends, an extra: pip install "gnnpot[data]". Rows are JSON; no code of a file is
executed.
"""

import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from gnnpot.data.frame import FrameError
from gnnpot.data.readers.ase_db import record_of
from gnnpot.data.readers.base import DAMAGE, Reader
from gnnpot.data.readers.records import Record
from gnnpot.data.stress import PRESETS, StressConvention
from gnnpot.errors import DataError
from gnnpot.extras import needs_extra


@dataclass(frozen=True)
class AseLmdbReader(Reader):
    """`format="ase-lmdb"`."""

    format: ClassVar[str] = "ase-lmdb"
    stress_convention: ClassVar[StressConvention | None] = PRESETS["ase"]

    select: str = ""  #: a selection in the syntax of `ase.db`, such as "natoms<50"; all rows are read to evaluate it

    @classmethod
    def matches(cls, name: str) -> bool:
        return name.endswith(".aselmdb")

    def records(self) -> Iterator[Record | FrameError]:
        with needs_extra(f"{self.path}: ASE-LMDB files"):
            import lmdb
            from ase_db_backends.aselmdb import LMDBDatabase
        try:
            self._check_length(lmdb)
            database = LMDBDatabase(self.path, use_lock_file=False, serial=True, readonly=True)
            try:
                for row in database.select(self.select or None):
                    yield record_of(row)
            finally:
                database.close()
        except (lmdb.Error, OSError, zlib.error, *DAMAGE) as error:
            problem = " ".join(str(error).split())[:160]
            raise DataError(
                f"{self.path}: can't be read as an ASE-LMDB database ({problem}); check that it is one and is complete"
            ) from None

    def _check_length(self, lmdb: Any) -> None:
        """Raise `EOFError` for a truncated file; reading the memory map beyond its end would kill the process."""
        with lmdb.open(os.fspath(self.path), subdir=False, readonly=True, lock=False) as environment:
            length = (environment.info()["last_pgno"] + 1) * environment.stat()["psize"]
        if self.path.stat().st_size < length:
            raise EOFError(f"it ends after {self.path.stat().st_size:,} of {length:,} bytes")
