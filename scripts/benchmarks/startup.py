"""Processor time from the start to the end of commands that only print: what importing takes.

    python scripts/benchmarks/startup.py

The least of a few starts each, after one that may write byte code. Processor time, user and system, so that other
processes of the machine matter little; on a quiet machine it is the time that one waits.
"""

import argparse
import os
import subprocess
import sys

COMMANDS = ("--version", "--help", "relax --help", "models", "card")


def processor_seconds(command: str) -> float:
    """Of one start, in a process of its own."""
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
