"""Readers: files of other programs -> a stream of frames. A new reader is one new file in this folder.

    for frame in read_frames("train.extxyz.gz", energy_key="REF_energy", stress="vasp-kbar"):
        ...

Every module here that holds a subclass of `Reader` is a format; nothing else has to be told of it. Each says in its
docstring, and in `stress_convention`, how its files write stress; other conventions are given with `stress=`.

| format   | names                                        | stress                                                    |
|----------|----------------------------------------------|-----------------------------------------------------------|
| `extxyz` | `.extxyz`, `.xyz`, also `.gz`                | `stress`: eV/Å³, tension positive; `virial`: eV, -dE/dε   |
| `ase-db` | `.db`                                        | eV/Å³, tension positive, xx yy zz yz xz xy (or 3x3)       |
| `n2p2`   | `input.data…`, `.data`, also `.gz`           | the format has none                                       |
"""

from gnnpot.data.readers.base import Reader, formats, read_frames
from gnnpot.data.readers.records import PROVENANCE_KEYS, RecordOptions, reduced_formula

__all__ = ["PROVENANCE_KEYS", "Reader", "RecordOptions", "formats", "read_frames", "reduced_formula"]
