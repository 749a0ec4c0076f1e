"""The published potentials that gnnpot knows by name: where their files are, and what tells the right ones.

    entry, fidelity = resolve("7net-0")
    entry.sources[0].sha256

A name may end in "@" and a fidelity, for potentials that were trained on several functionals: "7net-mf-0@R2SCAN".
The table itself is `potentials.yaml`.
"""

import functools
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Any

import yaml

from gnnpot.config import from_mapping
from gnnpot.errors import CheckpointError, suggest
from gnnpot.hub.shipped import shipped

if TYPE_CHECKING:
    from ase import Atoms


@dataclass(frozen=True)
class Wheel:
    """A wheel on a package index. It is one of several with the same weights; pip is asked for this one everywhere."""

    requirement: str  #: of pip, e.g. "chgnet==0.4.2"
    file: str  #: its name
    size: int  #: bytes
    python: str  #: version that it is for
    platform: str  #: tag that it is for

    @property
    def release(self) -> str:
        """How the names of all wheels of the release begin: "chgnet-0.4.2"."""
        return "-".join(self.file.split("-")[:2])


#: of fidelities whose names are not those of their functionals
_FUNCTIONALS = {"PBE": "PBE and PBE+U", "R2SCAN": "r2SCAN"}


@dataclass(frozen=True)
class PublishedFile:
    """One published file: at a URL, or a member of a wheel."""

    file: str
    sha256: str
    size: int  #: bytes
    url: str = ""
    wheel: Wheel | None = None
    member: str = ""  #: its path in the wheel


@dataclass(frozen=True)
class Published:
    """A potential with a name."""

    name: str
    family: str  #: of `gnnpot.hub.importers`
    sources: tuple[PublishedFile, ...]
    elements: int
    licence: str
    energy_reference: str
    #: what calculated the reference energies
    reference_from: str
    #: eV of each of `reference_structures()`, by full name
    reference_energies: dict[str, tuple[float, ...]]
    fidelities: tuple[str, ...] = ()  #: the first is the default

    def full_name(self, fidelity: str | None) -> str:
        """The name with its fidelity, if it has any: "7net-mf-0@PBE"."""
        return self.name if fidelity is None else f"{self.name}@{fidelity}"

    def functional_of(self, fidelity: str | None) -> str:
        """What the energies are: functional, and corrections if there are any."""
        return self.energy_reference if fidelity is None else _FUNCTIONALS.get(fidelity, fidelity)

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(source.size for source in self.sources)


@dataclass(frozen=True)
class MatglFolder:
    """What the files of a published potential of matgl don't tell: for its card, wherever the folder comes from."""

    name: str
    folder: str  #: what it is called where it is published
    trained_with: str  #: version of the package that trained it
    #: what tells it from others: eV, and how many elements
    energy_scale: float
    elements: int
    licence: str
    training_data: str
    functional: str
    energy_reference: str
    metrics: dict[str, Any]
    references: tuple[str, ...]


@dataclass(frozen=True)
class _Structure:
    """A periodic structure."""

    symbols: str
    scaled_positions: tuple[tuple[float, float, float], ...]
    cell: tuple[tuple[float, float, float], ...]


@dataclass(frozen=True)
class _Table:
    """What `potentials.yaml` holds."""

    wheels: dict[str, Wheel]  #: for the file's own use
    reference_structures: tuple[_Structure, ...]
    potentials: tuple[Published, ...]
    matgl_folders: tuple[MatglFolder, ...]


def published() -> tuple[Published, ...]:
    """All published potentials."""
    return _table().potentials


def matgl_folders() -> tuple[MatglFolder, ...]:
    """Published potentials of matgl that have a folder of their own, which users may have too."""
    return _table().matgl_folders


def reference_structures() -> "list[Atoms]":
    """Two structures on which published potentials are compared with their authors' packages."""
    from ase import Atoms

    return [
        Atoms(s.symbols, scaled_positions=s.scaled_positions, cell=s.cell, pbc=True)
        for s in _table().reference_structures
    ]


def is_known(name: str) -> bool:
    """Whether there is a published potential of this name, with or without a fidelity."""
    return name.partition("@")[0] in {entry.name for entry in published()}


def resolve(name: str) -> tuple[Published, str | None]:
    """The entry of a name and the fidelity it means, the entry's default if the name has none.

    Raises `CheckpointError`, with the nearest name, if it is not known.
    """
    plain, _, fidelity = name.partition("@")
    entries = {entry.name: entry for entry in published()}
    if plain not in entries:
        known = {*entries, *shipped()}
        raise CheckpointError(
            f"'{name}' is neither the folder of a checkpoint (or n2p2 potential) nor the name of a published "
            f"potential; {suggest(plain, known)}"
        )
    return entries[plain], _fidelity(entries[plain], fidelity if "@" in name else None)


def _fidelity(entry: Published, fidelity: str | None) -> str | None:
    if fidelity is None:
        return entry.fidelities[0] if entry.fidelities else None
    if not entry.fidelities:
        raise CheckpointError(f"{entry.name}: has one fidelity only; leave '@{fidelity}' out")
    if fidelity not in entry.fidelities:
        raise CheckpointError(f"{entry.name}: has no fidelity '{fidelity}'; {suggest(fidelity, entry.fidelities)}")
    return fidelity


@functools.cache
def _table() -> _Table:
    text = resources.files("gnnpot.hub").joinpath("potentials.yaml").read_text(encoding="utf-8")
    return from_mapping(_Table, yaml.safe_load(text), where="potentials.yaml")
