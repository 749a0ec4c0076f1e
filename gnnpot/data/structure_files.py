"""Readers of structures without labels, from files in any format that ASE reads.

    atoms = read_structure("POSCAR")
    frames = read_all_structures("NaCl.cif")

Files with partially occupied or mixed sites are rejected: ASE assigns such a site to one element, so that results would
be for a different material. `data.ordering` converts them to ordered structures. Charged structures are also rejected,
and LAMMPS dumps whose types ASE reads as atomic numbers, for want of elements.
"""

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from gnnpot.data.bundled import resolve_bundled
from gnnpot.data.frame import Frame, Provenance
from gnnpot.data.readers.base import open_binary
from gnnpot.data.readers.names import charge_words, total_charge
from gnnpot.data.readers.records import reduced_formula
from gnnpot.data.structure import check_lattice, check_structure
from gnnpot.errors import DataError

_PACKED_XYZ = tuple(f"xyz.{ending}" for ending in ("gz", "xz", "bz2"))
#: largest number of bytes of a line of an XYZ file
LONGEST_LINE = 10_000_000
#: keys of comment lines of extended XYZ that ASE interprets
_OWN_KEY = re.compile(rb"(?i)\b(lattice|pbc)=")
_PERIODIC = re.compile(rb"\bpbc=(\"[^\"]*\"|'[^']*'|\{[^}]*\}|\[[^\]]*\]|\([^)]*\)|\S+)")
_FLAG = rb"(t|f|true|false|0|1)"
_FLAGS = re.compile(rb"\s*%b([\s,]+%b){0,2}\s*" % (_FLAG, _FLAG))
#: tolerance of occupancies: those within it of 1 are full; those of PDB files that are below it are ignored
OCCUPANCY_TOLERANCE = 1e-3


def read_structure(path: Path | str, index: int = -1) -> Atoms:
    """Read one structure of a file, the last one by default. Raises `DataError` if it can't be read or is invalid."""
    atoms = _read(resolve_bundled(path), index)[0]
    check_structure(atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc, str(path))
    return atoms


def read_all_structures(path: Path | str) -> list[Frame]:
    """Read all structures of a file as frames without labels. Raises `DataError` if it can't be read."""
    path = resolve_bundled(path)
    return [
        Frame.from_atoms(
            atoms,
            Provenance(source=path.name, source_id=str(k), material_id=reduced_formula(atoms.numbers)),
            labels=False,
        )
        for k, atoms in enumerate(_read(path, slice(None)))
    ]


def iterate_structures(path: Path | str, check: bool = True) -> Iterator[Atoms]:
    """Iterate over the structures of a file, with one in memory at a time if ASE's reader of the format supports it.

    If `check` is false, structures that gnnpot can't compute are also yielded; `check_computable` detects them. Raises
    `DataError`; for a missing or empty file, it is raised by this call, before the first structure is read.
    """
    path = resolve_bundled(path)
    check_readable(path)
    return _iterate(path, check)


def check_computable(atoms: Atoms, where: str) -> None:
    """Raise `DataError` if ASE `atoms` have partially occupied sites or a charge, or if their structure is invalid."""
    check_full_occupancy(atoms, where)
    check_lattice(atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc, where)


def check_readable(path: Path) -> None:
    """Raise `DataError` if `path` is not a regular file, is empty, or has contents that ASE would misread."""
    if not path.is_file():
        problem = "is no ordinary file" if path.exists() else "there is no such file"
        raise DataError(f"{path}: {problem}; give the path of a file of structures")
    if path.stat().st_size == 0:
        raise DataError(f"{path}: is empty; give a file of structures")
    if path.suffix.lower() in (".xyz", ".extxyz"):
        _check_count(path)
        _check_comments(path)
    if path.name.startswith(("POSCAR", "CONTCAR")) or path.suffix.lower() in (".poscar", ".vasp"):
        _check_counts(path)


def _check_counts(path: Path) -> None:
    """Raise `DataError` for a POSCAR with negative numbers of atoms, which ASE reads as a different structure."""
    with path.open("rb") as file:
        lines = [file.readline(1000).split() for _ in range(7)]
    for words in lines[5:]:
        if words and all(word.lstrip(b"+-").isdigit() for word in words) and any(int(word) < 0 for word in words):
            raise DataError(f"{path}: can't be read: a number of atoms is negative; mend line 6 or 7")


def _check_count(path: Path) -> None:
    """Raise `DataError` if the number of atoms of an XYZ file exceeds its size; ASE would try to read all of them."""
    with path.open("rb") as file:
        first = file.readline(64).strip()
    if first.isdigit() and int(first) > path.stat().st_size // 2:
        raise DataError(f"{path}: can't be read: {int(first)} atoms are announced, and the file is too small for them")


def _check_comments(path: Path) -> None:
    """Raise `DataError` for comment lines that ASE misreads (two lattices, invalid pbc), and for very long lines.

    Reading very long lines would take minutes.
    """
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if len(line) > LONGEST_LINE:
                raise DataError(
                    f"{path}: can't be read: line {number} has {len(line) / 1e6:.0f} MB; remove what is no structure"
                )
            words = line.lower() if _OWN_KEY.search(line) else b""
            if words.count(b"lattice=") > 1:
                raise DataError(f"{path}: line {number} has Lattice= twice; remove the one that is wrong")
            flags = _PERIODIC.search(words)
            if flags and not _FLAGS.fullmatch(flags[1].strip(b"\"'{}[]()")):
                raise DataError(f'{path}: pbc in line {number} is not three flags; write it as pbc="T T F"')


def _iterate(path: Path, check: bool) -> Iterator[Atoms]:
    from ase.io import iread

    found = False
    source, format = _source(path)
    try:
        for number, atoms in enumerate(iread(source, index=":", format=format, do_not_split_by_at_sign=True)):
            check_dump_elements(atoms, path)
            if check:
                check_computable(atoms, f"{path}, frame {number}")
            found = True
            yield atoms
    except DataError:
        raise
    except Exception as error:  # noqa: BLE001 - ASE's readers raise anything that a broken file leads them to
        raise _unreadable(path, error) from None
    if not found:
        raise _no_structures(path)


def _source(path: Path) -> tuple[Any, str | None]:
    """Return the input for ASE, and its format if ASE can't detect it.

    A compressed XYZ file is decompressed first: ASE's reader seeks in it, and each seek decompresses it from the
    beginning. Paths must be read with `do_not_split_by_at_sign`: ASE reads "POSCAR@2" as structure 2 of "POSCAR".
    """
    if not path.name.lower().endswith(_PACKED_XYZ):
        return path, None
    with open_binary(path) as file:
        return io.StringIO(file.read().decode()), "extxyz"


def _no_structures(path: Path) -> DataError:
    return DataError(f"{path}: holds no structures; give a file with at least one")


def _no_such_index(path: Path, index: int) -> DataError:
    return DataError(f"{path}: has no structure of index {index}; give one that it has (--index)")


def _holds_one(path: Path) -> bool:
    """Return whether a file can be read without an index; some readers of ASE fail for all but the last structure."""
    from ase.io import read

    try:
        source, format = _source(path)
        return isinstance(read(source, format=format, do_not_split_by_at_sign=True), Atoms)
    except Exception:  # noqa: BLE001 - ASE's readers raise any exception for a damaged file
        return False


def _unreadable(path: Path, error: Exception) -> DataError:
    """Convert an exception of ASE's readers, whose message is often only a key or a number."""
    words = " ".join(str(error).split())
    reason = (
        words if len(words.split()) > 2 else f"ASE's reader stops at {words}" if words else "it is of another format"
    )
    return DataError(f"{path}: can't be read as a structure ({reason[:300]}); give a file that ASE knows")


def _read(path: Path, index: int | slice) -> Sequence[Atoms]:
    from ase.io import read

    check_readable(path)
    source, format = _source(path)
    try:
        # for a negative index below the range, ASE would return the first structure
        wanted = slice(index, None) if isinstance(index, int) and index < -1 else index
        found: Any = read(source, index=wanted, format=format, do_not_split_by_at_sign=True)
        if isinstance(index, int) and index < -1:
            found = found[:1] if len(found) >= -index else []
    except IndexError as error:
        if isinstance(index, int) and index not in (0, -1):
            raise _no_such_index(path, index) from None
        raise _unreadable(path, error) from None
    except Exception as error:  # noqa: BLE001 - ASE's readers raise anything that a broken file leads them to
        if isinstance(index, int) and index not in (0, -1) and _holds_one(path):
            raise _no_such_index(path, index) from None
        raise _unreadable(path, error) from None
    structures = [found] if isinstance(found, Atoms) else found
    if not structures:
        raise _no_such_index(path, index) if isinstance(index, int) else _no_structures(path)
    for atoms in structures:
        check_dump_elements(atoms, path)
        check_full_occupancy(atoms, str(path))
    return structures


def check_dump_elements(atoms: Atoms, path: Path) -> None:
    """Raise `DataError` if ASE `atoms` are from a LAMMPS dump without elements; ASE reads types as atomic numbers."""
    types = atoms.arrays.get("type")
    if types is None or "timestep" not in atoms.info or not np.array_equal(types, atoms.numbers):
        return
    from ase.io.formats import open_with_compression

    with open_with_compression(str(path), "r") as lines:
        columns: list[str] = next((line.split() for line in lines if line.startswith("ITEM: ATOMS")), [])
    if "element" not in columns and "mass" not in columns:
        raise DataError(
            f"{path}: is a LAMMPS dump with types and no elements; write its column element (dump_modify element), or "
            "give the elements of the types where there is an option for it (--types)"
        )


def check_full_occupancy(atoms: Atoms, where: str) -> None:
    """Raise `DataError` if ASE `atoms` have partially occupied or mixed sites, or a charge."""
    for site, elements in _occupancies(atoms):
        if len(elements) != 1 or abs(next(iter(elements.values())) - 1) > OCCUPANCY_TOLERANCE:
            words = " and ".join(f"{share:g} {element}" for element, share in elements.items())
            raise DataError(
                f"{where}: site {site} is occupied by {words}, and gnnpot computes whole atoms only; order the "
                "structure first: gnnpot data order FILE"
            )
    charge = total_charge(atoms.info)
    if charge:
        raise DataError(f"{where}: {charge_words(charge)}; gnnpot knows no charges, give a neutral structure")


def _occupancies(atoms: Atoms) -> list[tuple[str, Mapping[str, float]]]:
    """Return (site, share of each element); ASE stores them in `info` for CIF, and in an array for PDB."""
    sites = atoms.info.get("occupancy")
    found = [(str(site), elements) for site, elements in sites.items()] if isinstance(sites, Mapping) else []
    for k, share in enumerate(atoms.arrays.get("occupancy", ())):
        # programs without support for occupancies write 0 for all atoms
        if share > OCCUPANCY_TOLERANCE:
            found.append((str(k), {atoms.symbols[k]: float(share)}))
    return found
