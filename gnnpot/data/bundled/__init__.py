"""The small data set that comes with gnnpot; its README says what is in it."""

from importlib.resources import files
from pathlib import Path


def bundled_path() -> Path:
    """`gpaw-pbe.extxyz.gz`: crystals with energies, forces and stresses, for tests, examples and first trainings."""
    return Path(str(files(__name__) / "gpaw-pbe.extxyz.gz"))
