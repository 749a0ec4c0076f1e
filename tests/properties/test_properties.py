"""Dimers, equations of state and stability: of curves and crystals whose answer is known."""

import gzip
import io
import json

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.calculator import Calculator as AseCalculator
from ase.calculators.emt import EMT
from ase.data import covalent_radii
from ase.io import read

from gnnpot.data.references import ElementReferences
from gnnpot.engines.calculator import Calculator
from gnnpot.errors import DataError, SimulationError, UnknownElementError
from gnnpot.models import M3GNet, M3GNetConfig, ZBLConfig, build_model
from gnnpot.potential import Potential
from gnnpot.properties import dimers, equation_of_state
from gnnpot.properties.dimers import RATIOS, Dimers, DimersConfig, all_pairs, dimer_energies, hole_depths, scan_dimers
from gnnpot.properties.equation_of_state import EquationOfStateConfig, fit_birch_murnaghan, scaled_energies, scaled_to
from gnnpot.properties.stability import (
    closest_approach,
    dynamics_outcome,
    free_volume_ratio,
    near_cubic_supercell,
    relaxation_outcome,
)
from gnnpot.units import GPA


@pytest.fixture(scope="module")
def potential():
    """An untrained M3GNet, small, with ZBL's repulsion, in float64."""
    torch.manual_seed(0)
    elements = ("Na", "Cl", "Cs")
    model = M3GNet(M3GNetConfig(elements=elements, units=8, blocks=1, max_n=2, max_l=2))
    references = ElementReferences.from_mapping({"energies": {"Na": -1.0, "Cl": -2.0, "Cs": -3.0}})
    return Potential(model, references, terms=[build_model(ZBLConfig(elements=elements))]).double().eval()


def test_dimers_are_what_the_calculator_gives_for_molecules(potential, tmp_path):
    pairs = all_pairs(potential.elements)
    assert pairs.tolist() == [[11, 11], [11, 17], [11, 55], [17, 17], [17, 55], [55, 55]]
    reported, calculator = [], Calculator(potential)
    scan = scan_dimers(pairs, calculator, progress=lambda done, total: reported.append((done, total)))
    assert reported[-1] == (6 * len(RATIOS), 6 * len(RATIOS)) and scan.energies.shape == (6, len(RATIOS))
    alone = {z: Atoms([z], calculator=calculator).get_potential_energy() for z in (11, 17, 55)}
    for k in (1, 5):
        # the longest of Cs-Cs are beyond the cutoff
        for d in (0, 20, len(RATIOS) - 1):
            distance = RATIOS[d] * covalent_radii[pairs[k]].sum()
            atoms = Atoms(pairs[k], [[0, 0, 0], [0, 0, distance]], calculator=calculator)
            expected = atoms.get_potential_energy() - sum(alone[z] for z in pairs[k])
            assert scan.energies[k, d] == pytest.approx(expected, abs=1e-9)
    with pytest.raises(UnknownElementError, match="has not seen Au"):
        dimer_energies(np.array([[79, 79]]), np.array([[2.0]]), calculator)
    # of a structure, those of its elements
    salt = dimers.calc(bulk("NaCl", "rocksalt", a=5.6), calculator)
    assert salt.pairs.tolist() == [[11, 11], [11, 17], [17, 17]]
    assert salt.energies == pytest.approx(scan.energies[[0, 1, 3]], abs=1e-9)
    assert json.loads(json.dumps(salt.to_json()))["pairs"][1] == ["Na", "Cl"]
    salt.plot(tmp_path / "dimers.png")
    assert (tmp_path / "dimers.png").stat().st_size > 10_000


def test_any_calculator_gives_dimers():
    copper = dimers.calc(bulk("Cu"), EMT(), DimersConfig(ratios=np.array([0.8, 0.9, 1.0])))
    atoms = Atoms("Cu2", [[0, 0, 0], [0, 0, 0.9 * 2 * covalent_radii[29]]], calculator=EMT())
    alone = Atoms("Cu", calculator=EMT()).get_potential_energy()
    assert copper.energies[0, 1] == pytest.approx(atoms.get_potential_energy() - 2 * alone)
    for ratios in ([], [0.0, 1.0], [1.0, 0.8]):
        with pytest.raises(ValueError, match="are none, or not above 0 and ascending"):
            DimersConfig(ratios=ratios)


def test_holes():
    x = RATIOS
    wall = 20 * (1.3 - x) ** 2
    morse = np.exp(-8 * (x - 0.9)) - 2 * np.exp(-4 * (x - 0.9))
    hole = wall - 3 * np.exp(-(((x - 0.4) / 0.03) ** 2))
    turned = np.where(x < 0.5, wall[np.searchsorted(x, 0.5)] - 10 * (0.5 - x), wall)
    second = morse + 0.4 * np.exp(-(((x - 1.05) / 0.04) ** 2))
    broken = np.where(x < 0.32, np.nan, wall)
    depths = hole_depths(np.stack([wall, morse, hole, turned, second, broken]), x)
    assert depths[:2] == pytest.approx(0, abs=1e-12)
    assert 1 < depths[2] < 3 and depths[3] == pytest.approx(2, abs=0.3) and 0.1 < depths[4] < 0.4
    assert np.isinf(depths[5])
    # a well on the wall is a hole even if nothing is bound anywhere else
    assert hole_depths(20 * (x - 0.45)[None] ** 2, x) == pytest.approx(20 * 0.11**2, rel=0.02)
    # the bond of V2 is none
    assert hole_depths(20 * (x - 1.77 / (2 * covalent_radii[23]))[None] ** 2, x) == pytest.approx(0, abs=1e-12)
    assert hole_depths(-(x[None] ** -1.0), x)[0] > 1
    scan = Dimers(np.array([[1, 1], [17, 11]]), x, np.stack([wall, hole]))
    assert [found[:2] for found in scan.pairs_with_holes(0.05)] == [("Cl", "Na")]
    assert scan.walls[0] == pytest.approx(20.0 - 20 * 0.01)


def birch_murnaghan(volumes, energy, volume, modulus, derivative):
    q = (volume / volumes) ** (2 / 3)
    return energy + 9 / 16 * volume * modulus * ((q - 1) ** 3 * derivative + (q - 1) ** 2 * (6 - 4 * q))


def test_the_equation_that_made_a_curve_is_found():
    volumes = np.linspace(15, 17.5, 7)
    state = fit_birch_murnaghan(volumes, birch_murnaghan(volumes, -3.7, 16.5, 0.48, 4.62))
    assert (state.energy, state.volume) == pytest.approx((-3.7, 16.5), rel=1e-9)
    assert (state.bulk_modulus, state.derivative) == pytest.approx((0.48, 4.62), rel=1e-5)
    assert state.residual < 1e-10
    # the modulus is V d²E/dV²
    v, h = state.volume, 1e-2
    e = birch_murnaghan(np.array([v - h, v, v + h]), 0.0, 16.5, 0.48, 4.62)
    assert v * (e[0] - 2 * e[1] + e[2]) / h**2 == pytest.approx(0.48, rel=1e-4)
    assert fit_birch_murnaghan(volumes, np.full(7, np.nan)) is None
    # a maximum is none, and where energies only fall the minimum is not among the volumes
    upside_down = fit_birch_murnaghan(volumes, -birch_murnaghan(volumes, 0.0, 16.5, 0.48, 4.62))
    assert upside_down is None or not 15 <= upside_down.volume <= 17.5


def test_equations_of_state_of_the_elements(shared):
    """VASP's energies give the all-electron volumes and moduli, as their authors found."""
    folder = shared / "data" / "acwf"
    text = gzip.decompress((folder / "unaries_vasp_pbe_eos.extxyz.gz").read_bytes()).decode()
    frames = read(io.StringIO(text), ":700", format="extxyz")
    expected = json.loads((folder / "results-unaries-verification-PBE-v1-AE-average.json").read_text())["BM_fit_data"]
    errors = []
    for name in {atoms.info["acwf"] for atoms in frames}:
        these = [atoms for atoms in frames if atoms.info["acwf"] == name]
        state = fit_birch_murnaghan([a.get_volume() for a in these], [a.get_potential_energy() for a in these])
        reference = expected[name]
        errors.append((
            state.volume / reference["min_volume"] - 1,
            state.bulk_modulus / reference["bulk_modulus_ev_ang3"] - 1,
            state.derivative - reference["bulk_deriv"],
        ))  # fmt: skip
    volume, modulus, derivative = np.median(np.abs(errors), axis=0)
    assert volume < 0.002 and modulus < 0.01 and derivative < 0.1


def test_volumes_are_scaled_to_the_minimum(potential, monkeypatch):
    salt, calculator = bulk("NaCl", "rocksalt", a=5.6), Calculator(potential)
    assert scaled_to(salt, 30.0).get_volume() == pytest.approx(30.0)
    assert np.allclose(scaled_to(salt, 30.0).get_scaled_positions(), salt.get_scaled_positions())
    energy = calculator.get_potential_energy(scaled_to(salt, 40.0))
    assert scaled_energies(salt, calculator, [30.0, 40.0])[1] == pytest.approx(energy, abs=1e-9)

    def curve(_atoms, _calculator, volumes):
        return birch_murnaghan(np.asarray(volumes), 0.0, 30.0, 0.3, 4.0)

    monkeypatch.setattr(equation_of_state, "scaled_energies", curve)
    state = equation_of_state.calc(salt, calculator, EquationOfStateConfig(volumes=40 * np.linspace(0.94, 1.06, 7)))
    assert state.volume == pytest.approx(30.0, rel=1e-6) and state.bulk_modulus == pytest.approx(0.3, rel=1e-4)
    assert state.shifts > 2
    assert (
        equation_of_state.calc(salt, calculator, EquationOfStateConfig(volumes=30 * np.linspace(0.94, 1.06, 7))).shifts
        == 0
    )
    monkeypatch.setattr(equation_of_state, "scaled_energies", lambda _a, _c, v: np.asarray(v))
    with pytest.raises(SimulationError, match=r"no minimum near 20\.00 to 22\.00"):
        equation_of_state.calc(salt, calculator, EquationOfStateConfig(volumes=np.linspace(20, 22, 5), max_shifts=3))
    monkeypatch.setattr(equation_of_state, "scaled_energies", lambda _a, _c, v: np.asarray(v) * np.nan)
    with pytest.raises(SimulationError, match="not finite"):
        equation_of_state.calc(salt, calculator)


def test_the_equation_of_state_of_copper_by_emt(tmp_path):
    state = equation_of_state.calc(bulk("Cu", a=3.65), EMT())
    assert state.volume == pytest.approx(11.57, rel=0.005)
    assert state.to_json()["bulk_modulus_GPa"] == pytest.approx(134, rel=0.02)
    assert state.energies_at(state.volumes) == pytest.approx(state.energies, abs=3 * state.residual + 1e-9)
    json.dumps(state.to_json())
    state.plot(tmp_path / "eos.png")
    assert (tmp_path / "eos.png").stat().st_size > 10_000


def test_an_equation_of_state_needs_a_crystal_and_four_volumes():
    with pytest.raises(DataError, match="equation of state: H2O is no crystal"):
        equation_of_state.calc(molecule("H2O"), EMT())
    with pytest.raises(ValueError, match=r"volumes: \[11.0, 12.0, 13.0\] are not four"):
        EquationOfStateConfig(volumes=[11, 12, 13])


def test_closest_approach():
    assert closest_approach(bulk("Cu", a=3.6)) == pytest.approx(3.6 / np.sqrt(2) / (2 * covalent_radii[29]))
    assert closest_approach(Atoms("H2", [[0, 0, 0], [0, 0, 5.0]])) == np.inf


def test_a_crystal_that_holds_and_one_that_does_not(tmp_path):
    copper = bulk("Cu", cubic=True, a=3.5)
    copper.rattle(0.05, seed=0)
    outcome, relaxed = relaxation_outcome(copper, EMT())
    assert not outcome.exploded and outcome.converged and outcome.fmax <= 0.05
    assert outcome.volume_ratio == pytest.approx(relaxed.get_volume() / copper.get_volume()) and outcome.closest > 0.9
    assert abs(relaxed.get_stress()).max() <= 0.1 * GPA
    blown = copper.copy()
    blown.set_cell(copper.cell * 0.6, scale_atoms=True)
    outcome, nothing = relaxation_outcome(blown, EMT())
    assert outcome.exploded and nothing is None and outcome.reason


class Gas(AseCalculator):
    """E = -k ln V, so that the pressure is k / V: 0.1 GPa at 20 Å³."""

    implemented_properties = ("energy", "forces", "stress")

    def calculate(self, atoms=None, properties=("energy",), system_changes=()):
        super().calculate(atoms, properties, system_changes)
        k, volume = 0.1 * GPA * 20, atoms.get_volume()
        stress = np.array([-k / volume] * 3 + [0.0] * 3)
        self.results = {"energy": -k * np.log(volume), "forces": np.zeros((len(atoms), 3)), "stress": stress}


def test_a_compressed_crystal_may_grow_and_not_fall_apart():
    copper = bulk("Cu")
    small = copper.copy()
    small.set_cell(copper.cell * 0.45 ** (1 / 3), scale_atoms=True)
    free = relaxation_outcome(copper, EMT())[1].get_volume() / small.get_volume()
    assert free_volume_ratio(small, EMT()) == pytest.approx(free, rel=0.005) and free > 2.1
    assert free_volume_ratio(copper * (2, 1, 1), EMT()) == pytest.approx(1, abs=0.05)
    outcome, grown = relaxation_outcome(small, EMT())
    assert not outcome.exploded and outcome.converged and grown is not None
    assert outcome.volume_ratio == pytest.approx(free, rel=1e-3) and outcome.free_volume_ratio > 2.1
    # what nothing binds pushes at any volume
    outcome, nothing = relaxation_outcome(small, Gas())
    assert outcome.exploded and nothing is None and outcome.volume_ratio > 3 and outcome.free_volume_ratio == 1


def test_dynamics_go_on_where_they_were(tmp_path):
    copper = bulk("Cu", cubic=True) * (2, 2, 1)
    whole = dynamics_outcome(copper, EMT(), tmp_path / "whole", temperature=600, steps=60)
    assert not whole.exploded and whole.steps == 60 and whole.atoms == 16 and whole.hottest < 1800
    dynamics_outcome(copper, EMT(), tmp_path / "parts", temperature=600, steps=40)
    assert dynamics_outcome(copper, EMT(), tmp_path / "parts", temperature=600, steps=60) == whole
    torn = copper.copy()
    torn.positions[0] += 1.3
    outcome = dynamics_outcome(torn, EMT(), tmp_path / "torn", temperature=50, steps=200)
    assert outcome.exploded and "K" in outcome.reason and outcome.steps < 200


def test_hot_cells_are_near_cubes():
    silicon = near_cubic_supercell(bulk("Si"))
    assert 48 <= len(silicon) <= 110 and np.ptp(silicon.cell.lengths()) < 1e-9
    long = Atoms("H30", cell=[3, 3, 40], pbc=True)
    assert len(near_cubic_supercell(long)) == 60
    assert len(near_cubic_supercell(Atoms("H90", cell=[9, 9, 9], pbc=True))) == 90
