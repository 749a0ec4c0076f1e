"""Infrastructure of runs: checks of outputs, atomic writing, locks, identity of a run, results log, progress.

Other subpackages use it before and while they write files. It does not depend on the contents of the files.

    check_folder("runs/mine"), write_text(path, text), RunLock(folder), require_same(initial, requested, where=...)
"""
