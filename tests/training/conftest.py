"""Copper clusters and cells, labelled by ASE's EMT: cheap, smooth, with energy, forces and stress."""

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT

from gnnpot.config import from_mapping
from gnnpot.data import Frame, Provenance, write_store
from gnnpot.training.config import TrainConfig
from gnnpot.training.run import train


def emt_frames(count: int, seed: int = 0) -> list[Frame]:
    """Strained and rattled fcc cells of 4 atoms Cu, Cu3Ni or Ni."""
    rng = np.random.default_rng(seed)
    frames = []
    for k in range(count):
        atoms = bulk("Cu", "fcc", a=3.6, cubic=True)
        atoms.symbols = ("Cu4", "Cu3Ni", "Ni4")[k % 3]
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + 0.03 * rng.normal(size=(3, 3))), scale_atoms=True)
        atoms.rattle(0.1, rng=rng)
        atoms.calc = EMT()
        atoms.get_forces(), atoms.get_stress()
        provenance = Provenance(source="emt", source_id=str(k), material_id=f"m{k % 12}", config_type=f"kind {k % 2}")
        frames.append(Frame.from_atoms(atoms, provenance))
    return frames


@pytest.fixture(scope="session")
def frames() -> list[Frame]:
    return emt_frames(36)


@pytest.fixture(scope="session")
def store(tmp_path_factory, frames):
    return write_store(frames, tmp_path_factory.mktemp("emt") / "emt.store").folder


@pytest.fixture(scope="session")
def hdnnp() -> dict:
    """The configuration of a small model."""
    functions = {"kind": "weighted", "radial_cutoff": 4.5, "angular_cutoff": 3.5, "radial": 6, "angular": 1}
    return {"architecture": "hdnnp", "symmetry_set": functions, "hidden": [8]}


@pytest.fixture
def mapping(tmp_path, store, hdnnp) -> dict:
    """A run that takes a second: 27 frames, 7 steps an epoch."""
    return {
        "model": hdnnp,
        "data": {"train": str(store), "split": {"validation": 0.25, "by": "frame"}},
        "run": str(tmp_path / "run"),
        "loss": {"kind": "huber", "delta": 0.1, "stress": 1.0},
        "optimizer": {"lr": 0.01},
        "schedule": {"warmup_steps": 3},
        "batch": {"frames": 4},
        "epochs": 3,
        "checkpoint_every": 4,
        "validate_every": 6,
        "log_every": 1,
        "ema": 0.9,
        "precision": "float64",
        "zbl": True,
    }


@pytest.fixture
def config(mapping) -> TrainConfig:
    return from_mapping(TrainConfig, mapping)


@pytest.fixture
def uninterrupted(config):
    return train(config)
