"""Worker process, which opens the model, computes structures, and returns a record of each.

Example::

    worker = ManyWorker(Relaxing(RelaxConfig()), Model(make, "fast"))
    worker([(0, atoms), (1, atoms)])
"""

import contextlib
import io
import json
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator
from ase.io.extxyz import write_xyz

from gnnpot.data.structure_files import check_computable
from gnnpot.errors import ConfigError
from gnnpot.sampling.labeller_names import describe
from gnnpot.workflows.many.calculations import Calculation

#: index of a structure, and the structure
Content = tuple[int, Atoms]


@dataclass(frozen=True)
class Model:
    """Model for the calculations, which each worker process opens.

    Args:
        make: Makes the calculator; it must be importable in the workers.
        given: Name or path of the model, or `module:Class`.
        name: Full name, with version and sha256 of the weights; by default, that of the calculator from `make`.
    """

    make: Callable[[], BaseCalculator]
    given: str
    name: str = field(default="")

    def __post_init__(self) -> None:
        if not self.name:
            object.__setattr__(self, "name", describe(self.given, self.make())[0])

    def open(self) -> BaseCalculator:
        """Make the calculator. Raises `ConfigError` if its weights or version differ from those in `name`."""
        calculator = self.make()
        if (found := describe(self.given, calculator)[0]) != self.name:
            raise ConfigError(
                f"model: a worker has {found} in place of {self.name}; give it the same files and versions"
            )
        return calculator


class ManyWorker:
    """Computes structures; a record contains the result of a structure, or the reason why it failed."""

    def __init__(self, calculation: Calculation, model: Model) -> None:
        self.calculation = calculation
        self._calculator = model.open()

    def __call__(self, contents: Sequence[Content]) -> list[bytes]:
        """Compute structures, and return a record of each; see `unpack`."""
        if len(contents) > 1:
            # if a batch fails, each structure is computed by itself, so that only the rows that fail have an error
            with contextlib.suppress(Exception):
                return self._records(contents)
        return [self._record(content) for content in contents]

    def _record(self, content: Content) -> bytes:
        try:
            return self._records([content])[0]
        except Exception as error:  # noqa: BLE001 - calculators of other packages raise anything
            words = " ".join(str(error).split())
            # without the type of the error, as the message of a GnnpotError is complete
            return failure(content, words or type(error).__name__)

    def _records(self, contents: Sequence[Content]) -> list[bytes]:
        for number, atoms in contents:
            check_computable(atoms, f"structure {number}")
        found = self.calculation([atoms.copy() for _, atoms in contents], self._calculator)
        pairs = zip(contents, found, strict=True)
        return [_pack(_about(number, given), row, atoms) for (number, given), (row, atoms) in pairs]


def failure(content: Content, reason: str) -> bytes:
    """Record of a structure that could not be computed."""
    number, atoms = content
    return _pack({**_about(number, atoms), "error": reason}, {}, _plain(atoms))


def unpack(record: bytes) -> tuple[dict[str, Any], bytes]:
    """Row of the table, and structure as extended XYZ, of a record; the row of a failure has an `error`."""
    (length,) = struct.unpack_from("<I", record)
    return json.loads(record[4 : 4 + length]), record[4 + length :]


def _pack(about: dict[str, Any], row: dict[str, Any], atoms: Atoms) -> bytes:
    words = json.dumps({**about, **row}).encode()
    marked = {"structure": about["structure"], "error": about["error"], **row}
    marked.pop("result_json", None)
    atoms.info.update({name: value for name, value in marked.items() if isinstance(value, (bool, int, float, str))})
    text = io.StringIO()
    write_xyz(text, [atoms])
    return struct.pack("<I", len(words)) + words + text.getvalue().encode()


def _about(number: int, atoms: Atoms) -> dict[str, Any]:
    """Columns that all rows have, and those of the structure's `info`."""
    plain = {k: v.item() if isinstance(v, np.generic) else v for k, v in atoms.info.items()}
    given = {f"info_{k}": v for k, v in plain.items() if isinstance(v, (bool, int, float, str))}
    return {
        "structure": number,
        "formula": atoms.get_chemical_formula(),
        "atoms": len(atoms),
        "error": None,
        **given,
    }


def _plain(atoms: Atoms) -> Atoms:
    """Structure without further arrays and info, which may be the reason for a failure and could not be written."""
    return Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
