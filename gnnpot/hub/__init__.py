"""Opening of potentials: names, published files and their cache, checkpoints and cards, importers of published weights.

    folder = locate("7net-0")                             # locating.py: all names are looked up here
    potential, card, folder = open_potential("7net-0")    # opening.py
    folder = import_published("7net-mf-0@R2SCAN")          # importing.py: files -> potential -> checkpoint in the cache
    save_checkpoint("nacl", potential, Card(...))          # checkpoint.py
    published()                                            # registry.py, potentials.yaml: names, files, sha256

This package resolves a name or folder to a `Potential` with its card. Packages for simulation and training depend on it
and call `open_potential`. The formats of other packages are read by the modules in `importers/`.

The cache (`GNNPOT_CACHE`, by default `~/.cache/gnnpot`) has the layout

    checkpoints/NAME/              a checkpoint, with all files needed for loading
    sources/NAME/FILE              the published files, unchanged

A mirror (`GNNPOT_MIRROR`, a folder or a URL, for machines without internet access) also has the layout NAME/FILE, so
that a copy of `sources` can be used as a mirror. Instead of files from a wheel, it may have the wheel. If a mirror is
set, no other source is used.
"""
