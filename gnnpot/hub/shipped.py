"""Checkpoints that come with gnnpot, and the one that is meant where none is named.

    DEFAULT                        # "gnnpot-1", what `gnnpot.load()` opens
    shipped()                      # {"gnnpot-1": Path("…/checkpoints/gnnpot-1")}, the default first

They are folders in `checkpoints/` at the top of the repository. A wheel holds them inside the package, as
`gnnpot/checkpoints/` (setup.py puts them there); an editable install finds them beside it.
"""

from pathlib import Path

from gnnpot.errors import CheckpointError

#: the name of the potential that is opened where none is named
DEFAULT = "gnnpot-1"
#: in the words of `Published.speed`
SPEED = "fast"

_PACKAGE = Path(__file__).parents[1]
#: in a wheel, in a checkout; the first that exists is it
FOLDERS = (_PACKAGE / "checkpoints", _PACKAGE.parent / "checkpoints")
#: of `gnnpot.hub.checkpoint`, which stands after this room
_CARD = "card.json"


def shipped() -> dict[str, Path]:
    """Folders of the checkpoints that this copy of gnnpot holds, by name: the default first, then by alphabet."""
    folder = next((folder for folder in FOLDERS if folder.is_dir()), None)
    found = [] if folder is None else [card.parent for card in folder.glob(f"*/{_CARD}")]
    return {path.name: path for path in sorted(found, key=lambda path: (path.name != DEFAULT, path.name))}


def default_folder() -> Path:
    """The folder of the default potential. Raises `CheckpointError` if this copy of gnnpot has none."""
    found = shipped().get(DEFAULT)
    if found is None:
        raise CheckpointError(
            f"{DEFAULT}: the default potential is not in this copy of gnnpot; name another (see `gnnpot models`), or "
            "install gnnpot anew"
        )
    return found
