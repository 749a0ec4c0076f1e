#!/usr/bin/env python3
"""Read files of other programs, and compare each frame with the values read by ASE, pymatgen or dpdata.

    python scripts/checks/foreign_files.py FOLDER... [--details] [--markdown]

Each file (and DeepMD folder) that a reader of gnnpot accepts is read with `bad_frames="skip"`. Then the energy, forces
and stress of each frame are compared with the other package. Each frame is

    equal      the numbers agree within the digits in the file
    differs    the numbers do not agree, because of a bug in gnnpot or the other package
    refused    gnnpot refuses the frame or the file, with a reason; `oracle reads it` counts those that the other
               package reads
    no oracle  no other package reads the file

The exit status is 1 if a frame differs, or if reading raises anything but a `DataError`.

Requires ase and pymatgen; dpdata is used for DeepMD folders if it is installed. Test files are in the source
distributions on PyPI of ase, phonopy, phono3py, aiida-vasp, parsevasp, dpdata (0.2.13), dpgen (0.10.0), deepmd-kit
(2.1.5), effmass, amset and kliff: `pip download --no-deps --no-binary NAME NAME`, then unpack.
"""

from __future__ import annotations

import argparse
import bz2
import gzip
import lzma
import sys
import tempfile
import traceback
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import ase.io
import numpy as np
from ase import Atoms

from gnnpot.data import Frame, FrameError
from gnnpot.data.readers import Reader, is_frame_folder, reader_of
from gnnpot.data.readers.base import read_numbered
from gnnpot.errors import GnnpotError
from gnnpot.units import KBAR, stress_to_voigt

#: tolerances for rounding and for different physical constants: eV per atom, eV/Å, eV/Å³
ENERGY, FORCES, STRESS = 2e-6, 2e-5, 2e-6
#: relative tolerance for different physical constants (ASE reads Quantum ESPRESSO with those of 2006)
CONSTANTS = 2e-7
#: maximum size of a file, bytes; larger files are skipped
MAX_SIZE = 200_000_000
SKIPPED_ENDINGS = (".py", ".pyc", ".md", ".rst", ".html", ".ipynb", ".json", ".toml", ".cif", ".lock")


@dataclass(frozen=True)
class Labels:
    """Labels of a frame as read by another package; `None` if it reads none."""

    energy: float | None
    forces: np.ndarray | None
    stress: np.ndarray | None  #: [6] eV/Å³


@dataclass
class Tally:
    """Counts for one source and format."""

    files: int = 0
    frames: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    readable: int = 0  #: refused frames that the other package reads


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", nargs="+", type=Path)
    parser.add_argument(
        "--details", action="store_true", help="print a line for each file with a frame that is not equal"
    )
    parser.add_argument("--markdown", action="store_true", help="print the table in Markdown")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    tallies: dict[tuple[str, str], Tally] = defaultdict(Tally)
    details: list[str] = []
    for source, path in candidates(options.paths):
        check(source, path, tallies, details)
    if options.details:
        print("\n".join(details))
    table(tallies, options.markdown)
    total = sum((t.frames for t in tallies.values()), Counter())
    return 1 if total["differs"] or total["crashed"] else 0


def candidates(paths: list[Path]) -> Iterator[tuple[str, Path]]:
    """(source, path) of all files and frame folders below the paths; the source is the first folder below each."""
    for top in paths:
        found = sorted(top.rglob("*")) if top.is_dir() else [top]
        for path in found:
            relative = path.relative_to(top).parts if path != top else (path.name,)
            source = relative[0] if len(relative) > 1 else top.name
            if path.is_dir():
                if is_frame_folder(path):
                    yield source, path
            elif path.name.lower().endswith(SKIPPED_ENDINGS) or path.stat().st_size in range(1, 20):
                continue
            elif path.is_file() and path.stat().st_size <= MAX_SIZE and not path.is_symlink():
                yield source, path


def check(source: str, path: Path, tallies: dict[tuple[str, str], Tally], details: list[str]) -> None:
    """Read one file with both packages, and count the outcomes."""
    try:
        reader = reader_of(path)
    except GnnpotError:
        return
    tally = tallies[source, reader.format]
    tally.files += 1
    ours: dict[int, Frame] = {}
    refused: dict[int, str] = {}
    ended = ""
    try:
        for number, frame in read_numbered(path):
            if isinstance(frame, FrameError):
                refused[number] = frame.reason
            else:
                ours[number] = frame
    except GnnpotError as error:
        ended = str(error).removeprefix(str(path)).lstrip(":, ")
    except Exception as error:  # noqa: BLE001 - this is what is looked for
        tally.frames["crashed"] += 1
        where = traceback.extract_tb(error.__traceback__)[-1]
        details.append(f"CRASHED {source}: {path}: {type(error).__name__}: {error} ({where.filename}:{where.lineno})")
        return
    theirs, problem = oracle(path, reader)
    if list(theirs) != list(ours) and len(theirs) == len(ours):
        # the other package does not count incomplete frames
        theirs = dict(zip(ours, theirs.values(), strict=True))
    verdicts = Counter({"no oracle" if problem else "not there": 0})
    differences: list[str] = []
    for number, frame in ours.items():
        if problem:
            verdicts["no oracle"] += 1
        elif number not in theirs:
            verdicts["not there"] += 1
        elif found := difference(frame, theirs[number]):
            verdicts["differs"] += 1
            differences.append(f"frame {number}: {found}")
        else:
            verdicts["equal"] += 1
    verdicts["refused"] += len(refused)
    tally.refused.update(refused.values())
    tally.readable += sum(1 for number in refused if number in theirs)
    if ended:
        verdicts["file refused"] += 1
        tally.refused[ended[:100]] += 1
        tally.readable += not problem and bool(theirs)
    tally.frames.update(verdicts)
    if differences or refused or ended or verdicts["not there"] or (problem and ours):
        words = ", ".join(f"{n} {verdict}" for verdict, n in verdicts.items() if n)
        more = [*differences[:2], *(f"{n} x {reason}" for reason, n in Counter(refused.values()).items())]
        more += [ended] if ended else []
        more += [f"oracle: {problem or f'{len(theirs)} frames'}"]
        details.append(f"{source} {reader.format}: {path}: {words}: {'; '.join(more)}")


def difference(frame: Frame, labels: Labels) -> str:
    """Description of the differences between a frame and the other package's labels; empty if they agree."""
    found = []
    if (frame.energy is None) != (labels.energy is None):
        found.append(f"energy {frame.energy} and {labels.energy}")
    elif frame.energy is not None and abs(frame.energy - labels.energy) > ENERGY * len(frame) + CONSTANTS * abs(
        frame.energy
    ):
        found.append(f"energy {frame.energy:.6f} and {labels.energy:.6f}")
    for name, tolerance in (("forces", FORCES), ("stress", STRESS)):
        a, b = getattr(frame, name), getattr(labels, name)
        if (a is None) != (b is None):
            found.append(f"{name} {'absent' if a is None else 'there'} and {'absent' if b is None else 'there'}")
        elif a is not None and (
            np.shape(a) != np.shape(b) or np.abs(a - b).max() > tolerance * max(1, np.abs(b).max())
        ):
            found.append(f"{name} by {np.abs(a - b).max():.3g}" if np.shape(a) == np.shape(b) else f"shape of {name}")
    return ", ".join(found)


def oracle(path: Path, reader: type[Reader]) -> tuple[dict[int, Labels], str]:
    """Labels of the frames read by another package, by number; and the reason if there are none."""
    read: dict[str, Callable[[Path], dict[int, Labels]]] = {
        "vasprun": by_pymatgen_or_ase,
        "outcar": lambda p: by_ase(p, "vasp-out"),
        "espresso": lambda p: by_ase(p, "espresso-out"),
        "extxyz": lambda p: by_ase(p, "extxyz"),
        "gpaw": lambda p: by_ase(p, "gpw" if p.name.endswith(".gpw") else "gpaw-out"),
        "ase-traj": lambda p: by_ase(p, "traj"),
        "ase-db": lambda p: by_ase(p, "db"),
        "deepmd": by_dpdata,
    }
    if reader.format not in read:
        return {}, f"none for {reader.format}"
    try:
        return read[reader.format](path), ""
    except Exception as error:  # noqa: BLE001 - the other package raises what it likes
        return {}, f"{type(error).__name__}: {' '.join(str(error).split())[:100]}"


def text_of(path: Path) -> str:
    data = path.read_bytes()
    for magic, module in ((b"\x1f\x8b", gzip), (b"\xfd7zXZ", lzma), (b"BZh", bz2)):
        if data.startswith(magic):
            data = module.decompress(data)
    return data.decode(errors="replace")


def by_ase(path: Path, format: str) -> dict[int, Labels]:
    if format in ("gpw", "traj", "db"):
        frames = ase.io.read(path, ":", format=format)
    else:
        with tempfile.NamedTemporaryFile("w") as file:
            file.write(text_of(path))
            file.flush()
            frames = ase.io.read(file.name, ":", format=format)
    return {k: labels_of(atoms) for k, atoms in enumerate(frames)}


def labels_of(atoms: Atoms) -> Labels:
    results = atoms.calc.results if atoms.calc is not None else {}
    energy = results.get("free_energy", results.get("energy"))
    stress = results.get("stress")
    if stress is not None and np.shape(stress) != (6,):
        stress = stress_to_voigt(np.reshape(stress, (3, 3)))
    return Labels(None if energy is None else float(energy), results.get("forces"), stress)


def by_pymatgen_or_ase(path: Path) -> dict[int, Labels]:
    """pymatgen fails at numbers printed as asterisks in parts of the file without labels; ASE does not."""
    try:
        return by_pymatgen(path)
    except Exception:  # noqa: BLE001 - the other package raises what it likes
        return by_ase(path, "vasp-xml")


def by_pymatgen(path: Path) -> dict[int, Labels]:
    """Labels of each ionic step; the energy is the free energy without the PV term of PSTRESS."""
    from pymatgen.io.vasp import Vasprun

    with tempfile.NamedTemporaryFile("w", suffix=".xml") as file:
        file.write(text_of(path))
        file.flush()
        run = Vasprun(
            file.name, parse_dos=False, parse_eigen=False, parse_projected_eigen=False, parse_potcar_file=False,
            exception_on_bad_xml=False,
        )  # fmt: skip
    pressure = float(run.incar.get("PSTRESS", run.parameters.get("PSTRESS", 0)) or 0)
    found = {}
    for k, step in enumerate(run.ionic_steps):
        structure = step["structure"]
        energy = float(step["e_fr_energy"]) - pressure * KBAR * structure.volume
        forces, stress = step.get("forces"), step.get("stress")
        found[k] = Labels(
            energy,
            None if forces is None or not len(forces) else np.array(forces),
            None if stress is None or not len(stress) else stress_to_voigt(-np.array(stress) * KBAR),
        )
    return found


def by_dpdata(path: Path) -> dict[int, Labels]:
    import dpdata

    system = dpdata.LabeledSystem(str(path), fmt="deepmd/npy").data
    found = {}
    for k, energy in enumerate(system["energies"]):
        stress = None
        if "virials" in system and not system.get("nopbc"):
            stress = -stress_to_voigt(system["virials"][k]) / abs(np.linalg.det(system["cells"][k]))
        found[k] = Labels(float(energy), system["forces"][k], stress)
    return found


def table(tallies: dict[tuple[str, str], Tally], markdown: bool) -> None:
    """Print the counts."""
    head = ("source", "format", "files", "equal", "differs", "refused (oracle reads it)", "no oracle", "reasons")
    rows = [head]
    for (source, format), t in sorted(tallies.items()):
        f = t.frames
        reasons = "; ".join(f"{n} {reason}" for reason, n in t.refused.most_common(6))
        refused = f"{f['refused'] + f['file refused']} ({t.readable})"
        differs = str(f["differs"]) + (f", {f['crashed']} crashed" if f["crashed"] else "")
        alone = str(f["no oracle"] + f["not there"])
        rows.append((source, format, str(t.files), str(f["equal"]), differs, refused, alone, reasons))
    if markdown:
        rows.insert(1, ("---",) * len(head))
        for row in rows:
            print("| " + " | ".join(row) + " |")
        return
    widths = [max(len(row[k]) for row in rows) for k in range(len(head) - 1)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False)) + "  " + row[-1])


if __name__ == "__main__":
    sys.exit(main())
