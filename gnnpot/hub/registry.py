"""Registry of published potentials: names, locations and checksums of their files.

    entry, fidelity = resolve("7net-0")
    entry.sources[0].sha256

The name of a potential trained on several functionals may end with "@" and a fidelity: "7net-mf-0@R2SCAN". The table of
potentials is `potentials.yaml`.
"""

import functools
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Any

import yaml

from gnnpot.config import from_mapping
from gnnpot.errors import CheckpointError, suggest
from gnnpot.hub.shipped import ALIASES, shipped

if TYPE_CHECKING:
    from ase import Atoms


@dataclass(frozen=True)
class Wheel:
    """A wheel on a package index. All wheels of a release have the same weights; this one is used on all platforms."""

    requirement: str  #: requirement specifier for pip, such as "chgnet==0.4.2"
    file: str  #: file name
    size: int  #: bytes
    python: str  #: Python version of the wheel
    platform: str  #: platform tag of the wheel

    @property
    def release(self) -> str:
        """Prefix of the names of all wheels of the release, such as "chgnet-0.4.2"."""
        return "-".join(self.file.split("-")[:2])


#: fidelity -> functional, for fidelities that are not named after their functional
_FUNCTIONALS = {"PBE": "PBE and PBE+U", "R2SCAN": "r2SCAN"}


@dataclass(frozen=True)
class PublishedFile:
    """A published file: at a URL, or in a wheel."""

    file: str  #: file name
    sha256: str
    size: int  #: bytes
    url: str = ""
    wheel: Wheel | None = None
    member: str = ""  #: path in the wheel


@dataclass(frozen=True)
class Published:
    """A published potential."""

    name: str
    family: str  #: key of the converter in `gnnpot.hub.importers`
    sources: tuple[PublishedFile, ...]
    elements: int  #: number of elements
    licence: str
    energy_reference: str  #: meaning of the energies
    #: program that calculated the reference energies
    reference_from: str
    #: energies of `reference_structures()` by full name, eV
    reference_energies: dict[str, tuple[float, ...]]
    fidelities: tuple[str, ...] = ()  #: the first is the default

    def full_name(self, fidelity: str | None) -> str:
        """Return the name with the fidelity, if any: "7net-mf-0@PBE"."""
        return self.name if fidelity is None else f"{self.name}@{fidelity}"

    def functional_of(self, fidelity: str | None) -> str:
        """Return the functional of the energies, with corrections if there are any."""
        return self.energy_reference if fidelity is None else _FUNCTIONALS.get(fidelity, fidelity)

    @property
    def size(self) -> int:
        """Total size of all files in bytes."""
        return sum(source.size for source in self.sources)


@dataclass(frozen=True)
class MatglFolder:
    """Metadata of a published potential of matgl that are not in its files, for the card of an imported folder."""

    name: str
    folder: str  #: name of the published folder
    trained_with: str  #: version of matgl that trained it
    #: energy scale, eV, which together with the number of elements identifies the potential
    energy_scale: float
    elements: int  #: number of elements
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
    """Schema of `potentials.yaml`."""

    wheels: dict[str, Wheel]  #: only used as YAML anchors within the file
    reference_structures: tuple[_Structure, ...]
    potentials: tuple[Published, ...]
    matgl_folders: tuple[MatglFolder, ...]


def published() -> tuple[Published, ...]:
    """Return all published potentials."""
    return _table().potentials


def matgl_folders() -> tuple[MatglFolder, ...]:
    """Return the published potentials of matgl that users may have as folders."""
    return _table().matgl_folders


def reference_structures() -> "list[Atoms]":
    """Return the two structures for which published potentials are compared with their authors' packages."""
    from ase import Atoms

    return [
        Atoms(s.symbols, scaled_positions=s.scaled_positions, cell=s.cell, pbc=True)
        for s in _table().reference_structures
    ]


def is_known(name: str) -> bool:
    """Return whether there is a published potential of this name, with or without a fidelity."""
    return name.partition("@")[0] in {entry.name for entry in published()}


def resolve(name: str) -> tuple[Published, str | None]:
    """Return the entry of a name and its fidelity, the default of the entry if the name has none.

    Raises `CheckpointError`, which suggests a similar name, if it is unknown.
    """
    plain, _, fidelity = name.partition("@")
    entries = {entry.name: entry for entry in published()}
    if plain not in entries:
        known = {*entries, *shipped(), *ALIASES}
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
