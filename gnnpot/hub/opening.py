"""Open any potential by name or folder.

    potential = load()                                # the default potential, which comes with gnnpot
    potential = load("fast")                          # a word in place of a name: fast, accurate
    potential = load("7net-0")                        # a published potential, see `gnnpot models`
    potential = load("7net-mf-0@R2SCAN")              # of a certain fidelity
    potential = load("path/to/checkpoint")            # a gnnpot checkpoint folder
    potential = load("runs/mine")                     # the folder of a run that has ended
    potential = load("path/to/n2p2/potential")        # a folder with input.nn, scaling.data, weights.*.data
    potential = load("hf:owner/name@revision")        # a repository of the Hugging Face Hub, see `gnnpot publish`
    potential, card, folder = open_potential("7net-0")

A published potential is fetched, converted, compared with what its authors' package gives, and kept in the cache as a
checkpoint the first time; from then on it works offline (`gnnpot.hub.importing`).
"""

import os
from pathlib import Path
from typing import NamedTuple

from gnnpot.data.references import ElementReferences
from gnnpot.errors import CheckpointError
from gnnpot.hub.cache import checkpoint_folder
from gnnpot.hub.checkpoint import CARD, Card, load_checkpoint
from gnnpot.hub.download import Report
from gnnpot.hub.hugging_face import PREFIX, hub_folder
from gnnpot.hub.importing import import_published, is_matgl_folder
from gnnpot.hub.registry import is_known, resolve
from gnnpot.hub.shipped import DEFAULT, default_folder, name_of, shipped
from gnnpot.potential import Potential

_N2P2 = "input.nn"
#: where runs (`gnnpot.training`, `gnnpot.workflows`), which stand above this subpackage, put their potential
RUN_MODEL = "model"


class OpenedPotential(NamedTuple):
    """A potential, what is known of it, and where it lies."""

    potential: Potential
    card: Card  #: of an n2p2 potential, whose files say nothing, it has a name only
    folder: Path


def load(name_or_path: Path | str | None = None) -> Potential:
    """The potential of a checkpoint folder, a run's folder, an n2p2/RuNNer potential's folder, or a name.

    Args:
        name_or_path: A published or imported name, a word that stands for one (`fast`, `accurate`), or a folder; the
            default potential if it is left out. A folder that
            holds a checkpoint, a run or an n2p2 potential takes precedence over a potential of the same name.
            `hf:owner/name` is a repository of the Hugging Face Hub, `hf:owner/name@revision` a certain state of it.

    Returns:
        The potential, in evaluation mode, in the precision of its file.

    Raises:
        CheckpointError: There is neither such a folder nor such a name (the message has the nearest name), or its
            files are damaged.
        DownloadError: A published potential is not in the cache and can't be fetched.
    """
    return open_potential(name_or_path).potential


def open_potential(name_or_path: Path | str | None = None, report: Report | None = None) -> OpenedPotential:
    """The potential that `load` returns, with its card and its folder.

    Args:
        name_or_path: As in `load`.
        report: Called with the progress of downloads, which is logged without it.

    Raises:
        CheckpointError, DownloadError: As in `load`.
    """
    folder = locate(name_or_path, report)
    if (folder / _N2P2).is_file() and not (folder / CARD).is_file():
        return OpenedPotential(_load_n2p2(folder), Card(name=folder.name), folder)
    cached = folder == checkpoint_folder(folder.name)
    try:
        potential, card = load_checkpoint(folder)
    except CheckpointError as error:
        if not cached:
            raise
        raise CheckpointError(f"{error}: gnnpot import {folder.name} --force") from None
    if cached and is_known(folder.name) and not _is_published(card, folder.name):
        raise CheckpointError(
            f"{folder}: holds '{card.name}' under the name of a published potential; import that again: gnnpot import "
            f"{folder.name} --force"
        )
    return OpenedPotential(potential, card, folder)


def _is_published(card: Card, name: str) -> bool:
    """Whether a card is that of a published potential: its name, and the energies of the authors' package."""
    entry, fidelity = resolve(name)
    energies = [structure.energy for structure in card.reference_structures]
    return card.name == name and energies == list(entry.reference_energies[entry.full_name(fidelity)])


def locate(name_or_path: Path | str | None = None, report: Report | None = None) -> Path:
    """The folder that `open_potential` opens; a published potential is imported if it is not in the cache yet.

    Raises:
        CheckpointError, DownloadError: As in `load`.
    """
    if name_or_path is None:
        return default_folder()
    if not isinstance(name_or_path, (str, os.PathLike)):
        raise CheckpointError(f"{name_or_path!r}: is neither the name of a potential nor a path; give one of them")
    path, name = Path(name_or_path), str(name_or_path)
    if name.startswith(PREFIX):
        return hub_folder(name, report)
    for folder in (path, path / RUN_MODEL):
        if (folder / CARD).is_file() or (folder / _N2P2).is_file():
            return folder
    name = name_of(name)
    if name == DEFAULT:
        return default_folder()
    if name in shipped():
        return shipped()[name]
    if is_known(name):
        return import_published(name, report)
    if (checkpoint_folder(name) / CARD).is_file():
        return checkpoint_folder(name)
    if is_matgl_folder(path):
        raise CheckpointError(f"{name}: is a potential of matgl; import it first: gnnpot import {name} --name NAME")
    if path.exists():
        raise CheckpointError(
            f"{name}: holds neither {CARD} (a checkpoint, in the folder or in its '{RUN_MODEL}') nor {_N2P2} (an n2p2 "
            "potential)"
        )
    # raises, with the nearest name
    return import_published(name, report)


def _load_n2p2(path: Path) -> Potential:
    from gnnpot.hub.importers.n2p2 import read_n2p2

    found = read_n2p2(path)
    references = ElementReferences.from_mapping({"energies": found.atom_energies, "source": str(path)})
    return Potential(found.model, references, energy_scale=found.energy_scale).eval()
