"""`python -m gnnpot.studio.worker ROLE`: the main loop of a worker process."""

import json
import os
import queue
import signal
import sys
import threading
from typing import Any, TextIO

from gnnpot.errors import GnnpotError

#: added to the niceness of a process that runs jobs: browsers give hidden pages a low priority, so that on one core a
#: new tab would not open while a job runs
NICENESS = 10


def main(role: str) -> None:
    """Handle messages until the standard input ends."""
    # Ctrl-C in the terminal is handled by the server, which ends its processes itself
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    out = _own_output()

    def send(message: dict[str, Any]) -> None:
        out.write(json.dumps(message, allow_nan=False) + "\n")
        out.flush()

    if role == "builder":
        _build(send)
    else:
        _run(send)


def _own_output() -> TextIO:
    """Return the standard output, for messages only; what libraries print is redirected to the standard error."""
    own = os.dup(1)
    os.dup2(2, 1)
    return os.fdopen(own, "w", encoding="utf-8")


def _build(send: Any) -> None:
    from gnnpot.studio.worker.building import ANSWERS, prepare, prepare_uploads

    prepare()
    send({"event": "ready"})
    # in a thread, because the imports for uploads take as long again, and sentences usually come first
    threading.Thread(target=prepare_uploads, daemon=True).start()
    for line in sys.stdin:
        message = json.loads(line)
        try:
            send(ANSWERS[message.pop("do")](**message))
        except GnnpotError as problem:
            send({"problem": str(problem)})


def _run(send: Any) -> None:
    from gnnpot.studio.worker.running import prepare, run

    if hasattr(os, "nice"):  # not on Windows
        os.nice(NICENESS)
    messages: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    stop = threading.Event()

    def listen() -> None:
        for line in sys.stdin:
            message = json.loads(line)
            stop.set() if message["do"] == "stop" else messages.put(message)
        # the server has ended
        os._exit(0)

    threading.Thread(target=listen, daemon=True).start()
    prepare()
    send({"event": "ready"})
    run(messages.get(), send, stop)


if __name__ == "__main__":
    main(sys.argv[1])
