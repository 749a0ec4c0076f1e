"""The frames, store and small configurations of the training tests."""

from tests.training.conftest import config, frames, hdnnp, mapping, store

__all__ = ["config", "frames", "hdnnp", "mapping", "store"]
