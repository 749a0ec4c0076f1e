"""Reader of SQLite databases of ASE (`ase.db`).

Units and signs are those of ASE: eV, Å, stress in eV/Å³, positive under tension, xx yy zz yz xz xy or 3x3. Labels are
the stored calculator results; other keys are looked up in the key-value pairs and the data of the row.
"""

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from gnnpot.data.frame import FrameError
from gnnpot.data.readers.base import DAMAGE, Reader
from gnnpot.data.readers.records import Record, fixed_atoms
from gnnpot.data.stress import PRESETS, StressConvention
from gnnpot.errors import DataError

if TYPE_CHECKING:
    from ase.db.row import AtomsRow

#: number of rows fetched at a time; `select` without a limit would fetch the whole database
BLOCK = 256


@dataclass(frozen=True)
class AseDbReader(Reader):
    """`format="ase-db"`."""

    format: ClassVar[str] = "ase-db"
    stress_convention: ClassVar[StressConvention | None] = PRESETS["ase"]

    select: str = ""  #: a selection in the syntax of `ase.db`, such as "natoms<50"

    @classmethod
    def matches(cls, name: str) -> bool:
        return name.endswith(".db")

    def records(self) -> Iterator[Record | FrameError]:
        import ase.db

        try:
            database = ase.db.connect(self.path, type="db", use_lock_file=False)
            last = 0
            while True:
                query = ",".join(part for part in (self.select, f"id>{last}") if part)
                rows = list(database.select(query, limit=BLOCK))
                if not rows:
                    return
                yield from map(record_of, rows)
                last = rows[-1].id
        except (sqlite3.Error, OSError, *DAMAGE) as error:
            raise DataError(
                f"{self.path}: can't be read as an ASE database ({error}); check that it is one and is complete"
            ) from None


def record_of(row: "AtomsRow") -> Record:
    """Convert a database row to a record with all of its values, under their names in the database."""
    atoms = row.toatoms()
    extra = {**row.data, **row.key_value_pairs}
    results = dict(atoms.calc.results) if atoms.calc is not None else {}
    values = {**extra, **results}
    if "source_id" not in values:
        values["source_id"] = str(row.id)
    return Record(atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc, values, values, fixed_atoms(atoms))
