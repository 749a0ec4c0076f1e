"""Element references: least squares, what the data do not fix, and exact storage."""

import json
import logging

import numpy as np
import pytest

from gnnpot.data import ElementReferences, read_frames, write_store
from gnnpot.errors import DataError, UnknownElementError

from .conftest import make_frame


def problem(n=200, noise=0.0, seed=0):
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 5, (n, 4)).astype(float)
    counts[:, 0] += 1
    true = np.array([-3.5, 1.0, -8.0, 0.25])
    return counts, counts @ true + noise * counts.sum(1) * rng.normal(size=n), true


def test_exact_data_give_exact_energies():
    counts, energies, true = problem()
    fit = ElementReferences.fit_counts(counts, energies, [1, 6, 8, 26])
    assert np.allclose(fit.energies, true, atol=1e-12) and fit.undetermined == ()
    assert max(fit.uncertainties) < 1e-12
    assert fit.apply([1, 1, 26]) == pytest.approx(-6.75)
    table = fit.energies_by_number()
    assert table.shape == (119,) and np.isnan(table[2]) and table[8] == fit.energies[2]
    with pytest.raises(UnknownElementError, match="He, Li"):
        fit.apply([1, 2, 3])


def test_uncertainties_are_those_of_repeated_fits():
    fits = [ElementReferences.fit_counts(*problem(60, 0.1, seed)[:2], [1, 2, 3, 4]) for seed in range(400)]
    # the counts change with the seed too, so that only the typical size can be compared
    spread = np.std([f.energies for f in fits], axis=0)
    stated = np.mean([f.uncertainties for f in fits], axis=0)
    assert np.allclose(stated, spread, rtol=0.15)


def test_the_fit_is_that_of_the_normal_equations():
    counts, energies, _ = problem(50, 0.3)
    weights = np.random.default_rng(1).random(50)
    n = counts.sum(1)
    a, y = counts / n[:, None], energies / n
    expected = np.linalg.solve(a.T @ (weights[:, None] * a), a.T @ (weights * y))
    fit = ElementReferences.fit_counts(counts, energies, [1, 2, 3, 4], weights)
    assert np.allclose(fit.energies, expected, atol=1e-10)
    assert np.allclose(ElementReferences.fit_counts(counts, energies, [4, 3, 2, 1], weights).energies, expected[::-1])
    ridge = np.linalg.solve(a.T @ (weights[:, None] * a) + 0.5 * weights.sum() * np.eye(4), a.T @ (weights * y))
    assert np.allclose(ElementReferences.fit_counts(counts, energies, [1, 2, 3, 4], weights, ridge=0.5).energies, ridge)


def test_elements_that_always_come_together_are_named_and_share(caplog):
    counts = np.array([[1.0, 1, 0], [2, 2, 0], [1, 1, 3]])
    with caplog.at_level(logging.WARNING):
        fit = ElementReferences.fit_counts(counts, [-6.0, -12.0, -15.0], [11, 17, 26])
    assert fit.undetermined == ("Na - Cl",) and "do not fix Na - Cl" in caplog.text
    assert np.allclose(fit.energies, [-3, -3, -3])
    assert fit.apply([11, 17]) == pytest.approx(-6)


def test_a_single_compound():
    frames = [make_frame(seed=k).replace(energy=-7.0 - k) for k in range(3)]
    fit = ElementReferences.fit(frames)
    assert fit.apply([11, 17]) == pytest.approx(-8) and fit.undetermined == ("Na - Cl",)
    alone = ElementReferences.fit(frames[:1])
    assert np.isnan(alone.uncertainties).all() and alone.apply([11, 17]) == pytest.approx(-7)
    two = ElementReferences.fit_counts([[1.0, 2, 0, 0], [0, 0, 1, 3]], [-1.0, -2], [1, 8, 13, 17])
    assert two.undetermined == ("H - 0.5 O", "Al - 0.333 Cl")


def test_a_store_and_its_frames_give_the_same(frames, tmp_path, monkeypatch):
    monkeypatch.setattr("gnnpot.data.references.BLOCK", 5)
    fit = ElementReferences.fit(write_store(frames, tmp_path / "a"), source="a")
    other = ElementReferences.fit(frames)
    assert fit.elements == other.elements == (3, 8, 9, 11, 14, 17, 26) and fit.source == "a"
    assert np.allclose(fit.energies, other.energies) and len(fit.undetermined) == len(other.undetermined) == 3


def test_published_data(shared):
    frames = list(read_frames(shared / "data/mptrj/mptrj-random-1k.extxyz.gz"))
    fit = ElementReferences.fit(frames)
    left = [(f.energy - fit.apply(f.numbers)) / len(f) for f in frames]
    assert len(fit.elements) == 85 and abs(np.mean(left)) < 0.02
    assert np.std(left) < 0.4 * np.std([f.energy / len(f) for f in frames])
    # nothing that a change of any element's energy could explain is left
    fractions = [[np.mean(f.numbers == z) for z in fit.elements] for f in frames]
    assert np.allclose(np.array(left) @ fractions, 0, atol=1e-9)


def test_refit_takes_up_the_difference_of_codes():
    frames = [
        make_frame(symbols, seed=k) for k, symbols in enumerate([(11, 17), (11, 11, 17), (11, 17, 17), (3, 9)] * 3)
    ]
    first = ElementReferences((3, 11, 26), (1.0, 2.0, 3.0), (0.1, 0.1, 0.1), source="PBE")
    shift = {11: 0.5, 17: -0.25, 3: 1.0, 9: 1.0}
    second = first.refit(frames, [sum(shift[z] for z in f.numbers) for f in frames])
    assert second.elements == (3, 9, 11, 17, 26)
    assert np.allclose(second.energies, [2.0, 1.0, 2.5, -0.25, 3.0])
    assert second.uncertainties[4] == 0.1 and second.undetermined == ("Li - F",) and second.source == "PBE"
    with pytest.raises(DataError, match="12 frames but 1 residuals"):
        first.refit(frames, [1.0])


def test_json_keeps_every_bit():
    counts, energies, _ = problem(3, 0.1)
    fit = ElementReferences.fit_counts(counts, energies, [1, 6, 8, 26], source="a")
    assert np.isnan(fit.uncertainties).all()
    again = ElementReferences.from_mapping(json.loads(json.dumps(fit.to_mapping(), allow_nan=False)))
    assert (again.elements, again.energies, again.source) == (fit.elements, fit.energies, "a")
    assert again.undetermined == fit.undetermined and np.isnan(again.uncertainties).all()
    by_hand = ElementReferences.from_mapping({"energies": {"O": -4.9, "H": -3.4}})
    assert by_hand.elements == (1, 8) and by_hand.uncertainties == ()
    assert ElementReferences.from_mapping(by_hand.to_mapping()) == by_hand


@pytest.mark.parametrize(
    ("mapping", "problem"),
    [
        ({"energy": {}}, "unknown option 'energy'; did you mean 'energies'"),
        ({}, "need 'energies'"),
        ({"energies": {"Qq": 1.0}}, "'Qq' is no chemical element"),
        ({"energies": {"H": "low"}}, "need 'energies'"),
        ({"energies": {"H": float("nan")}}, "NaN"),
    ],
)
def test_bad_mappings(mapping, problem):
    with pytest.raises(DataError, match=problem):
        ElementReferences.from_mapping(mapping)


def test_bad_input():
    with pytest.raises(DataError, match="no frame has an energy"):
        ElementReferences.fit([make_frame(energy=None)])
    with pytest.raises(DataError, match="need atoms"):
        ElementReferences.fit_counts(np.zeros((1, 1)), [1.0], [1])
    with pytest.raises(DataError, match="one energy"):
        ElementReferences((1, 2), (1.0,))
    with pytest.raises(DataError, match="ascending"):
        ElementReferences((2, 1), (1.0, 2.0))
