"""Checkpoints that come with gnnpot, the one that is meant where none is named, and words that stand for a name.

    DEFAULT                        # "nequix-oam-1-pft", what `gnnpot.load()` opens
    name_of("fast")                # "gnnpot-1"; any other name is unchanged
    shipped()                      # {"nequix-oam-1-pft": Path("…/nequix-oam-1-pft"), ...}, the default first

`docs/accuracy/choice.md` has the measurements by which they were chosen. What a name means never changes; what is the
default, and what a word stands for, may change with a version, and CHANGELOG.md says so.

They are folders in `checkpoints/` at the top of the repository. A wheel holds them inside the package, as
`gnnpot/checkpoints/` (setup.py puts them there); an editable install finds them beside it.
"""

from pathlib import Path

from gnnpot.errors import CheckpointError

#: the name of the potential that is opened where none is named
DEFAULT = "nequix-oam-1-pft"
#: words for --model and `gnnpot.load`: the fastest that comes with gnnpot, the most accurate published one
WORDS = {"fast": "gnnpot-1", "accurate": "nequix-oam-1-pft"}

_PACKAGE = Path(__file__).parents[1]
#: in a wheel, in a checkout; the first that exists is it
FOLDERS = (_PACKAGE / "checkpoints", _PACKAGE.parent / "checkpoints")
#: of `gnnpot.hub.checkpoint`, which is imported after this module
_CARD = "card.json"


def name_of(word: str) -> str:
    """The name that a word of `WORDS` stands for; anything else is a name already."""
    return WORDS.get(word, word)


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
