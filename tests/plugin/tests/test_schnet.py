"""What the author of a plug-in tests: the contract of gnnpot, on a small model."""

from gnnpot_example.schnet import SchNetConfig

from gnnpot.testing import ModelContract


class TestSchNet(ModelContract):
    config = SchNetConfig(elements=("Cu", "Ni"), features=8, interactions=1, gaussians=8, cutoff=4.0)
