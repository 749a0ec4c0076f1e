"""Converter of folders in which matgl has saved an M3GNet potential.

    potential, card = convert_folder(Path("M3GNet-MatPES-PBE-v2025.1-PES"), "m3gnet-matpes-pbe-2025.1")

matgl writes `model.json` (sizes and options), `state.pt` (tensors) and `model.pt` (the options again, which is not
read). Code is never executed: the tensors are read with the weights-only loader of PyTorch.

The files do not contain the version of matgl that trained the potential, but conventions differ between versions (see
`gnnpot.models.m3gnet_matgl_rows`), and the weights are only valid with the right one. Files without the options that
are written since matgl 1.3 are from an older version; for all others, the version must be given.
"""

import copy
import hashlib
import json
import re
from pathlib import Path
from typing import Any

from ase import Atoms

from gnnpot.errors import CheckpointError
from gnnpot.hub.checkpoint import Card
from gnnpot.hub.importers.m3gnet import read
from gnnpot.hub.locating import MATGL_DESCRIPTION as DESCRIPTION
from gnnpot.hub.locating import MATGL_STATE as STATE
from gnnpot.hub.reference_structures import ReferenceStructure
from gnnpot.hub.registry import MatglFolder, matgl_folders, reference_structures
from gnnpot.potential import Potential

#: options that are only written by version 1.3 and later
_LATER = ("dropout", "num_rbf")


def convert_folder(folder: Path, name: str, trained_with: str | None = None) -> tuple[Potential, Card]:
    """Convert a folder; return the potential and its card, with reference energies calculated by gnnpot in float64.

    Args:
        folder: The folder.
        name: Name of the potential.
        trained_with: Version of matgl that trained the potential.

    Raises:
        CheckpointError: The files are not those of a supported M3GNet potential, or a required version is missing.
    """
    contents = {file: _content(folder, file) for file in (DESCRIPTION, STATE)}
    entry = next((e for e in matgl_folders() if name == e.name or folder.resolve().name == e.folder), None)
    version = trained_with or (entry.trained_with if entry else _version(folder, contents[DESCRIPTION]))
    potential = read(str(folder), contents[DESCRIPTION], contents[STATE], trained_with=_numbers(version))
    if entry is not None:
        _check(folder, potential, entry)
    precise = copy.deepcopy(potential).double()
    structures = [
        ReferenceStructure.from_atoms(atoms, float(precise(precise.graph(atoms)).energy))
        for atoms in _structures(potential)
    ]
    origin = {
        "matgl that trained it": version,
        "sha256 of the files": {file: hashlib.sha256(content).hexdigest() for file, content in contents.items()},
    }
    return potential, Card(
        name=name,
        description=f"M3GNet, imported from the folder {folder.resolve().name} of matgl",
        licence=entry.licence if entry else _licence(folder),
        training_data=entry.training_data if entry else _training_data(folder),
        functional=entry.functional if entry else "",
        energy_reference=entry.energy_reference if entry else "",
        metrics=dict(entry.metrics) if entry else {},
        training=origin,
        references=list(entry.references) if entry else [],
        reference_structures=tuple(structures),
        reference_energies_from="gnnpot itself in float64 at the import, not matgl",
    )


def _content(folder: Path, file: str) -> bytes:
    try:
        return (folder / file).read_bytes()
    except OSError as error:
        raise CheckpointError(
            f"{folder / file}: can't be read ({error.strerror}); give a folder with {DESCRIPTION} and {STATE} of matgl"
        ) from None


def _version(folder: Path, description: bytes) -> str:
    """Determine the version of matgl from the options. Raises `CheckpointError` if it is ambiguous."""
    try:
        found: Any = json.loads(description)
    except ValueError:
        found = None
    for key in ("kwargs", "model", "init_args"):
        found = found.get(key) if isinstance(found, dict) else None
    if not isinstance(found, dict):
        raise CheckpointError(f"{folder / DESCRIPTION}: does not describe a potential of matgl; get it again")
    if any(name in found for name in _LATER):
        raise CheckpointError(
            f"{folder}: does not tell which version of matgl trained it, on which its energies depend; say it with "
            "--trained-with, e.g. --trained-with 4.1.2"
        )
    return "1.2 or older"


def _numbers(version: str) -> tuple[int, int]:
    numbers = re.match(r"(\d+)\.(\d+)", version)
    if numbers is None:
        raise CheckpointError(f"--trained-with {version}: is no version of matgl; give one like 4.1.2")
    return int(numbers[1]), int(numbers[2])


def _check(folder: Path, potential: Potential, entry: MatglFolder) -> None:
    scale = float(potential.energy_scale)
    if abs(scale - entry.energy_scale) > 1e-6 or len(potential.elements) != entry.elements:
        raise CheckpointError(
            f"{folder}: is not {entry.folder} (its energy scale is {scale:.6f} eV, not {entry.energy_scale:.6f}); "
            "get that folder, or import this one with another --name"
        )


def _structures(potential: Potential) -> list[Atoms]:
    """Return the reference structures of published potentials; elements that the potential lacks are replaced."""
    known, structures = potential.elements, reference_structures()
    for atoms in structures:
        if not set(atoms.symbols) <= set(known):
            atoms.symbols = [known[k % len(known)] for k in range(len(atoms))]
    return structures


def _readme(folder: Path) -> str:
    try:
        return (folder / "README.md").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _licence(folder: Path) -> str:
    """Return the licence in the header of the README, in the format of Hugging Face."""
    found = re.search(r"^license:\s*(\S+)\s*$", _readme(folder), re.MULTILINE)
    return found[1] if found else "not stated in the folder"


def _training_data(folder: Path) -> str:
    """Return the first line of the section "Training dataset" of the README."""
    found = re.search(r"^#+\s*Training dataset\s*\n+(.+)$", _readme(folder), re.MULTILINE | re.IGNORECASE)
    return found[1].strip() if found else "not stated in the folder"
