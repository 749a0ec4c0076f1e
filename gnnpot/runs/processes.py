"""Worker processes that do not outlive the process that started them.

A worker that waits for its next task sees a closed connection. One in the middle of a long task sees nothing, and would
go on after the parent was killed, writing to files that a resumed run writes to as well.

Example::

    context.Process(target=serve, ...)               # serve() calls end_with_parent() first
    ProcessPoolExecutor(4, initializer=end_with_parent)
"""

import multiprocessing
import os
import threading
from multiprocessing.connection import wait


def end_with_parent() -> None:
    """End this worker process as soon as its parent has ended, however that ended.

    Does nothing in a process that `multiprocessing` did not start.
    """
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        wait([parent.sentinel])
        # nobody is left to report to, and files are complete after each write
        os._exit(1)

    threading.Thread(target=watch, name="end-with-parent", daemon=True).start()
