"""Input files of tries: valid files, and files with one error each.

    Files(folder).put("cu.cif", into)

Most are made once and copied. FIFOs, links and read-only folders can't be copied, and are made in place.
"""

from __future__ import annotations

import gzip
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.io import write
from ase.io.trajectory import Trajectory

from bad_input_cases.bad_files import TEXTS
from bad_input_cases.vasp import vasp_texts


def labelled(count: int = 12, symbol: str = "Cu", seed: int = 0) -> list[Atoms]:
    """Frames of a metal with the labels of ASE's EMT."""
    random, frames = np.random.default_rng(seed), []
    for _ in range(count):
        atoms = bulk(symbol, cubic=True)
        atoms.set_cell(atoms.cell * random.uniform(0.97, 1.05), scale_atoms=True)
        atoms.rattle(0.08, rng=random)
        atoms.calc = EMT()
        atoms.get_potential_energy(), atoms.get_forces(), atoms.get_stress()
        frames.append(atoms)
    return frames


def _copper(path: Path) -> None:
    atoms = bulk("Cu", cubic=True, a=3.55)
    atoms.rattle(0.02, seed=1)
    write(path, atoms)


def _trajectory(path: Path) -> None:
    with Trajectory(str(path), "w") as frames:
        for atoms in labelled(3):
            frames.write(atoms)


def _long_wire(path: Path) -> None:
    atoms = Atoms("Cu2", [[0, 0, 0], [0, 0, 2.4]], cell=[10, 10, 3000.0], pbc=[False, False, True])
    write(path, atoms, format="extxyz")


def _far_molecules(path: Path) -> None:
    water, other = molecule("H2O"), molecule("H2O")
    other.positions += [0, 3000.0, 0]
    write(path, water + other, format="extxyz")


def _line(path: Path) -> None:
    count = 400
    positions = np.zeros((count, 3))
    positions[:, 0] = np.linspace(0, 1e5, count)
    write(path, Atoms(f"Cu{count}", positions), format="extxyz")


def _dense(path: Path) -> None:
    random = np.random.default_rng(0)
    write(path, Atoms("Cu3000", random.uniform(0, 3.0, (3000, 3)), cell=[3] * 3, pbc=True), format="extxyz")


def _crowd(path: Path) -> None:
    write(path, Atoms("Cu2000", np.zeros((2000, 3)), cell=[30] * 3, pbc=True), format="extxyz")


def _store(path: Path, **options: object) -> None:
    from gnnpot.data import Frame, Provenance, write_store

    frames = [
        Frame.from_atoms(atoms, Provenance(source="emt", source_id=str(k), material_id=f"m{k // 2}"))
        for k, atoms in enumerate(labelled(20))
    ]
    write_store(frames, path, **options)


def _checkpoint(path: Path) -> None:
    from gnnpot.data.references import ElementReferences
    from gnnpot.hub.checkpoint import Card, save_checkpoint
    from gnnpot.models.m3gnet import M3GNet, M3GNetConfig
    from gnnpot.potential import Potential

    model = M3GNet(M3GNetConfig(elements=("Cu",), units=8, blocks=1, max_n=2, max_l=2))
    references = ElementReferences.from_mapping({"energies": {"Cu": -0.1}})
    save_checkpoint(path, Potential(model, references), Card(name="tiny", licence="MIT"))


def _flipped_store(path: Path) -> None:
    _store(path)
    shard = next(path.glob("*.parquet"))
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(data)


def _other_manifest(path: Path) -> None:
    _store(path)
    manifest = path / "manifest.json"
    content = json.loads(manifest.read_text())
    content["frames"] = 19
    manifest.write_text(json.dumps(content))


def _flipped_checkpoint(path: Path) -> None:
    _checkpoint(path)
    weights = next(p for p in path.iterdir() if p.suffix != ".json")
    data = bytearray(weights.read_bytes())
    data[-20] ^= 1
    weights.write_bytes(data)


def _symbolic(path: Path) -> None:
    path.symlink_to("nowhere-at-all")


def _to_copper(path: Path) -> None:
    _copper(path.with_name("target.cif"))
    path.symlink_to("target.cif")


def _user_folder(path: Path) -> None:
    (path / "data").mkdir(parents=True)
    (path / "data" / "thesis.txt").write_text("years of work\n")
    (path / "report").mkdir()
    (path / "report" / "report.html").write_text("<p>mine</p>\n")
    (path / "config.yaml").write_text("mine: true\n")


def _frames(path: Path) -> None:
    write(path, labelled(12), format="extxyz")


def _compressed(path: Path) -> None:
    plain = path.with_name("plain.extxyz")
    _frames(plain)
    data = gzip.compress(plain.read_bytes(), mtime=0)
    plain.unlink()
    path.write_bytes(data[: len(data) // 2])


#: functions that make each file or folder, by name
MADE: dict[str, Callable[[Path], None]] = {
    "cu.cif": _copper,
    "cu.traj": _trajectory,
    "frames.extxyz": _frames,
    "other.extxyz": lambda path: write(path, labelled(12, seed=5), format="extxyz"),
    "ni.extxyz": lambda path: write(path, labelled(6, "Ni"), format="extxyz"),
    "nacl.cif": lambda path: write(path, bulk("NaCl", "rocksalt", a=5.64, cubic=True)),
    "mg.cif": lambda path: write(path, bulk("Mg")),
    "cut.extxyz.gz": _compressed,
    "wire.extxyz": _long_wire,
    "apart.extxyz": _far_molecules,
    "line.extxyz": _line,
    "dense.extxyz": _dense,
    "crowd.extxyz": _crowd,
    "cu.store": _store,
    "shards.store": lambda path: _store(path, shard_size=1),
    "flipped.store": _flipped_store,
    "manifest.store": _other_manifest,
    "tiny": _checkpoint,
    "flipped.model": _flipped_checkpoint,
    "mine": _user_folder,
    "vasprun.xml": lambda path: path.write_text(vasp_texts()["vasprun"]),
    "link": _symbolic,
    "link.cif": _to_copper,
    "fifo.cif": lambda path: os.mkfifo(path),
    "fifo.yaml": lambda path: os.mkfifo(path),
    "folder.cif": lambda path: path.mkdir(),
    "bytes.cif": lambda path: path.write_bytes(np.random.default_rng(0).bytes(3000)),
    "bytes.extxyz": lambda path: path.write_bytes(np.random.default_rng(1).bytes(3000)),
    "bytes.traj": lambda path: path.write_bytes(b"- of UlmASE-Trajectory" + np.random.default_rng(2).bytes(3000)),
    "latin.extxyz": lambda path: path.write_bytes("4\nname=Å\n".encode("latin-1") + b"Cu 0 0 0\n" * 4),
}
#: files that are made in place in each folder
IN_PLACE = {"link", "link.cif", "fifo.cif", "fifo.yaml"}


class Files:
    """Make each file once, in `folder`, and copy it where it is needed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def make(self, name: str) -> None:
        """Make the original of a file."""
        if name not in TEXTS and name not in IN_PLACE and not (self._folder / name).exists():
            MADE[name](self._folder / name)

    def put(self, name: str, into: Path) -> None:
        """Copy a file to a folder, under its own name; `name as other` gives it another name."""
        name, _, other = name.partition(" as ")
        target = into / (other or name)
        if name in TEXTS:
            content = TEXTS[name]
            target.write_bytes(content if isinstance(content, bytes) else content.encode())
        elif name in IN_PLACE:
            MADE[name](target)
        else:
            self.make(name)
            made = self._folder / name
            if made.is_dir():
                shutil.copytree(made, target)
            else:
                shutil.copy2(made, target)
