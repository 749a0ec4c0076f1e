"""Lattice thermal conductivity: the classical limit, symmetry, and silicon by density functional theory."""

import numpy as np
import pytest
import torch
from ase.build import bulk
from ase.calculators.emt import EMT

from gnnpot.engines.calculator import Calculator
from gnnpot.errors import SimulationError
from gnnpot.properties.thermal_conductivity import ThermalConductivityConfig, calc

pytest.importorskip("phono3py", reason="needs phono3py: pip install gnnpot[properties]")

OPTIONS = {"supercell": (2, 2, 2), "mesh": (5, 5, 5)}


def conductivity(atoms, progress=lambda *_: None, **options):
    return calc(atoms, EMT(), ThermalConductivityConfig(**{**OPTIONS, **options}), progress=progress)


def copper(mass: float = 1.0):
    atoms = bulk("Cu", cubic=True)
    atoms.set_masses(atoms.get_masses() * mass)
    return atoms


@pytest.fixture(scope="module")
def found():
    return conductivity(copper(), temperatures=(100.0, 300.0, 5000.0, 10000.0))


def test_a_cubic_crystal_conducts_alike_in_all_directions(found):
    assert np.allclose(found.tensor, found.conductivity[:, None, None] * np.eye(3), rtol=1e-6)
    assert found.contributions.sum(axis=1) == pytest.approx(found.conductivity, rel=1e-9)
    assert found.formula == "Cu" and found.mesh == (5, 5, 5)


def test_the_classical_limit_goes_as_one_over_temperature_and_the_root_of_the_mass(found):
    kappa = found.conductivity
    assert kappa[2] * 5000 == pytest.approx(kappa[3] * 10000, rel=1e-3)
    # at 100 K it is far from it
    assert abs(kappa[0] * 100 / (kappa[3] * 10000) - 1) > 0.05
    # lifetimes of each mode too
    assert found.lifetimes[2, 5:] == pytest.approx(2 * found.lifetimes[3, 5:], rel=1e-2)
    heavy = conductivity(copper(4.0), temperatures=(5000.0,))
    assert heavy.conductivity[0] == pytest.approx(kappa[2] / 2, rel=1e-3)
    assert heavy.frequencies == pytest.approx(found.frequencies / 2, rel=1e-3, abs=1e-3)


def test_isotopes_scatter_and_a_cutoff_leaves_pairs_out(found):
    said = []
    some = conductivity(
        copper(), lambda what, done, total, note="": said.append((what, done, total)),
        temperatures=(300.0,), isotopes=True, cutoff=2.6,
    )  # fmt: skip
    # neighbours within 2.6 Å have most of copper's third derivatives
    assert 0.5 * found.at(300) < some.at(300) < found.at(300) * 1.5
    whole = conductivity(copper(), temperatures=(300.0,), isotopes=True)
    assert whole.at(300) < found.at(300) and np.nanmax(whole.lifetimes) < np.nanmax(found.lifetimes[1])
    assert said[-1][0] == "thermal-conductivity: displacements" and said[-1][1] == said[-1][2]


def test_silicon_conducts_as_by_density_functional_theory(published):
    """Phono3py's example with forces of PBEsol, the same supercell and mesh: 107.7 W/m/K."""
    calculator = Calculator(published("nequix-oam-1-pft"), dtype=torch.float64)
    config = ThermalConductivityConfig(supercell=(2, 2, 2), mesh=(9, 9, 9), temperatures=(300.0,))
    found = calc(bulk("Si", cubic=True), calculator, config)
    assert found.at(300.0) == pytest.approx(107.7, rel=0.15)
    assert found.at(300.0) == pytest.approx(119.2, rel=0.01)


def test_results_are_written_and_drawn(found, tmp_path):
    plain = found.to_json()
    assert plain["conductivity_300K_W_mK"] == pytest.approx(found.conductivity[1])
    assert len(plain["lifetimes_ps"]) == 4 and len(plain["frequencies_THz"]) == len(plain["contributions_W_mK"][0])
    found.plot(tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 10_000


def test_what_has_no_phonons_is_refused():
    with pytest.raises(SimulationError, match=r"Cu has imaginary modes, to \d.\d\di THz"):
        # a simple cubic crystal is no minimum
        conductivity(bulk("Cu", "sc", a=2.4), supercell=(3, 3, 3), mesh=(3, 3, 3), temperatures=(300.0,), relax=False)
    for options, problem in [
        ({"temperatures": (300.0, 200.0)}, "do not rise"),
        ({"temperatures": (0.0,)}, "temperatures: 0.0 is not a number above 0"),
        ({"mesh": (0, 3, 3)}, "mesh: 0 is not"),
        ({"cutoff": -1.0}, "cutoff: -1.0 is not"),
        ({"displacement": 0.7}, "displacement: 0.7 is not a distance above 0 and below 0.5 Å"),
    ]:
        with pytest.raises(ValueError, match=problem):
            ThermalConductivityConfig(**options)
