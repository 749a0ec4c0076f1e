"""Make a pool of distinct ordered crystals, without labels, from open packages.

    python scripts/gnnpot-1/make_pool.py pool.extxyz.gz
    python scripts/gnnpot-1/make_pool.py mine.extxyz.gz --compare pool.extxyz.gz  # how many are in mine

| source                   | what                                                    | licence              |
|--------------------------|---------------------------------------------------------|----------------------|
| matminer 0.3.5, sdist    | crystals of the Materials Project, in four data sets    | BSD; data CC-BY-4.0  |
| jarvis-tools, wheel      | mineral prototypes of JARVIS-DFT                        | NIST, public domain  |
| pymatgen, as installed   | AFLOW's prototypes                                      | MIT                  |
| ase, as installed        | elements of the DeltaCodesDFT collection                | LGPL-2.1+            |
| libavogadro-data, Debian | crystals of the Crystallography Open Database, zeolites | BSD-3; data COD      |

Packages are downloaded as files, verified by their SHA-256, kept in `--cache`, and read as archives; they are neither
installed nor executed. The same command resumes an interrupted download. If Debian can't be reached, the script prints
that this source is skipped, and continues; it is used if the file is put into the cache.

A crystal is kept if it is ordered, has at most 100 atoms in the primitive cell (spglib, symprec 0.1), no two atoms
closer than half the sum of their covalent radii, and 2 to 150 Å³ per atom. Two crystals are considered equal if their
primitive cells contain the same atoms, their space groups are equal, and their volumes per atom differ by less than
12 %; the first in the order of the table is kept. `info` contains source, source_id and spacegroup.
"""

import argparse
import ast
import csv
import gzip
import io
import json
import lzma
import sys
import tarfile
import zipfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from importlib.resources import files
from pathlib import Path

import spglib
from ase import Atoms
from ase.collections import dcdft
from ase.io import read, write
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from gnnpot.data.readers import read_frames
from gnnpot.errors import DataError, DownloadError, GnnpotError
from gnnpot.hub.cache import cache_folder, has_sha256
from gnnpot.hub.download import download
from gnnpot.properties.stability import CLOSEST, closest_approach
from gnnpot.runs.files import write_bytes

SYMPREC = 0.1  #: Å
MOST_ATOMS = 100
VOLUMES = 2.0, 150.0  #: Å³ per atom
SAME_VOLUME = 0.12

#: (id, structure); the structure is made on request, and may turn out to be unreadable
Found = tuple[str, Callable[[], Atoms]]


@dataclass(frozen=True)
class Package:
    """A file of a package index."""

    file: str
    url: str
    size: int  #: bytes
    sha256: str

    def fetch(self, cache: Path, bar: Progress) -> Path:
        """Download and verify the file if needed; returns its path. Raises `DownloadError` or `DataError`."""
        path = cache / self.file
        if has_sha256(path, self.sha256):
            return path
        cache.mkdir(parents=True, exist_ok=True)
        partial = cache / f".{self.file}.{self.sha256[:12]}.part"
        task = bar.add_task(f"fetching {self.file}", total=self.size)
        download(self.url, partial, self.size, lambda _what, done, _total: bar.update(task, completed=done))
        bar.remove_task(task)
        if not has_sha256(partial, self.sha256):
            partial.unlink()
            raise DataError(f"{self.url}: is not the file that was pinned (its sha256 is another); it was not kept")
        partial.replace(path)
        return path


HOST = "https://files.pythonhosted.org/packages"
MATMINER = Package(
    "matminer-0.3.5.tar.gz",
    f"{HOST}/be/14/4ddb6ffb93a49a3350ea805512c94245be3bcdbed5971945f2caa0db3656/matminer-0.3.5.tar.gz",
    8356325,
    "2b4bc1105b6a852caae6d9b5a4a4d09b29d3ca7838c53ee82cd8f9d0661b79b0",
)
JARVIS = Package(
    "jarvis_tools-2026.6.12-py2.py3-none-any.whl",
    f"{HOST}/c9/e8/b1c8a4bac3610b1e2d92af43a751af8467830677a3af26a6f49942bf59e8/"
    "jarvis_tools-2026.6.12-py2.py3-none-any.whl",
    4200993,
    "d1d9e4524ce221df596a7250af0491bdbe74943d2773801f7aab0d53e33c936c",
)
AVOGADRO = Package(
    "libavogadro-data_1.97.0-3_all.deb",
    "http://deb.debian.org/debian/pool/main/a/avogadrolibs/libavogadro-data_1.97.0-3_all.deb",
    261312,
    "3a92f0d4e2bbb9a3b6776998803ae94685ed1560ad6ae873adb0eb9f2c181d6d",
)


def _matminer(name: str) -> Callable[[Path | None], Iterator[Found]]:
    """The crystals of a table in matminer's sdist."""

    def crystals(path: Path) -> Iterator[Found]:
        with tarfile.open(path) as archive:
            text = archive.extractfile(f"matminer-0.3.5/matminer/datasets/{name}.csv").read().decode()
        csv.field_size_limit(1 << 30)
        lines = (line for line in io.StringIO(text) if not line.startswith("# ref"))
        head, *rows = csv.reader(lines)
        for values in rows:
            # two of the tables have a column of row numbers without a header
            row = dict(zip(head, values[len(values) - len(head) :], strict=True))
            # the oldest table contains dictionaries, the others POSCAR files
            make, column = (_from_poscar, "poscar") if "poscar" in row else (_from_dict, "structure")
            yield row["material_id"], partial(make, row[column])

    return crystals


def _from_dict(text: str) -> Atoms:
    return _from_sites(ast.literal_eval(text))


def _from_poscar(text: str) -> Atoms:
    return read(io.StringIO(text.replace("\\n", "\n")), format="vasp")


def _from_sites(mapping: dict) -> Atoms:
    """Convert pymatgen's dictionary of a structure; raises `ValueError` for disordered sites."""
    symbols = []
    for site in mapping["sites"]:
        (species,) = site["species"]
        if species["occu"] != 1:
            raise ValueError("disordered")
        symbols.append(species["element"])
    positions = [site["abc"] for site in mapping["sites"]]
    return Atoms(symbols, scaled_positions=positions, cell=mapping["lattice"]["matrix"], pbc=True)


def _jarvis(path: Path) -> Iterator[Found]:
    with zipfile.ZipFile(path) as wheel:
        inner = zipfile.ZipFile(io.BytesIO(wheel.read("jarvis/core/mineral_name_prototype.json.zip")))
        prototypes = json.loads(inner.read("mineral_name_prototype.json"))
    for rows in prototypes.values():
        for _, _, name, mapping in rows:
            yield name, partial(_from_jarvis, mapping)


def _from_jarvis(mapping: dict) -> Atoms:
    place = {"positions" if mapping["cartesian"] else "scaled_positions": mapping["coords"]}
    return Atoms([e.strip() for e in mapping["elements"]], cell=mapping["lattice_mat"], pbc=True, **place)


def _pymatgen(_: None) -> Iterator[Found]:
    path = files("pymatgen.analysis").joinpath("prototypes/aflow_prototypes.json.gz")
    for entry in json.loads(gzip.decompress(path.read_bytes())):
        yield entry["tags"]["aflow"], partial(_from_sites, entry["snl"])


def _ase(_: None) -> Iterator[Found]:
    for name in dcdft.names:
        yield name, partial(dcdft.__getitem__, name)


def _avogadro(path: Path) -> Iterator[Found]:
    data = _debian_data(path)
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        for member in archive:
            _, found, name = member.name.partition("/crystals/")
            if found and name.endswith(".cif"):
                text = archive.extractfile(member).read().decode(errors="replace")
                yield name, partial(_from_cif, text)


def _debian_data(path: Path) -> bytes:
    """The files of a Debian package, an ar archive, as a tar archive."""
    content, place = path.read_bytes(), 8
    while place < len(content):
        header = content[place : place + 60]
        name, size = header[:16].decode().strip().rstrip("/"), int(header[48:58])
        if name == "data.tar.xz":
            return lzma.decompress(content[place + 60 : place + 60 + size])
        place += 60 + size + size % 2
    raise DataError(f"{path}: holds no data.tar.xz; get the package that is pinned")


def _from_cif(text: str) -> Atoms:
    atoms = read(io.StringIO(text), format="cif")
    occupancy = atoms.info.get("occupancy", {})
    if any(len(site) > 1 or min(site.values()) < 1 for site in occupancy.values()):
        raise ValueError("disordered")
    return Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=True)


@dataclass(frozen=True)
class Source:
    """A source of crystals, with its name for `info["source"]`."""

    name: str
    crystals: Callable[[Path | None], Iterator[Found]]
    package: Package | None = None


SOURCES = (
    *(
        Source(f"matminer0.3.5/{name}", _matminer(name), MATMINER)
        for name in ("elastic_tensor", "dielectric_constant", "piezoelectric_tensor", "flla_2015")
    ),
    Source("jarvis-tools/mineral_prototypes", _jarvis, JARVIS),
    Source("pymatgen/aflow_prototypes", _pymatgen),
    Source("ase/dcdft", _ase),
    Source("debian:libavogadro-data", _avogadro, AVOGADRO),
)


@dataclass
class Pool:
    """Distinct crystals, and counts of the reasons for excluding others."""

    crystals: list[Atoms] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)
    _volumes: dict[tuple, list[float]] = field(default_factory=lambda: defaultdict(list))

    def add(self, found: Found, source: str) -> None:
        """Add a crystal, or count the reason for excluding it."""
        name, make = found
        try:
            atoms = make()
        except Exception:  # noqa: BLE001 - readers raise any exception for a broken or disordered entry
            self.reasons["can't be read, or disordered"] += 1
            return
        cell, reason = primitive(atoms)
        if reason:
            self.reasons[reason] += 1
            return
        key, volume = crystal_key(cell)
        if self.holds(key, volume):
            self.reasons["there already"] += 1
            return
        self._volumes[key].append(volume)
        cell.info |= {"source": source, "source_id": name}
        self.crystals.append(cell)

    def holds(self, key: tuple, volume: float) -> bool:
        """Whether a crystal of this key and volume per atom (Å³) is in the pool."""
        return any(abs(volume / other - 1) < SAME_VOLUME for other in self._volumes.get(key, ()))


def primitive(atoms: Atoms) -> tuple[Atoms, str]:
    """The primitive cell with `info["spacegroup"]`, and the reason if there is none, else an empty text."""
    if not len(atoms) or atoms.cell.rank < 3 or atoms.numbers.min() < 1:
        return atoms, "no cell, or no atoms"
    spglib_cell = (atoms.cell.array, atoms.get_scaled_positions(), atoms.numbers)
    found = spglib.find_primitive(spglib_cell, symprec=SYMPREC)
    dataset = spglib.get_symmetry_dataset(spglib_cell, symprec=SYMPREC)
    if found is None or dataset is None:
        return atoms, "no symmetry found"
    lattice, positions, numbers = found
    cell = Atoms(numbers, scaled_positions=positions, cell=lattice, pbc=True)
    cell.info["spacegroup"] = int(dataset.number)
    if len(cell) > MOST_ATOMS:
        return cell, f"more than {MOST_ATOMS} atoms"
    if not VOLUMES[0] <= cell.get_volume() / len(cell) <= VOLUMES[1]:
        return cell, "volume per atom that no crystal has"
    if closest_approach(cell) < CLOSEST:
        return cell, "atoms too close"
    return cell, ""


def crystal_key(cell: Atoms) -> tuple[tuple, float]:
    """A key that is the same for equal crystals, and the volume per atom, Å³."""
    counts = tuple(sorted(Counter(cell.numbers.tolist()).items()))
    return (counts, int(cell.info["spacegroup"])), cell.get_volume() / len(cell)


def _compare(pool: Pool, path: Path) -> tuple[int, int]:
    """Number of crystals of another pool that are in this one, by the same criterion, and that pool's size."""
    there = total = 0
    for frame in read_frames(path):
        cell, reason = primitive(frame.to_atoms())
        total += 1
        there += not reason and pool.holds(*crystal_key(cell))
    return there, total


def make_pool(options: argparse.Namespace, console: Console) -> Pool:
    """Read all sources; a source that can't be reached is reported and skipped."""
    pool = Pool()
    table = Table("source", "crystals", "kept")
    columns = (TextColumn("{task.description}"), BarColumn(30), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, TextColumn("left"), TimeRemainingColumn(), console=console) as bar:
        for source in SOURCES:
            try:
                path = source.package and source.package.fetch(options.cache, bar)
            except DownloadError as error:
                console.print(f"{source.name}: left out ({error})", highlight=False)
                continue
            found = list(source.crystals(path))[: options.limit]
            before = len(pool.crystals)
            for one in bar.track(found, description=source.name):
                pool.add(one, source.name)
            table.add_row(source.name, str(len(found)), str(len(pool.crystals) - before))
    console.print(table)
    return pool


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("--cache", type=Path, default=cache_folder() / "pool", help="folder in which packages are kept")
    parser.add_argument("--limit", type=int, help="maximum number of crystals per source; default: all")
    parser.add_argument("--compare", type=Path, help="another pool, to compare with")
    options = parser.parse_args(arguments)
    console = Console()
    try:
        pool = make_pool(options, console)
        text = io.StringIO()
        write(text, pool.crystals, format="extxyz")
        write_bytes(options.output, gzip.compress(text.getvalue().encode(), mtime=0))
        for reason, count in pool.reasons.most_common():
            console.print(f"left out: {count} ({reason})", highlight=False)
        elements = {z for atoms in pool.crystals for z in atoms.numbers}
        console.print(f"{options.output}: {len(pool.crystals)} crystals, {len(elements)} elements", highlight=False)
        if options.compare is not None:
            there, total = _compare(pool, options.compare)
            console.print(f"{options.compare}: {there} of {total} are in it", highlight=False)
    except GnnpotError as error:
        Console(stderr=True, soft_wrap=True).print(f"error: {error}", markup=False, highlight=False)
        sys.exit(1)


if __name__ == "__main__":
    main()
