"""A calculator that kills its process, and commands that are killed by it.

    python -c "from tests.properties.killed import main; main()" RUNS

RUNS is a list, in JSON, of (words of `gnnpot property`, after how many calculations its process is killed). Each is a
fork of a process that has calculated nothing, since threads don't survive a fork. Prints the signals that ended them.
"""

import json
import os
import signal
import sys

from ase.calculators.calculator import all_changes
from ase.calculators.emt import EMT
from typer.testing import CliRunner

from gnnpot.properties.registry import find_property, property_names

MODEL = f"{__name__}:Mortal"


class Mortal(EMT):
    """EMT, counted; kills its process when none is left. Results depend on the structure alone, to the last bit."""

    left = 10**9

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        if Mortal.left <= 0:
            os.kill(os.getpid(), signal.SIGKILL)
        Mortal.left -= 1
        # neighbours that were found for an earlier structure stand in another order
        super().calculate(atoms, properties, all_changes)


def property_command(words: list[str]) -> None:
    """Run `gnnpot property` here."""
    from gnnpot.cli import app

    found = CliRunner().invoke(app, ["property", *words, "-m", MODEL, "-q"])
    if found.exception is not None:
        raise found.exception


def main() -> None:
    # once, not in each fork
    import torch  # noqa: F401

    for name in property_names():
        find_property(name)
    signals = []
    for words, after in json.loads(sys.argv[1]):
        child = os.fork()
        if child == 0:
            Mortal.left = after
            try:
                property_command(words)
            finally:
                os._exit(1)
        signals.append(-os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    print(json.dumps(signals))
