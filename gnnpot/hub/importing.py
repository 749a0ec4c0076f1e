"""Import of potentials to the cache as checkpoints: published potentials by name, and potentials of matgl in folders.

Example::

    folder = import_published("7net-0")                        # fetch, convert, compare with the authors' package
    folder = import_folder("path/to/matgl/potential", "mine")  # model.json and state.pt; from then on load("mine")
"""

import copy
import logging
import re
from dataclasses import replace
from pathlib import Path

from gnnpot.errors import CheckpointError
from gnnpot.hub.cache import cache_lock, checkpoint_folder
from gnnpot.hub.checkpoint import save_checkpoint
from gnnpot.hub.download import Report
from gnnpot.hub.fetch import fetch
from gnnpot.hub.reference_structures import TOLERANCE, ReferenceStructure, energy_deviations
from gnnpot.hub.registry import Published, is_known, matgl_folders, reference_structures, resolve
from gnnpot.hub.shipped import ALIASES, DEFAULT, resolve_alias, shipped

logger = logging.getLogger(__name__)

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")


def import_published(name: str, report: Report | None = None, *, overwrite: bool = False) -> Path:
    """Import a published potential to the cache, unless it is there already, and return its folder.

    Potentials included in gnnpot are not copied; their own folder is returned.

    Args:
        name: Name of the potential, with or without a fidelity.
        report: Called with the progress of downloads.
        overwrite: Import the potential again if it is in the cache.

    Raises:
        CheckpointError: The name is unknown, a file is not the published one, the converted weights do not reproduce
            the energies of the authors' package, or the cache can't be written. The cache is then unchanged.
        DownloadError: A file is not available.
    """
    full_name = full_name_of(name)
    # potentials that are only included in gnnpot have no published files to import
    if full_name in shipped() and not (overwrite and is_known(full_name)):
        return shipped()[full_name]
    entry, fidelity = resolve(full_name)
    folder = checkpoint_folder(full_name)
    if folder.exists() and not overwrite:
        return folder
    with cache_lock(full_name):
        # another process may have imported it while this one was waiting
        if overwrite or not folder.exists():
            _import(entry, fidelity, folder, report)
    return folder


def full_name_of(name: str) -> str:
    """Return the full name, with fidelity, of a published or included potential; `name` may be an alias.

    Raises `CheckpointError`, which suggests a similar name, if it is unknown.
    """
    name = resolve_alias(name)
    if name in shipped():
        return name
    entry, fidelity = resolve(name)
    return entry.full_name(fidelity)


def import_folder(
    folder: Path | str, name: str | None = None, trained_with: str | None = None, *, overwrite: bool = False
) -> Path:
    """Import an M3GNet potential saved by matgl to the cache, and return its folder in the cache.

    Args:
        folder: The folder written by matgl.
        name: Name by which the potential is opened; optional for folders of published potentials.
        trained_with: Version of matgl that trained the potential; optional if the files determine it.
        overwrite: Replace a potential of that name in the cache.

    Raises:
        CheckpointError: A required name or version is missing, the name is taken or invalid, or the files are not those
            of an M3GNet potential.
    """
    from gnnpot.hub.importers.matgl_folder import convert_folder

    folder = Path(folder)
    published = next((e.name for e in matgl_folders() if e.folder == folder.resolve().name), None)
    name = name or published
    if name is None:
        raise CheckpointError(f"{folder}: needs a name by which to open it; give one with --name")
    if not _NAME.fullmatch(name):
        raise CheckpointError(f"--name {name}: is no name; use letters, digits, '.', '_', '+' and '-'")
    if name != published and (is_known(name) or name == DEFAULT or name in shipped() or name in ALIASES):
        raise CheckpointError(f"--name {name}: is the name of another potential; choose another")
    target = checkpoint_folder(name)
    with cache_lock(name):
        if target.exists() and not overwrite:
            raise CheckpointError(f"{name}: is in the cache already ({target}); add --force to replace it")
        potential, card = convert_folder(folder, name, trained_with)
        save_checkpoint(target, potential, card, overwrite=True)
    logger.info("%s: imported into %s", name, target)
    return target


def _import(entry: Published, fidelity: str | None, folder: Path, report: Report | None) -> None:
    from gnnpot.hub.importers import CONVERTERS

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
