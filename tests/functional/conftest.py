"""A quick Kohn-Sham reference that several tests use."""

import pytest

from gnnpot.functional import crystals
from gnnpot.functional.data import Sample, to_sample
from gnnpot.functional.kohn_sham import KohnShamResult, Settings, solve


@pytest.fixture(scope="session")
def gallium_arsenide() -> KohnShamResult:
    return solve(crystals.zincblende("GaAs"), Settings(cutoff=10.0, mesh=(2, 2, 2)))


@pytest.fixture(scope="session")
def sample(gallium_arsenide) -> Sample:
    return to_sample(gallium_arsenide, "GaAs-quick", "GaAs")
