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

from pathlib import Path
from typing import NamedTuple

from gnnpot.data.references import ElementReferences
from gnnpot.hub.card import Card
from gnnpot.hub.checkpoint import load_checkpoint
from gnnpot.hub.download import Report
from gnnpot.hub.locating import advice_to_import, check_name, is_n2p2, locate
from gnnpot.potential import Potential


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

    Returns:
        Potential, card and folder.

    Raises:
        CheckpointError, DownloadError: As in `load`.
    """
    folder = locate(name_or_path, report)
    if is_n2p2(folder):
        return OpenedPotential(_load_n2p2(folder), Card(name=folder.name), folder)
    with advice_to_import(folder):
        potential, card = load_checkpoint(folder)
    check_name(folder, card)
    return OpenedPotential(potential, card, folder)


def _load_n2p2(path: Path) -> Potential:
    from gnnpot.hub.importers.n2p2 import read_n2p2

    found = read_n2p2(path)
    references = ElementReferences.from_mapping({"energies": found.atom_energies, "source": str(path)})
    return Potential(found.model, references, energy_scale=found.energy_scale).eval()
