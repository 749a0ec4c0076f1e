"""Distortions do what they say, and the same random numbers make the same structures."""

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.data import atomic_numbers, covalent_radii
from scipy import stats

from gnnpot.errors import ConfigError, DataError, ExplosionError
from gnnpot.sampling import (
    LabelConfig,
    Melted,
    Original,
    Pairs,
    Rattled,
    Scaled,
    Strained,
    Substituted,
    Swapped,
    Vacancies,
    read_label_config,
)
from gnnpot.sampling.config import parse_distortion
from gnnpot.sampling.distortions import DistortionError, repeated, similar_elements

ALL = [
    Original(), Rattled(), Strained(), Scaled(), Vacancies(), Swapped(), Substituted(), Pairs(),
    Melted(count=2, steps=5, temperature=500),
]  # fmt: skip


def salt() -> Atoms:
    return bulk("NaCl", "rocksalt", a=5.64, cubic=True)


def alloy() -> Atoms:
    atoms = bulk("Cu", cubic=True, a=3.7)
    atoms.symbols[1] = "Au"
    return atoms


def make(distortion, atoms: Atoms, seed: int = 0) -> list[Atoms]:
    return list(distortion.make(atoms, np.random.default_rng(seed), EMT()))


@pytest.mark.parametrize("distortion", ALL, ids=lambda d: d.kind)
def test_the_same_numbers_make_the_same_and_the_structure_stays(distortion):
    atoms = alloy()
    before = atoms.copy()
    first, again, other = (make(distortion, atoms, seed) for seed in (1, 1, 2))
    assert atoms == before
    for a, b in zip(first, again, strict=True):
        assert np.array_equal(a.positions, b.positions) and np.array_equal(a.numbers, b.numbers)
        assert np.array_equal(a.cell, b.cell)
    if distortion.kind != "original":
        assert any(
            len(a) != len(b) or not np.array_equal(a.positions, b.positions) or not np.array_equal(a.numbers, b.numbers)
            for a, b in zip(first, other, strict=True)
        )


def test_a_rattle_is_gaussian():
    (found,) = make(Rattled(rattle=0.13, min_atoms=2000), salt())
    moves = (found.positions - repeated(salt(), 2000).positions).ravel() / 0.13
    assert len(found) >= 2000 and stats.kstest(moves, "norm").pvalue > 0.01


def test_a_strain_is_symmetric_and_within_its_bounds():
    for seed in range(20):
        (found,) = make(Strained(strain=0.07), salt(), seed)
        strain = np.linalg.solve(salt().cell.array, found.cell.array) - np.eye(3)
        assert np.allclose(strain, strain.T, atol=1e-12) and 0 < np.abs(strain).max() <= 0.07
        assert np.allclose(found.get_scaled_positions(wrap=False), salt().get_scaled_positions(wrap=False))


def test_volumes_cover_their_range():
    scaled = Scaled(volume=(0.5, 2.0))
    ratios = [make(scaled, salt(), seed)[0].get_volume() / salt().get_volume() for seed in range(200)]
    assert 0.5 <= min(ratios) < 0.55 and 1.8 < max(ratios) <= 2.0
    assert stats.kstest((np.log(ratios) + np.log(2)) / np.log(4), "uniform").pvalue > 0.01


def test_vacancies_swaps_and_substitutions():
    (found,) = make(Vacancies(removed=2, min_atoms=16), salt())
    assert len(found) == 14
    (found,) = make(Swapped(), salt())
    changed = np.flatnonzero(found.numbers != salt().numbers)
    assert len(changed) == 2 and sorted(found.numbers) == sorted(salt().numbers)
    seen = set()
    for seed in range(30):
        (found,) = make(Substituted(), salt(), seed)
        new = set(found.symbols) - {"Na", "Cl"}
        seen |= new
        r = covalent_radii
        expected = (r[found.numbers] ** 3).sum() / (r[salt().numbers] ** 3).sum()
        assert found.get_volume() / salt().get_volume() == pytest.approx(expected)
    assert seen <= set(similar_elements("Na")) | set(similar_elements("Cl")) and len(seen) > 4
    (found,) = make(Substituted(elements=("K",), share=0.25, rescale=False), salt())
    assert list(found.symbols).count("K") == 1 and np.allclose(found.cell, salt().cell)


def test_pairs_stand_alone_at_their_distances():
    for seed in range(20):
        (found,) = make(Pairs(distance=(0.4, 0.9)), salt(), seed)
        assert len(found) == 2 and not found.pbc.any()
        radii = covalent_radii[found.numbers].sum()
        assert 0.4 <= found.get_distance(0, 1) / radii <= 0.9


def test_distinct_pairs_are_of_two_elements_where_there_are_two():
    pairs = Pairs(distinct=True)
    assert all(set(atoms.symbols) == {"Na", "Cl"} for seed in range(20) for atoms in make(pairs, salt(), seed))
    (found,) = make(pairs, bulk("Cu"))
    assert list(found.symbols) == ["Cu", "Cu"]


def test_melting_heats_and_its_states_follow_one_another():
    states = make(Melted(count=3, steps=20, temperature=1500, timestep=4), bulk("Cu", cubic=True))
    assert len(states) == 3 and all(len(s) == 8 for s in states)
    moved = [np.linalg.norm(s.positions - repeated(bulk("Cu", cubic=True), 8).positions) for s in states]
    assert moved[0] > 0.1 and len({round(m, 6) for m in moved}) == 3
    assert all(not s.get_momenta().any() and s.calc is None for s in states)


@pytest.mark.parametrize(
    ("distortion", "atoms", "reason"),
    [
        (Strained(), molecule("H2O"), "no periodic cell to change"),
        (Scaled(), molecule("H2O"), "no periodic cell to change"),
        (Swapped(), bulk("Cu"), "no atoms of different elements to swap"),
        (Vacancies(min_atoms=1), bulk("Cu"), "no atoms to take out"),
        (Substituted(elements=("Cu",)), bulk("Cu"), "no element to substitute"),
    ],
)
def test_what_is_not_possible_says_why(distortion, atoms, reason):
    with pytest.raises(DistortionError) as caught:
        make(distortion, atoms)
    assert caught.value.reason == reason


def test_every_element_has_others_like_it_or_none():
    for symbol in list(atomic_numbers)[1:95]:
        assert symbol in similar_elements(symbol) or similar_elements(symbol) == ()


def test_configurations(tmp_path):
    shipped = read_label_config(Path(__file__).parents[2] / "configs" / "label.yaml")
    assert shipped.runs == sum(d.runs for d in shipped.distortions) > 10
    config = read_label_config(None, ["scaled volume=[0.5,2] count=3", "rattled rattle=1e-1"], seed=5)
    assert config.distortions == (Scaled(volume=(0.5, 2.0), count=3), Rattled(rattle=0.1)) and config.seed == 5
    assert config.distortions[0].words == "scaled volume=0.5-2.0"
    (tmp_path / "a.yaml").write_text("distortions: [{kind: melted, temperature: 900}]\nlimits: {max_force: 5}")
    config = read_label_config(tmp_path / "a.yaml")
    assert config.distortions == (Melted(temperature=900),) and config.limits.max_force == 5
    for text, problem in [
        ("rattle", "kind 'rattle' is not known; did you mean 'rattled'"),
        ("rattled ratle=1", "unknown option 'ratle'; did you mean 'rattle'"),
        ("rattled rattle=-1", "not a number from 0 on"),
        ("rattled rattle", "not of the form name=value"),
        ("strained strain=2", "not between"),
        ("substituted elements=[Qq]", "no chemical element"),
        ("scaled volume=[2,1]", "not a range"),
        ("vacancies removed=-1", "removed: -1 is not a whole number from 1 on"),
        ("swapped pairs=0", "pairs: 0 is not a whole number from 1 on"),
    ]:
        with pytest.raises((ConfigError, DataError), match=problem):
            parse_distortion(text)
    with pytest.raises(ConfigError, match="'rattled' is there twice"):
        read_label_config(None, ["rattled", "rattled count=2"])
    with pytest.raises(ValueError, match="there are none"):
        LabelConfig(distortions=())


def test_a_melt_that_explodes_names_its_own_options():
    melted = Melted(temperature=1e4, steps=50, timestep=50.0, count=1)
    with pytest.raises(ExplosionError, match=r"exploded.*; take a lower temperature or a shorter timestep of 'melted'"):
        list(melted.make(bulk("Cu", cubic=True), np.random.default_rng(0), EMT()))
