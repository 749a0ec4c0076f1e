"""The published potentials that gnnpot knows by name: where their files are, and what tells the right ones.

    entry = find("7net-0")
    entry.sources[0].sha256

A name may end in "@" and a fidelity, for potentials that were trained on several functionals: "7net-mf-0@R2SCAN".

`reference_energies` are what the authors' own packages give for `reference_structures()`; each import, and
`gnnpot check`, calculates them anew. They come from `scripts/make_published_reference.py`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ase import Atoms

from gnnpot.errors import CheckpointError, suggest
from gnnpot.importers import chgnet, m3gnet, sevennet

if TYPE_CHECKING:
    from gnnpot.checkpoint import Card
    from gnnpot.potential import Potential


@dataclass(frozen=True)
class Source:
    """One published file: at a URL, or a member of a wheel on PyPI."""

    file: str
    sha256: str
    size: int  #: bytes
    url: str = ""
    requirement: str = ""  #: of pip, e.g. "chgnet==0.4.2"
    member: str = ""  #: its path in the wheel


@dataclass(frozen=True)
class Published:
    """A potential with a name."""

    name: str
    convert: "Callable[..., tuple[Potential, Card]]" = field(repr=False)
    sources: tuple[Source, ...]
    elements: int
    licence: str
    energy_reference: str
    #: "fast", "medium" or "slow": time of a step of molecular dynamics, within a factor of a few
    speed: str
    fidelities: tuple[str, ...] = ()  #: the first is the default
    #: eV of each of `reference_structures()` by fidelity ("" if there is one only)
    reference_energies: Mapping[str, tuple[float, ...]] = field(default_factory=dict)


def reference_structures() -> list[Atoms]:
    """Two structures on which published potentials are compared with their authors' packages."""
    salt = Atoms(
        "NaCl",
        scaled_positions=[[0.01, 0, 0.02], [0.5, 0.48, 0.51]],
        cell=[[0.1, 2.8, 2.75], [2.9, 0.0, 2.8], [2.85, 2.7, 0.05]],
        pbc=True,
    )
    perovskite = Atoms(
        "SrTiO3",
        scaled_positions=[[0, 0, 0.01], [0.51, 0.5, 0.48], [0.5, 0.5, 0.02], [0.5, 0.01, 0.5], [0, 0.5, 0.49]],
        cell=[[3.95, 0, 0.1], [0, 3.9, 0], [0.05, 0, 4.0]],
        pbc=True,
    )
    return [salt, perovskite]


def _wheel(requirement: str, member: str, sha256: str, size: int) -> tuple[Source, ...]:
    return (Source(Path(member).name, sha256, size, requirement=requirement, member=member),)


_MATGL = "https://raw.githubusercontent.com/materialsvirtuallab/matgl/main/pretrained_models/M3GNet-MP-2021.2.8-PES"
_BSD = "Modified BSD"
_RAW = "raw PBE/PBE+U"

PUBLISHED = (
    Published(
        "chgnet-0.3.0",
        chgnet.convert,
        _wheel(
            "chgnet==0.4.2",
            chgnet.MEMBERS["chgnet-0.3.0"],
            "d14ab7c0f093efe64b60a7bcd540bca10e74fb7f46c86108a079af60524659d1",
            4863221,
        ),
        elements=89,
        licence=_BSD,
        energy_reference="MP2020-corrected",
        speed="fast",
    ),
    Published(
        "chgnet-0.2.0",
        chgnet.convert,
        _wheel(
            "chgnet==0.4.2",
            chgnet.MEMBERS["chgnet-0.2.0"],
            "ef624f78b6db9d315b4ef256f1bb3207449924191b91720dc17d3f60c5df980e",
            4639235,
        ),
        elements=89,
        licence=_BSD,
        energy_reference="MP2020-corrected",
        speed="fast",
    ),
    Published(
        "chgnet-r2scan",
        chgnet.convert,
        _wheel(
            "chgnet==0.4.2",
            chgnet.MEMBERS["chgnet-r2scan"],
            "8eba3db0f35a2788bb3ae22885ad340591e27996f213c6643af522a633b50dad",
            4872387,
        ),
        elements=89,
        licence=_BSD,
        energy_reference="raw r2SCAN",
        speed="fast",
    ),
    Published(
        "7net-0",
        sevennet.convert,
        _wheel(
            "sevenn==0.13.0",
            sevennet.MEMBERS["7net-0"],
            "7052cb42b7b3be42b40b97fa0d21077a48c54b5548948fc4dcf346629f813c36",
            10268648,
        ),
        elements=89,
        licence="MIT",
        energy_reference=_RAW,
        speed="medium",
    ),
    Published(
        "7net-l3i5",
        sevennet.convert,
        _wheel(
            "sevenn==0.13.0",
            sevennet.MEMBERS["7net-l3i5"],
            "a7ff190d41efe5b8317a03d20a468e4036a1a3e64e0b14fdbab64ac3f4bfc09d",
            14345754,
        ),
        elements=89,
        licence="MIT",
        energy_reference=_RAW,
        speed="slow",
    ),
    Published(
        "7net-mf-0",
        sevennet.convert,
        _wheel(
            "sevenn==0.13.0",
            sevennet.MEMBERS["7net-mf-0"],
            "81791329b37d445f46b531578c182c41792d98c7814222c9e5dde276402225fd",
            10322158,
        ),
        elements=89,
        licence="MIT",
        energy_reference="raw, of its fidelity",
        speed="medium",
        fidelities=("PBE", "R2SCAN"),
    ),
    Published(
        "m3gnet-mp-2021.2.8",
        m3gnet.convert,
        (
            Source(
                "model.json",
                "05e7db8676ceb37eb07848aff49c556b188699e1035f3df0cbbf1a2c4959148f",
                5211,
                url=f"{_MATGL}/model.json",
            ),
            Source(
                "state.pt",
                "a9aa723705bd1a242ec8749332f137811c4a94e17995a564f8f94a9aca68061b",
                1228529,
                url=f"{_MATGL}/state.pt",
            ),
        ),
        elements=89,
        licence="BSD-3-Clause",
        energy_reference="uncorrected PBE/PBE+U",
        speed="fast",
    ),
)


def find(name: str, published: tuple[Published, ...] = PUBLISHED) -> Published:
    """The entry of a name; raises `CheckpointError` with the nearest name if there is none."""
    for entry in published:
        if entry.name == name:
            return entry
    known = [entry.name for entry in published]
    raise CheckpointError(f"'{name}' is neither a folder nor a known potential; {suggest(name, known)}")


def check_fidelity(entry: Published, fidelity: str | None) -> str | None:
    """The fidelity to use: the given one, the entry's default, or `None`. Raises `CheckpointError` for others."""
    if fidelity is None:
        return entry.fidelities[0] if entry.fidelities else None
    if not entry.fidelities:
        raise CheckpointError(f"{entry.name}: has one fidelity only; leave '{fidelity}' out")
    if fidelity not in entry.fidelities:
        raise CheckpointError(f"{entry.name}: has no fidelity '{fidelity}'; {suggest(fidelity, entry.fidelities)}")
    return fidelity
