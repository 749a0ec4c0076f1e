"""Calculators that kill: of the tests, as `tests.workflows.many.calculators:NAME`.

They kill at a structure of gold, while the file of the environment variable `KILL` is there, which they remove first.
"""

import os
import signal
from pathlib import Path

from ase.calculators.emt import EMT


def _armed(atoms) -> bool:
    flag = Path(os.environ.get("KILL", os.devnull))
    if "Au" not in atoms.symbols or not flag.is_file():
        return False
    flag.unlink()
    return True


class KillsItself(EMT):
    """Its process."""

    def calculate(self, atoms=None, *args, **options):
        if _armed(atoms):
            os.kill(os.getpid(), signal.SIGKILL)
        super().calculate(atoms, *args, **options)


class KillsParent(EMT):
    """The process that hands out the structures."""

    def calculate(self, atoms=None, *args, **options):
        if _armed(atoms):
            os.kill(os.getppid(), signal.SIGKILL)
        super().calculate(atoms, *args, **options)


class KillsAnother(EMT):
    """The process whose number is in the file."""

    def calculate(self, atoms=None, *args, **options):
        flag = Path(os.environ.get("KILL", os.devnull))
        process = flag.read_text() if flag.is_file() else ""
        if _armed(atoms):
            os.kill(int(process), signal.SIGKILL)
        super().calculate(atoms, *args, **options)


class Deadly(EMT):
    """Its process, for every structure of gold."""

    def calculate(self, atoms=None, *args, **options):
        if "Au" in atoms.symbols:
            os.kill(os.getpid(), signal.SIGKILL)
        super().calculate(atoms, *args, **options)
