"""One way to open any potential.

    potential = load()                                # the one that comes with gnnpot
    potential = load("7net-0")                        # a published potential, see `gnnpot models`
    potential = load("7net-mf-0@R2SCAN")              # of a certain fidelity
    potential = load("path/to/checkpoint")            # a gnnpot checkpoint folder
    potential = load("path/to/n2p2/potential")        # a folder with input.nn, scaling.data, weights.*.data
    import_folder("path/to/matgl/potential", "mine")  # a folder with model.json and state.pt, from then on load("mine")

A published potential is fetched, converted, compared with what its authors' package gives, and kept in the cache as a
checkpoint the first time; from then on it works offline. `gnnpot.published` says where the cache is and what may stand
in for the internet.
"""

import copy
import logging
import re
from dataclasses import replace
from pathlib import Path

from gnnpot.checkpoint import CARD, load_checkpoint, save_checkpoint
from gnnpot.data.references import ElementReferences
from gnnpot.errors import CheckpointError
from gnnpot.models.n2p2 import read_n2p2
from gnnpot.potential import Potential
from gnnpot.published import (
    DEFAULT,
    Published,
    by_hand,
    default_folder,
    fetch,
    is_known,
    reference_structures,
    resolve,
    shipped,
)
from gnnpot.published.cache import checkpoint_folder, locked
from gnnpot.published.download import Report
from gnnpot.reference_structures import TOLERANCE, ReferenceStructure, energy_deviations

logger = logging.getLogger(__name__)

_N2P2 = "input.nn"
#: where runs (`gnnpot.training.run`, `gnnpot.distil.run`), which stand after this room, put their potential
RUN_MODEL = "model"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")


def load(name_or_path: Path | str | None = None) -> Potential:
    """The potential of a checkpoint folder, of an n2p2/RuNNer potential's folder, or of a name.

    Without any it is the default potential, which comes with gnnpot. A folder that holds a checkpoint or an n2p2
    potential wins over a potential of the same name; any other folder does not. Raises `CheckpointError`, with the
    nearest name, if there is neither; `DownloadError` if a published potential is not in the cache and can't be
    fetched.
    """
    folder = locate(name_or_path)
    if (folder / _N2P2).is_file() and not (folder / CARD).is_file():
        return _load_n2p2(folder)
    try:
        return load_checkpoint(folder)[0]
    except CheckpointError as error:
        if folder != checkpoint_folder(folder.name):
            raise
        raise CheckpointError(f"{error}: gnnpot import {folder.name} --force") from None


def locate(name_or_path: Path | str | None = None, report: Report | None = None) -> Path:
    """The folder that `load` opens; a published potential is imported if it is not in the cache yet.

    `report` is told of the progress of downloads, which otherwise goes to the log.
    """
    if name_or_path is None:
        return default_folder()
    path, name = Path(name_or_path), str(name_or_path)
    if (path / CARD).is_file() or (path / _N2P2).is_file():
        return path
    if name == DEFAULT:
        return default_folder()
    if name in shipped():
        return shipped()[name]
    if not is_known(name) and (checkpoint_folder(name) / CARD).is_file():
        return checkpoint_folder(name)
    if is_matgl_folder(path) and not is_known(name):
        raise CheckpointError(f"{name}: is a potential of matgl; import it first: gnnpot import {name} --name NAME")
    if (path / RUN_MODEL / CARD).is_file() and not is_known(name):
        raise CheckpointError(f"{name}: is the folder of a run; its potential is {path / RUN_MODEL}")
    if path.exists() and not is_known(name):
        raise CheckpointError(f"{name}: holds neither {CARD} (a checkpoint) nor {_N2P2} (an n2p2 potential)")
    return import_published(name, report)


def import_published(name: str, report: Report | None = None, *, overwrite: bool = False) -> Path:
    """Bring a published potential into the cache, if it is not there yet or is to be replaced, and say where.

    Raises `CheckpointError` if its files are not what was published, if the converted weights don't give the
    energies that the authors' package gives, or if the cache can't be written; nothing is changed then.
    """
    entry, fidelity = resolve(name)
    full_name = entry.full_name(fidelity)
    folder = checkpoint_folder(full_name)
    if folder.exists() and not overwrite:
        return folder
    with locked(full_name):
        # another process may have done it meanwhile
        if overwrite or not folder.exists():
            _import(entry, fidelity, folder, report)
    return folder


def import_folder(
    folder: Path | str, name: str | None = None, trained_with: str | None = None, *, overwrite: bool = False
) -> Path:
    """Bring an M3GNet potential that matgl saved in `folder` into the cache, where `name` opens it, and say where.

    `name` may be left out for potentials that the registry knows, `trained_with` (version of matgl) where the files
    tell. Raises `CheckpointError` if they don't, if the name is taken, or if the files are not those of an M3GNet.
    """
    from gnnpot.importers.matgl_folder import convert_folder

    folder = Path(folder)
    name = name or next((e.name for e in by_hand() if e.folder == folder.resolve().name), None)
    if name is None:
        raise CheckpointError(f"{folder}: needs a name by which to open it; give one with --name")
    if not _NAME.fullmatch(name):
        raise CheckpointError(f"--name {name}: is no name; use letters, digits, '.', '_', '+' and '-'")
    if is_known(name) or name == DEFAULT or name in shipped():
        raise CheckpointError(f"--name {name}: is the name of another potential; choose another")
    target = checkpoint_folder(name)
    with locked(name):
        if target.exists() and not overwrite:
            raise CheckpointError(f"{name}: is in the cache already ({target}); add --force to replace it")
        potential, card = convert_folder(folder, name, trained_with)
        save_checkpoint(target, potential, card, overwrite=True)
    logger.info("%s: imported into %s", name, target)
    return target


def imported() -> dict[str, Path]:
    """Folders of the checkpoints in the cache that users named themselves (`import_folder`), by name."""
    cards = checkpoint_folder("*").parent.glob(f"*/{CARD}")
    return {card.parent.name: card.parent for card in sorted(cards) if not is_known(card.parent.name)}


def is_matgl_folder(folder: Path) -> bool:
    """Whether matgl has saved a potential there."""
    from gnnpot.importers.matgl_folder import DESCRIPTION, STATE

    return all((folder / file).is_file() for file in (DESCRIPTION, STATE))


def _import(entry: Published, fidelity: str | None, folder: Path, report: Report | None) -> None:
    from gnnpot.importers import CONVERTERS

    files = fetch(entry, report)
    options = {} if fidelity is None else {"fidelity": fidelity}
    potential, card = CONVERTERS[entry.family](entry.name, files, **options)
    full_name = entry.full_name(fidelity)
    references = [
        ReferenceStructure.from_atoms(atoms, energy)
        for atoms, energy in zip(reference_structures(), entry.reference_energies[full_name], strict=True)
    ]
    deviations = energy_deviations(copy.deepcopy(potential).double(), references)
    for reference, deviation in zip(references, deviations, strict=True):
        if not abs(deviation) < TOLERANCE:
            raise CheckpointError(
                f"{full_name}: its weights give {deviation:+.1e} eV/atom more than {entry.reference_from} for "
                f"{reference.to_atoms().symbols}, so it was not imported; this version of gnnpot misreads them"
            )
    card = replace(
        card, name=full_name, reference_structures=tuple(references), reference_energies_from=entry.reference_from
    )
    save_checkpoint(folder, potential, card, overwrite=True)
    logger.info("%s: imported into %s", full_name, folder)


def _load_n2p2(path: Path) -> Potential:
    found = read_n2p2(path)
    references = ElementReferences.from_mapping({"energies": found.atom_energies, "source": str(path)})
    return Potential(found.model, references, energy_scale=found.energy_scale).eval()
