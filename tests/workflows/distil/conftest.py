"""Copper and nickel as EMT has them: a teacher that costs nothing."""

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT

from gnnpot.data import Frame, Provenance, write_store
from gnnpot.workflows.distil import distil, read_distil_config, speed

TEACHER = "ase.calculators.emt:EMT"
#: a student and a distillation that take seconds
SMALL = [
    "student.symmetry_set={kind: chosen, radial_cutoff: 4.5, angular_cutoff: 3.5, count: 12}",
    "student.hidden=[8]", "committee=2", "rounds=2", "patience=2", "learn.first_steps=40", "learn.round_steps=15",
    "learn.final_steps=50", "learn.precision=float64", "learn.loss.stress=1", "learn.validate_every=20",
    "start.distortions=[{kind: original}, {kind: rattled, rattle: 0.1, count: 2}]", "explore.trajectories=4",
    "explore.steps=20", "explore.interval=4", "explore.temperatures=[300, 800]", "select.random=4",
    "select.uncertain=5", "select.apart=2",
]  # fmt: skip


def cells() -> list[Frame]:
    """fcc cells of 4 atoms, at rest."""
    frames = []
    for k in range(6):
        atoms = bulk("Cu", "fcc", a=3.5 + 0.04 * k, cubic=True)
        atoms.symbols = ("Cu4", "Cu3Ni", "CuNi3")[k % 3]
        frames.append(Frame.from_atoms(atoms, Provenance("cells", str(k), f"m{k % 3}"), labels=False))
    return frames


@pytest.fixture(scope="session", autouse=True)
def one_turn():
    """What a step costs is no matter here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(speed, "TURNS", 1)
        yield


@pytest.fixture(scope="session")
def small() -> list[str]:
    return SMALL


@pytest.fixture(scope="session")
def structures(tmp_path_factory):
    return write_store(cells(), tmp_path_factory.mktemp("cells") / "cells.store").folder


@pytest.fixture(scope="session")
def labelled(tmp_path_factory):
    """Labelled frames, which EMT gives itself."""
    rng = np.random.default_rng(5)
    frames = []
    for frame in cells():
        atoms = frame.to_atoms()
        atoms.rattle(0.08, rng=rng)
        atoms.calc = EMT()
        atoms.get_forces(), atoms.get_stress()
        frames.append(Frame.from_atoms(atoms, frame.provenance))
    return write_store(frames, tmp_path_factory.mktemp("labelled") / "labelled.store").folder


@pytest.fixture(scope="session")
def whole(structures, labelled, tmp_path_factory):
    """(configuration, what was told) of a distillation that was never interrupted."""
    run = tmp_path_factory.mktemp("whole") / "run"
    told = []
    config = read_distil_config(TEACHER, [structures], run=run, overrides=[*SMALL, f"test=[{labelled}]"])
    distil(config, make_teacher=EMT, on_event=told.append)
    return config, told


@pytest.fixture
def config(structures, labelled, tmp_path):
    return read_distil_config(TEACHER, [structures], run=tmp_path / "run", overrides=[*SMALL, f"test=[{labelled}]"])
