"""What gnnpot writes: the guard of outputs, atomic files, the lock, the identity of a run, the results log, progress.

Other subpackages use it before and while they write; what is inside the files and folders is not its business.

    check_folder("runs/mine"), write_text(path, text), RunLock(folder), require_same(begun, asked, where=...)
"""
