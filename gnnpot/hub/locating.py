"""Lookup of potentials and their cards by name or folder. Torch is only imported if a potential must be imported.

    folder = locate("7net-0")
    content, folder = open_card("7net-0")        # contents of card.json; the weights are not read

See `gnnpot.hub.opening` for valid names.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gnnpot.config import from_mapping
from gnnpot.errors import CheckpointError
from gnnpot.hub.cache import checkpoint_folder
from gnnpot.hub.card import CARD, Card, read_card
from gnnpot.hub.hugging_face import PREFIX, hub_folder
from gnnpot.hub.registry import is_known, resolve
from gnnpot.hub.shipped import DEFAULT, default_folder, resolve_alias, shipped

if TYPE_CHECKING:
    from gnnpot.hub.download import Report

_N2P2 = "input.nn"
#: files of a potential saved by matgl
MATGL_DESCRIPTION, MATGL_STATE = "model.json", "state.pt"
#: subfolder of run folders (`gnnpot.training`, `gnnpot.workflows`) that has their potential
RUN_MODEL = "model"


def locate(name_or_path: Path | str | None = None, report: "Report | None" = None) -> Path:
    """Return the folder of a potential; a published potential is imported if it is not in the cache yet.

    Args:
        name_or_path: As in `gnnpot.load`.
        report: Called with the progress of downloads.

    Returns:
        The folder.

    Raises:
        CheckpointError, DownloadError: As in `gnnpot.load`.
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
    name = resolve_alias(name)
    if name == DEFAULT:
        return default_folder()
    if name in shipped():
        return shipped()[name]
    if not is_known(name):
        if (checkpoint_folder(name) / CARD).is_file():
            return checkpoint_folder(name)
        _refuse_folder(path, name)
    # raises, with a similar name, if it is unknown
    return _published(name, report)


def is_matgl_folder(folder: Path) -> bool:
    """Return whether a folder has a potential saved by matgl."""
    return all((folder / file).is_file() for file in (MATGL_DESCRIPTION, MATGL_STATE))


def is_n2p2(folder: Path) -> bool:
    """Return whether a folder has an n2p2/RuNNer potential, which has no card."""
    return (folder / _N2P2).is_file() and not (folder / CARD).is_file()


def open_card(name_or_path: Path | str | None = None, report: "Report | None" = None) -> tuple[dict[str, Any], Path]:
    """Read `card.json` of a potential, and check it against its own sha256; the weights are not read.

    Args:
        name_or_path: As in `gnnpot.load`.
        report: Called with the progress of downloads.

    Returns:
        The contents of the card, and the folder.

    Raises:
        CheckpointError: The card is damaged or missing; and as in `gnnpot.load`.
        DownloadError: As in `gnnpot.load`.
    """
    folder = locate(name_or_path, report)
    if is_n2p2(folder):
        raise CheckpointError(f"{folder}: is an n2p2 potential, which has no card; test it with gnnpot check")
    with advice_to_import(folder):
        content = read_card(folder)
    check_name(folder, from_mapping(Card, content["card"], where=f"{folder / CARD}: card"))
    return content, folder


@contextlib.contextmanager
def advice_to_import(folder: Path) -> Iterator[None]:
    """Append to a `CheckpointError` for a potential in the cache the command that imports it again."""
    try:
        yield
    except CheckpointError as error:
        if folder != checkpoint_folder(folder.name):
            raise
        name = folder.name
        what = f"{name} --force" if is_known(name) else f"FOLDER --name {name} --force, with the folder it is from"
        raise CheckpointError(f"{error}: gnnpot import {what}") from None


def check_name(folder: Path, card: Card) -> None:
    """Raise `CheckpointError` if the cache has a different potential under the name of a published one."""
    if folder == checkpoint_folder(folder.name) and is_known(folder.name) and not _is_published(card, folder.name):
        raise CheckpointError(
            f"{folder}: holds '{card.name}' under the name of a published potential; import that again: gnnpot import "
            f"{folder.name} --force"
        )


def _is_published(card: Card, name: str) -> bool:
    """Return whether a card has the name and the reference energies of a published potential."""
    entry, fidelity = resolve(name)
    energies = [structure.energy for structure in card.reference_structures]
    return card.name == name and energies == list(entry.reference_energies[entry.full_name(fidelity)])


def _published(name: str, report: "Report | None") -> Path:
    """Return the folder of a published potential, which is imported if it does not exist yet."""
    entry, fidelity = resolve(name)
    folder = checkpoint_folder(entry.full_name(fidelity))
    if folder.exists():
        return folder
    from gnnpot.hub.importing import import_published

    return import_published(name, report)


def _refuse_folder(path: Path, name: str) -> None:
    """Raise `CheckpointError` for a file, a folder without a potential or with one to import first, and "~/"."""
    if path.parts[:1] == ("~",):
        # not expanded, as no other path in Python, configurations and LAMMPS input
        raise CheckpointError(f"{name}: only a shell replaces the '~'; give the whole path, {path.expanduser()}")
    if is_matgl_folder(path):
        raise CheckpointError(f"{name}: is a potential of matgl; import it first: gnnpot import {name} --name NAME")
    if path.is_file():
        inside = any((path.parent / file).is_file() for file in (CARD, _N2P2))
        advice = f"give its folder, {path.parent}" if inside else f"give a folder with {CARD} or {_N2P2}"
        raise CheckpointError(f"{name}: is a file, but a potential is a folder; {advice}")
    if path.exists():
        raise CheckpointError(
            f"{name}: holds neither {CARD} (a checkpoint, in the folder or in its '{RUN_MODEL}') nor {_N2P2} (an n2p2 "
            "potential)"
        )
