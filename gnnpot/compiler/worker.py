"""A process that compiles overloads into the cache; `together` starts it as `python -m gnnpot.compiler.worker`.

It writes a line when it is ready, and reads a line for each overload, to which it answers with a line: the seconds of
processor time since it was started. It ends when its input does: with the process that started it, however that ended.
"""

import json
import os
import signal
import sys
import time
from typing import TextIO

from gnnpot.compiler.overloads import Overload


def serve(lines: TextIO, answers: TextIO) -> None:
    """Compile what `lines` name, until there are no more."""
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
    # Ctrl-C is the parent's business, which then ends this process
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as answers:
        # what modules print when they are imported is no answer
        os.dup2(2, 1)
        serve(sys.stdin, answers)


if __name__ == "__main__":
    main()
