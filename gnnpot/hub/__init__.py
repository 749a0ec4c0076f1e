"""Opening potentials: names, published files and their cache, checkpoints and cards, importers of published weights.

    folder = locate("7net-0")                             # locating.py: the one place where a name is looked up
    potential, card, folder = open_potential("7net-0")    # opening.py
    folder = import_published("7net-mf-0@R2SCAN")          # importing.py: files -> potential -> checkpoint in the cache
    save_checkpoint("nacl", potential, Card(...))          # checkpoint.py
    published()                                            # registry.py, potentials.yaml: names, files, sha256

What belongs here is everything between a name or a folder and a `Potential` with its card. What moves atoms, and what
trains, stands above and calls `open_potential`. Other packages' formats are read in `importers/`, a file each.

The cache (`GNNPOT_CACHE`, by default `~/.cache/gnnpot`) holds

    checkpoints/NAME/              a checkpoint, all that loading needs
    sources/NAME/FILE              the published files, unchanged

A mirror (`GNNPOT_MIRROR`, a folder or a URL, for machines without internet) holds NAME/FILE too, so `sources` can be
copied to be one; in place of files from a wheel it may hold the wheel. Where a mirror is set, nothing else is asked.
"""
