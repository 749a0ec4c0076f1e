"""Fixtures that every room uses."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data and reference numbers; tests that need it skip without it."""
    path = Path(os.environ.get("GNNPOT_SHARED", Path(__file__).parents[2] / "shared"))
    if not (path / "data").is_dir():
        pytest.skip("needs the shared data (set GNNPOT_SHARED to its folder)")
    return path
