"""Opening of potentials by name or folder.

    potential = load()                                # the default potential, which is included in gnnpot
    potential = load("fast")                          # an alias: fast, accurate
    potential = load("7net-0")                        # a published potential, see `gnnpot models`
    potential = load("7net-mf-0@R2SCAN")              # with a given fidelity
    potential = load("path/to/checkpoint")            # a checkpoint folder
    potential = load("runs/mine")                     # the folder of a finished run
    potential = load("path/to/n2p2/potential")        # a folder with input.nn, scaling.data, weights.*.data
    potential = load("hf:owner/name@revision")        # a repository of the Hugging Face Hub, see `gnnpot publish`
    potential, card, folder = open_potential("7net-0")

On first use, a published potential is downloaded, converted, compared with the results of its authors' package, and
stored in the cache as a checkpoint; afterwards it works offline (`gnnpot.hub.importing`).
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
    """A potential, its card and its folder."""

    potential: Potential
    card: Card  #: metadata; only a name for n2p2 potentials
    folder: Path


def load(name_or_path: Path | str | None = None) -> Potential:
    """Load a potential by name, or from the folder of a checkpoint, a run, or an n2p2/RuNNer potential.

    Args:
        name_or_path: The name of a published or imported potential, an alias (`fast`, `accurate`), or a folder; by
            default, the default potential. A folder with a checkpoint, a run or an n2p2 potential takes precedence over
            a potential of the same name. `hf:owner/name` is a repository of the Hugging Face Hub,
            `hf:owner/name@revision` one of its branches, tags or commits.

    Returns:
        The potential, in evaluation mode, in the precision of its file.

    Raises:
        CheckpointError: There is no such folder or name (the message suggests a similar name), or the files are
            damaged.
        DownloadError: A published potential is not in the cache and can't be downloaded.
    """
    return open_potential(name_or_path).potential


def open_potential(name_or_path: Path | str | None = None, report: Report | None = None) -> OpenedPotential:
    """Load a potential as `load`, with its card and its folder.

    Args:
        name_or_path: As in `load`.
        report: Called with the progress of downloads, which is logged by default.

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
