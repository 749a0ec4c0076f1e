"""Start-up time: processor time of commands that only print, which is the time of imports.

    python scripts/benchmarks/startup.py

Times are the minimum of a few starts, after one that may write byte code. Processor times (user and system) are
affected little by other processes; on an idle machine they equal the wall time.
"""

import argparse
import os
import subprocess
import sys

COMMANDS = ("--version", "--help", "relax --help", "models", "card")


def processor_seconds(command: str) -> float:
    """Processor time of one start, in a new process."""
    before = os.times()
    subprocess.run([sys.executable, "-m", "gnnpot", *command.split()], stdout=subprocess.DEVNULL, check=True)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    for command in COMMANDS:
        processor_seconds(command)
        seconds = min(processor_seconds(command) for _ in range(repeats))
        print(f"gnnpot {command:14} {seconds:.2f} s", flush=True)


if __name__ == "__main__":
    main()
