"""Readers: files of other programs -> a stream of frames. A new reader is one new file in this folder.

    for frame in read_frames("vasprun.xml.gz"):
        ...
    frames = read_frames("train.extxyz.gz", energy_key="REF_energy", stress="vasp-kbar")
    frames = read_files(paths, bad_frames="skip", skipped=Counter())     # without files that can't be read

Every module here that holds a subclass of `Reader` is a format, and so are entry points `gnnpot.readers` of other
packages, which are looked at where none of these fits. Each says in its
docstring, and in `stress_convention`, how its files write stress; other conventions are given with `stress=`. A file
whose name tells nothing is known by how it begins. `.gz` below stands for `.xz` and `.bz2` as well.

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
| `n2p2`     | `input.data…`, `.data`, also `.gz`       | the format has none                                         |
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
