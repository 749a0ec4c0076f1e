"""Free atoms and outliers decide no fit of element references, and are said."""

import logging

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from gnnpot.data import ElementReferences, Frame, read_frames, write_store
from gnnpot.data.structure import is_free_atom

from .conftest import make_frame

TRUE = {3: -2.0, 9: -3.0, 11: -1.5, 17: -4.0}


def compounds(n=60, noise=0.02) -> list[Frame]:
    rng = np.random.default_rng(0)
    kinds = [(11, 17), (3, 9), (11, 11, 9), (3, 17), (3, 3, 17, 17, 9)]
    made = []
    for k in range(n):
        numbers = kinds[k % len(kinds)]
        energy = sum(TRUE[z] for z in numbers) + noise * len(numbers) * rng.normal()
        made.append(make_frame(numbers, seed=k).replace(energy=energy))
    return made


def free(symbol: str, energy: float, box: float | None = None) -> Frame:
    atoms = Atoms(symbol) if box is None else Atoms(symbol, cell=[box] * 3, pbc=True)
    return Frame.from_atoms(atoms).replace(energy=energy)


def assert_near(fit: ElementReferences, tolerance: float = 0.05) -> None:
    assert dict(zip(fit.elements, fit.energies, strict=True)) == pytest.approx(TRUE, abs=tolerance)


@pytest.mark.parametrize("box", [None, 15.0])
def test_free_atoms_do_not_decide(tmp_path, caplog, box):
    frames = [*compounds(), free("Na", 3.0, box), free("Cl", 2.0, box)]
    with caplog.at_level(logging.WARNING):
        assert_near(ElementReferences.fit(frames))
    assert "2 free atoms were set aside" in caplog.text
    assert_near(ElementReferences.fit(write_store(frames, tmp_path / "a")))


def test_a_free_atom_counts_where_no_other_frame_has_the_element():
    fit = ElementReferences.fit([*compounds(), free("Fe", -7.0)])
    assert fit.energies_by_number()[26] == pytest.approx(-7.0)


def test_a_crystal_of_one_atom_is_no_free_atom():
    crystal = bulk("Cu")
    assert not is_free_atom(crystal.numbers, crystal.cell.array, crystal.pbc)
    assert is_free_atom(crystal.numbers, crystal.cell.array, np.zeros(3, bool))
    assert is_free_atom(crystal.numbers, 15 * np.eye(3), np.ones(3, bool))
    assert not is_free_atom(crystal.numbers, np.diag([2.5, 15.0, 15.0]), np.ones(3, bool))


def test_a_refit_of_one_compound_is_not_decided_by_one_free_atom():
    """12 frames of NaCl whose labels differ by -1.5 eV per atom, and one free atom of sodium by 2 eV."""
    frames = [make_frame((11, 17), seed=k) for k in range(12)]
    first = ElementReferences((11, 17), (0.0, 0.0))
    fit = first.refit([*frames, free("Na", 0.0)], np.array([-3.0] * 12 + [2.0]))
    assert fit.energies == pytest.approx((-1.5, -1.5)) and fit.undetermined == ("Na - Cl",)


def test_the_sample_suffices(monkeypatch):
    monkeypatch.setattr("gnnpot.data.references.SAMPLE", 20)
    frames = [*compounds(), free("Fe", -7.0)]
    frames[7] = frames[7].replace(energy=1e4)
    fit = ElementReferences.fit(frames)
    assert fit.energies[:4] == pytest.approx(tuple(TRUE.values()), abs=0.05)


@pytest.mark.parametrize("wrong", [1e5, -3e4, 300.0])
def test_an_outlier_does_not_decide(tmp_path, caplog, wrong):
    frames = compounds()
    frames[7] = frames[7].replace(energy=wrong)
    with caplog.at_level(logging.WARNING):
        assert_near(ElementReferences.fit(frames))
    assert "1 of 60 frames were set aside" in caplog.text and "number 7" in caplog.text
    assert_near(ElementReferences.fit(write_store(frames, tmp_path / "a")))


def test_labels_of_another_unit_do_not_decide():
    frames = compounds(noise=0.01)
    for k in range(0, 60, 9):
        frames[k] = frames[k].replace(energy=frames[k].energy * 27.211)
    assert_near(ElementReferences.fit(frames))


def test_outliers_of_a_refit_do_not_decide():
    frames = compounds()
    residuals = np.array([0.1 * len(f) for f in frames])
    residuals[[3, 20]] = 1e4, -500.0
    fit = ElementReferences(tuple(TRUE), tuple(TRUE.values())).refit(frames, residuals)
    assert fit.energies == pytest.approx([e + 0.1 for e in TRUE.values()], abs=1e-6)


def test_data_without_outliers_are_fitted_as_ever(shared, caplog):
    frames = list(read_frames(shared / "data/mptrj/mptrj-highest-stress-1k.extxyz.gz"))
    with caplog.at_level(logging.WARNING):
        fit = ElementReferences.fit(frames)
    counts = np.array([[np.sum(f.numbers == z) for z in fit.elements] for f in frames], dtype=float)
    plain = ElementReferences.fit_counts(counts, [f.energy for f in frames], fit.elements)
    assert np.allclose(fit.energies, plain.energies, atol=1e-9) and "set aside" not in caplog.text


def test_one_force_of_another_unit_sets_no_scale(caplog):
    from gnnpot.training.prepare import force_scale

    frames = compounds()
    scale = force_scale(frames)
    plain = np.sqrt(np.mean(np.concatenate([f.forces.ravel() for f in frames]) ** 2))
    assert scale == pytest.approx(plain)
    frames[5] = frames[5].replace(forces=frames[5].forces * 1e6)
    with caplog.at_level(logging.WARNING):
        assert force_scale(frames) == pytest.approx(scale, rel=0.05)
    assert "1 of 60 frames have forces" in caplog.text


def test_what_is_left_of_forces_that_are_zero_sets_no_scale():
    """As of crystals at several volumes: energies in units of 1e-7 eV can't be learnt."""
    from gnnpot.training.prepare import force_scale

    noise = np.random.default_rng(0)
    still = [f.replace(forces=1e-7 * noise.normal(size=(len(f), 3))) for f in compounds()]
    assert force_scale(still) == force_scale([f.replace(forces=0 * f.forces) for f in still]) == 1.0
