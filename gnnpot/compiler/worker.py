"""A process that compiles overloads into the cache; `together` starts it as `python -m gnnpot.compiler.worker`.

It writes a line when it is ready. For each overload it reads a line and answers with a line. Each line that it writes
is its processor time since its start, in seconds. It ends when its input is closed, which happens when the process that
started it ends, for any reason.
"""

import json
import os
import signal
import sys
import time
from typing import TextIO

from gnnpot.compiler.overloads import Overload


def serve(lines: TextIO, answers: TextIO) -> None:
    """Compile the overload of each line of `lines`, until there are no more lines."""
    _say(answers)
    for line in lines:
        kernel, types = json.loads(line)
        Overload(kernel, types).compile()
        _say(answers)


def _say(answers: TextIO) -> None:
    answers.write(f"{time.process_time():.2f}\n")
    answers.flush()


def main() -> None:
    """Serve on standard input and output."""
    # the parent process handles Ctrl-C, and then ends this process
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as answers:
        # what modules print when they are imported must not be mixed with the answers
        os.dup2(2, 1)
        serve(sys.stdin, answers)


if __name__ == "__main__":
    main()
