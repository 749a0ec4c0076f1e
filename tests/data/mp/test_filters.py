"""Filters: each leaves out what it names, against brute force where pairs of atoms decide, and counts it once."""

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.neighborlist import neighbor_list

from gnnpot.config import from_mapping, read_yaml
from gnnpot.data import FrameError
from gnnpot.data.frame import Frame
from gnnpot.data.mp.batch import FrameBatch
from gnnpot.data.mp.filters import (
    CloseAtoms,
    Curation,
    Deprecated,
    ElectronicConvergence,
    FarFromFinal,
    Forces,
    IsolatedAtoms,
    Labels,
    NearDuplicates,
    Stress,
    TaskJumps,
    apply_filters,
    default_filters,
    drop_unusable,
)
from gnnpot.data.schema import to_frames
from gnnpot.errors import ConfigError
from gnnpot.units import GPA

from .conftest import random_cell


def make_batch(structures: list[Atoms], run=None, **changes) -> FrameBatch:
    """A batch of unlabelled structures, with zeros as labels; `changes` replace whole arrays."""
    sizes = np.array([len(a) for a in structures])
    count, atoms = len(sizes), int(sizes.sum())
    run = np.zeros(count, dtype=np.int64) if run is None else np.array(run)
    names = ("source", "task", "material_id", "code", "functional", "pseudopotentials", "config_type", "hubbard_u")
    arrays = {
        "sizes": sizes,
        "numbers": np.concatenate([a.numbers for a in structures]).astype(np.int16),
        "positions": np.concatenate([a.positions for a in structures]),
        "cell": np.stack([a.cell.array for a in structures]),
        "energy": np.zeros(count),
        "forces": np.zeros((atoms, 3)),
        "stress": np.zeros((count, 6)),
        "magmoms": np.full(atoms, np.nan),
        "electronic_steps": np.full(count, 10),
        "electronic_change": np.full(count, 1e-6),
        "final_energy": np.zeros(count),
        "task_offset": np.zeros(count),
        "deprecated": np.zeros(count, dtype=bool),
        "step": np.arange(count),
        "run": run,
        "words": {name: np.array(["{}"] * (run.max() + 1), dtype=object) for name in names},
    }
    return FrameBatch(**{**arrays, **changes})


def random_structures(count: int, seed: int = 0) -> list[Atoms]:
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        n = int(rng.integers(1, 5))
        made.append(Atoms(numbers=rng.integers(1, 80, n), cell=random_cell(rng, skew=2.0), pbc=True))
        made[-1].set_scaled_positions(rng.uniform(-1, 2, (n, 3)))
    return made


@pytest.mark.parametrize("limit", [0.5, 1.5, 4.0])
def test_pairs_of_atoms_against_brute_force(limit):
    structures = random_structures(60)
    batch = make_batch(structures)
    close, isolated = [], []
    for atoms in structures:
        i = neighbor_list("i", atoms, limit)
        close.append(len(i) > 0)
        isolated.append(len(np.unique(i)) < len(atoms))
    assert CloseAtoms(limit=limit).outliers(batch).tolist() == close
    assert IsolatedAtoms(cutoff=limit).outliers(batch).tolist() == isolated
    assert 0 < sum(close) < 60 or limit != 1.5


def test_near_duplicates_are_measured_from_the_last_kept_frame():
    first = Atoms("NaCl", positions=[[0, 0, 0], [2.8, 0, 0]], cell=[5.6, 5.0, 5.2], pbc=True)
    moves = [0.0, 0.003, 0.006, 0.009, 0.002]
    structures = [first.copy() for _ in moves]
    for atoms, move in zip(structures, moves, strict=True):
        atoms.positions[1, 1] += move
    # an atom that has crossed the cell's face is where it was
    structures[1].positions[0, 0] -= 5.6
    filtered = NearDuplicates(displacement=0.005)
    assert filtered.outliers(make_batch(structures)).tolist() == [False, True, False, True, True]
    assert filtered.outliers(make_batch(structures, run=[0, 1, 1, 2, 2])).tolist() == [False, False, True, False, False]
    energies = np.array([0.0, 0.01, 0.0, 0.0, 0.0])
    assert filtered.outliers(make_batch(structures, energy=energies)).tolist() == [False, False, False, True, True]
    structures[1].set_cell(structures[1].cell * 1.001, scale_atoms=True)
    assert not filtered.outliers(make_batch(structures))[1]


def test_what_each_filter_leaves_out():
    batch = make_batch(random_structures(4))
    nan, atoms = np.nan, int(batch.sizes.sum())
    forces = np.zeros((atoms, 3))
    forces[batch.offsets[2]] = [0, 30, 40.1]
    stress = np.zeros((4, 6))
    stress[1, 4] = -151 * GPA
    n = batch.sizes
    cases = [
        (Labels(), {"energy": np.array([0, nan, 0, 0])}, 1),
        (Labels(), {"forces": np.where(np.arange(atoms)[:, None] == atoms - 1, nan, 0.0)}, 3),
        (Deprecated(), {"deprecated": np.array([False, False, True, False])}, 2),
        (ElectronicConvergence(), {"electronic_steps": np.array([99, 100, -1, 0])}, 1),
        (ElectronicConvergence(max_change=1e-4), {"electronic_change": np.array([0, nan, 1e-3, 0])}, 2),
        (FarFromFinal(), {"energy": n * np.array([0.99, 1.01, -0.049, 0])}, 1),
        (FarFromFinal(), {"energy": n * np.array([0.99, 0, -0.051, 0])}, 2),
        (FarFromFinal(), {"final_energy": np.array([nan, 0, 0, 1])}, 3),
        (TaskJumps(), {"task_offset": np.array([nan, 0.06, 0.04, 0])}, 1),
        (Forces(), {"forces": forces}, 2),
        (Stress(), {"stress": stress}, 1),
    ]
    for one, changes, out in cases:
        assert one.outliers(replace(batch, **changes)).tolist() == [k == out for k in range(4)], one
        kept, counts = apply_filters(replace(batch, **changes), (one, one))
        assert len(kept) == 3 and sum(counts.values()) == 1


def test_a_frame_counts_once():
    batch = make_batch(random_structures(3), energy=np.full(3, np.nan), electronic_steps=np.full(3, 100))
    kept, counts = apply_filters(batch, (Labels(), ElectronicConvergence()))
    assert len(kept) == 0 and list(counts.values()) == [3, 0]


def test_what_is_no_frame_goes_under_the_reason_of_a_frame():
    good = Atoms("NaCl", positions=[[0, 0, 0], [2.8, 0, 0]], cell=[5.6, 5.0, 5.2], pbc=True)
    structures = [good.copy() for _ in range(8)]
    structures[1].positions[1] = [5.61, 0, 0]
    structures[2].set_cell([[5, 0, 0], [5, 0, 0], [0, 0, 5]])
    structures[3].positions[0, 0] = np.nan
    structures[4].set_cell(np.diag([5, np.inf, 5]))
    structures[5].numbers = [0, 17]
    energy, forces = np.zeros(8), np.zeros((16, 3))
    energy[6], forces[15, 2] = np.inf, np.inf
    batch = make_batch(structures, energy=energy, forces=forces)
    kept, counts = drop_unusable(batch)
    assert kept.step.tolist() == [0]
    expected = {}
    for k, frame in enumerate(structures):
        with pytest.raises(FrameError) if k else _nothing() as caught:
            Frame(frame.numbers, frame.positions, frame.cell.array, True, energy[k], forces[2 * k : 2 * k + 2])
        if k:
            expected[caught.value.reason] = 1
    assert counts == expected


class _nothing:
    def __enter__(self):
        return None

    def __exit__(self, *_):
        return False


def test_selection_keeps_frames_whole():
    structures = random_structures(20)
    batch = make_batch(structures)
    kept = batch.select(np.arange(20) % 3 == 1)
    assert len(kept) == 7 and kept.sizes.sum() == len(kept.numbers) == len(kept.positions) == len(kept.forces)
    for atoms, frame in zip(structures[1::3], to_frames(kept.to_table()), strict=True):
        assert np.array_equal(atoms.positions, frame.positions) and np.array_equal(atoms.numbers, frame.numbers)
    assert len(batch.select(np.zeros(20, dtype=bool)).to_table()) == 0
    assert {f.name for f in fields(FrameBatch)} == set(vars(kept))


def test_options_are_strict():
    curation = from_mapping(
        Curation, {"run_types": ["r2SCAN"], "filters": [{"filter": "forces", "limit": 3}, {"filter": "labels"}]}
    )
    assert curation.filters == (Forces(limit=3.0), Labels())
    for mapping, problem in [
        ({"run_types": ["GGA", "r2SCAN"]}, "several functionals .PBE, r2SCAN."),
        ({"run_types": []}, "at least one"),
        ({"run_types": ["r2SCAN"], "corrections": "mp2020"}, "mp2020 are for GGA"),
        ({"filters": [{"filter": "force"}]}, "did you mean 'forces'"),
        ({"filters": [{"filter": "forces", "limits": 3}]}, "did you mean 'limit'"),
        ({"elements": ["Xx"]}, "'Xx' is no chemical element"),
    ]:
        with pytest.raises(ConfigError, match=problem):
            from_mapping(Curation, mapping)


def test_the_configuration_that_is_shipped_holds_the_defaults():
    path = Path(__file__).parents[3] / "configs" / "curation" / "materials-project.yaml"
    curation = from_mapping(Curation, read_yaml(path), where=str(path))
    assert curation == Curation(energy="free", filters=default_filters(ids=True))


def test_filters_that_need_ids():
    with pytest.raises(ConfigError, match="'task-jumps' needs material ids"):
        Curation(filters=(TaskJumps(),)).resolved(ids=False)
    assert Curation(filters=(TaskJumps(),)).resolved(ids=True) == (TaskJumps(),)
    names = {one.filter for one in default_filters(True)}
    assert {one.filter for one in default_filters(False)} == names - {"task-jumps", "deprecated"}
