"""Published potentials: what they are called, where their files are, and how those get into the cache.

    entry, fidelity = resolve("7net-mf-0@R2SCAN")     # registry.py, potentials.yaml
    files = fetch(entry)                              # fetch.py: {"checkpoint_….pth": Path("…")}, checked
    default_folder()                                  # shipped.py: the checkpoint that comes with gnnpot

Nothing here knows a model; `gnnpot.importers` turns the files into potentials, and `gnnpot.hub` brings both together.

The cache (`GNNPOT_CACHE`, by default `~/.cache/gnnpot`) holds

    checkpoints/NAME/              a checkpoint, all that loading needs
    sources/NAME/FILE              the published files, as they came

A mirror (`GNNPOT_MIRROR`, a folder or a URL, for machines without internet) holds NAME/FILE too, so `sources` can be
copied to be one; in place of files from a wheel it may hold the wheel. Where a mirror is set, nothing else is asked.
"""

from gnnpot.published.fetch import fetch
from gnnpot.published.registry import ByHand, Published, by_hand, is_known, published, reference_structures, resolve
from gnnpot.published.shipped import DEFAULT, default_folder, shipped

__all__ = [
    "DEFAULT",
    "ByHand",
    "Published",
    "by_hand",
    "default_folder",
    "fetch",
    "is_known",
    "published",
    "reference_structures",
    "resolve",
    "shipped",
]
