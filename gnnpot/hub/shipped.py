"""Checkpoints included in gnnpot, the default potential, and aliases of names.

    DEFAULT                        # "nequix-oam-1-pft", opened by `gnnpot.load()`
    resolve_alias("fast")          # "gnnpot-1"; other names are unchanged
    shipped()                      # {"nequix-oam-1-pft": Path("…/nequix-oam-1-pft"), ...}, the default first

See `docs/accuracy/choice.md` for the measurements on which the choice is based. The meaning of a name never changes.
The default and the aliases may change between versions; changes are listed in CHANGELOG.md.

The checkpoints are folders in `checkpoints/` in the root of the repository. Wheels have them inside the package, in
`gnnpot/checkpoints/` (added by setup.py); editable installs use the folder in the repository.
"""

from pathlib import Path

from gnnpot.errors import CheckpointError

#: name of the default potential
DEFAULT = "nequix-oam-1-pft"
#: aliases for --model and `gnnpot.load`: the fastest included potential, the most accurate published potential
ALIASES = {"fast": "gnnpot-1", "accurate": "nequix-oam-1-pft"}

_PACKAGE = Path(__file__).parents[1]
#: folders in a wheel and in a checkout; the first existing one is used
FOLDERS = (_PACKAGE / "checkpoints", _PACKAGE.parent / "checkpoints")
#: name of the card, as `gnnpot.hub.card.CARD`
_CARD = "card.json"


def resolve_alias(word: str) -> str:
    """Return the name for an alias in `ALIASES`; other names are returned unchanged."""
    return ALIASES.get(word, word)


def shipped() -> dict[str, Path]:
    """Return the folders of the included checkpoints by name: the default first, then in alphabetical order."""
    folder = next((folder for folder in FOLDERS if folder.is_dir()), None)
    found = [] if folder is None else [card.parent for card in folder.glob(f"*/{_CARD}")]
    return {path.name: path for path in sorted(found, key=lambda path: (path.name != DEFAULT, path.name))}


def default_folder() -> Path:
    """Return the folder of the default potential. Raises `CheckpointError` if this installation does not include it."""
    found = shipped().get(DEFAULT)
    if found is None:
        raise CheckpointError(
            f"{DEFAULT}: the default potential is not in this copy of gnnpot; name another (see `gnnpot models`), or "
            "install gnnpot anew"
        )
    return found
