"""Readers of files of other programs, which yield frames. To add a reader, add a module to this folder.

    for frame in read_frames("vasprun.xml.gz"):
        ...
    frames = read_frames("train.extxyz.gz", energy_key="REF_energy", stress="vasp-kbar")
    frames = read_files(paths, bad_frames="skip", skipped=Counter())     # skips files that can't be read

Each subclass of `Reader` in a module of this folder defines a format, as do the entry points `gnnpot.readers` of other
packages, which are used for files that no reader of gnnpot matches. The docstring and the attribute `stress_convention`
of a reader give the stress convention of its files; use `stress=` for others. The format is determined from the name of
a file, or else from its first bytes. Below, `.gz` also stands for `.xz` and `.bz2`.

| format     | names                                    | stress                                                      |
|------------|------------------------------------------|-------------------------------------------------------------|
| `extxyz`   | `.extxyz`, `.xyz`, also `.gz`            | `stress`: eV/Å³, tension positive; `virial`: eV, -dE/dε     |
| `ase-db`   | `.db`                                    | eV/Å³, tension positive, xx yy zz yz xz xy (or 3x3)         |
| `ase-lmdb` | `.aselmdb`                               | eV/Å³, tension positive, xx yy zz yz xz xy (or 3x3)         |
| `ase-traj` | `.traj`                                  | eV/Å³, tension positive, xx yy zz yz xz xy                  |
| `vasprun`  | `vasprun….xml`, also `.gz`               | kbar, compression positive, 3x3                             |
| `outcar`   | `OUTCAR…`, also `.gz`                    | kbar, compression positive, xx yy zz xy yz zx               |
| `espresso` | `.pwo`, output of `pw.x`, also `.gz`     | Ry/Bohr³, compression positive, 3x3                         |
| `gpaw`     | `.gpw`; text output, also `.gz`          | eV/Å³, tension positive                                     |
| `deepmd`   | a folder with `type.raw`, or of such     | `virial`: eV, -dE/dε                                        |
| `n2p2`     | `input.data…`, `.data`, also `.gz`       | not part of the format                                      |
"""

from gnnpot.data.readers.base import Reader, formats, has_reader, is_frame_folder, read_files, read_frames, reader_of
from gnnpot.data.readers.records import PROVENANCE_KEYS, Record, RecordOptions, reduced_formula

__all__ = [
    "PROVENANCE_KEYS",
    "Reader",
    "Record",
    "RecordOptions",
    "formats",
    "has_reader",
    "is_frame_folder",
    "read_files",
    "read_frames",
    "reader_of",
    "reduced_formula",
]
