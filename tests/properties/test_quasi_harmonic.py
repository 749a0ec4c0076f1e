"""Thermal expansion, against Grüneisen's relation with the parameters of the modes."""

import numpy as np
import pytest
from ase import Atoms, units

from gnnpot.errors import SimulationError
from gnnpot.properties import quasi_harmonic
from gnnpot.properties.equation_of_state import scaled_to
from gnnpot.properties.phonons import with_force_constants
from gnnpot.properties.quasi_harmonic import QuasiHarmonicConfig
from gnnpot.units import GPA
from tests.properties.pair_potential import fcc, first_neighbours

pytest.importorskip("phonopy")
RATIOS = (0.98, 0.99, 1.0, 1.01, 1.02, 1.03)


def mode_sum(volume_ratio: float) -> tuple[np.ndarray, np.ndarray]:
    """Frequencies (THz) and weights of a mesh at a volume."""
    crystal = scaled_to(fcc(), volume_ratio * fcc().get_volume())
    phonopy = with_force_constants(crystal, first_neighbours(), (3, 3, 3))
    phonopy.run_mesh(30.0)
    return phonopy.mesh.frequencies, phonopy.mesh.weights


def test_gruneisen_relation_with_the_modes(tmp_path):
    result = quasi_harmonic.calc(
        fcc(),
        first_neighbours(),
        QuasiHarmonicConfig(ratios=RATIOS, supercell=(3, 3, 3), mesh_length=30.0, highest=320, fmax=1e-6),
    )
    for temperature in (60.0, 300.0):
        state = result.at(temperature)
        ratio, h = state.volume / fcc().get_volume(), 2e-3
        (middle, weights), (above, _), (below, _) = (mode_sum(ratio * s) for s in (1, 1 + h, 1 - h))
        kept = middle > 0.05
        parameters = -(np.log(above[kept]) - np.log(below[kept])) / (np.log(1 + h) - np.log(1 - h))
        x = units._hplanck * middle[kept] * 1e12 / (units._k * temperature)
        heat = units.kB * x**2 * np.exp(x) / np.expm1(x) ** 2
        weight = np.repeat(weights[:, None], 3, axis=1)[kept] / weights.sum()
        # α = Σ γ C / (V B)
        expected = (parameters * heat * weight).sum() / (state.volume * state.bulk_modulus * GPA)
        assert state.thermal_expansion == pytest.approx(expected, rel=0.03)
    assert (np.diff(result.volume) > 0).all() and abs(result.thermal_expansion[0]) < 1e-7
    result.plot(tmp_path / "qha.png")
    assert result.to_json()["thermal_expansion_300K_per_K"] == pytest.approx(result.at(300).thermal_expansion)


@pytest.mark.parametrize(("angle", "cubic"), [(60, True), (90, True), (70.5, False)])
def test_only_cubic_cells_of_one_atom_keep_their_shape(angle, cubic):
    # mercury's lattice is rhombohedral, with 70.5°
    assert quasi_harmonic._is_cubic(Atoms("Hg", cell=[3, 3, 3, angle, angle, angle], pbc=True)) is cubic


def test_bad_input():
    with pytest.raises(ValueError, match="five or more"):
        QuasiHarmonicConfig(ratios=(0.99, 1.0, 1.01))
    with pytest.raises(SimulationError, match="no minimum between"):
        ratios = (0.95, 0.955, 0.96, 0.965, 0.97)
        quasi_harmonic.calc(
            fcc(),
            first_neighbours(),
            QuasiHarmonicConfig(ratios=ratios, supercell=(2, 2, 2), mesh_length=10, highest=50),
        )
