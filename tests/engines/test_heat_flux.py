"""The heat flux is the rate of the energy's barycentre, for every architecture, in clusters and across cells."""

import copy

import numpy as np
import pytest
import torch
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.lj import LennardJones
from ase.md.verlet import VelocityVerlet
from torch import nn

from gnnpot.engines.calculator import Calculator
from gnnpot.engines.heat_flux import flux_virials, heat_flux
from gnnpot.errors import ConfigError
from gnnpot.units import stress_from_voigt
from tests.engines.every_architecture import NAMES, make


@pytest.fixture(scope="module", params=NAMES)
def calculator(request) -> Calculator:
    return Calculator(make(request.param))


def moving(atoms: Atoms, chosen: slice = slice(None)) -> Atoms:
    """With velocities of an atom at some hundred K for the chosen atoms."""
    velocities = np.zeros((len(atoms), 3))
    velocities[chosen] = 0.01 * np.random.default_rng(5).standard_normal((len(atoms), 3))[chosen]
    atoms.set_velocities(velocities)
    return atoms


def barycentre(atoms: Atoms, calculator: Calculator) -> np.ndarray:
    """Σ_i r_i E_i, eV Å, of atoms that have not left their cell."""
    atoms = atoms.copy()
    atoms.calc = calculator
    kinetic = 0.5 * atoms.get_masses() * (atoms.get_velocities() ** 2).sum(1)
    return (atoms.get_potential_energies() + kinetic) @ atoms.positions


def numeric_flux(atoms: Atoms, calculator: Calculator, step: float = 0.02) -> np.ndarray:
    """The rate of the barycentre by a step forward and a step backward in time, eV Å/fs."""
    found = []
    for sign in (1, -1):
        moved = atoms.copy()
        moved.calc = calculator
        VelocityVerlet(moved, sign * step * units.fs).run(1)
        found.append(barycentre(moved, calculator))
    return (found[0] - found[1]) / (2 * step)


def cluster() -> Atoms:
    atoms = bulk("NaCl", "rocksalt", a=5.2, cubic=True)
    atoms.rattle(0.15, seed=3)
    atoms.pbc, atoms.cell = False, None
    return moving(atoms)


def rod() -> tuple[Atoms, slice]:
    """A long cell in which only the atoms of the middle move: nothing that happens reaches its ends at first."""
    atoms = bulk("NaCl", "rocksalt", a=5.2).repeat((1, 1, 10))
    atoms.set_cell(atoms.cell @ np.array([[1.0, 0.03, 0], [0, 0.98, 0.02], [0, 0, 1.01]]), scale_atoms=True)
    atoms.rattle(0.1, seed=4)
    middle = slice(9, 12)
    return moving(atoms, middle), middle


def test_flux_of_a_cluster_is_the_rate_of_the_barycentre(calculator):
    atoms = cluster()
    flux = heat_flux(atoms, calculator)
    np.testing.assert_allclose(
        flux.total, numeric_flux(atoms, calculator), rtol=1e-4, atol=1e-5 * abs(flux.virial).max()
    )
    assert abs(flux.virial).max() > 1e-4


def test_flux_across_a_cell_is_the_rate_of_the_barycentre(calculator):
    """Along the axis of the rod, from which nothing leaves: its ends are further away than messages reach."""
    atoms, _ = rod()
    flux = heat_flux(atoms, calculator)
    along = atoms.cell.reciprocal()[2]
    numeric = numeric_flux(atoms, calculator)
    scale = abs(flux.virial).max()
    assert flux.total @ along == pytest.approx(numeric @ along, rel=1e-4, abs=1e-5 * scale * np.linalg.norm(along))
    # where the cell is cut makes no difference
    moved = atoms.copy()
    moved.positions += 0.5 * moved.cell[2] + [0.3, 0.1, 0.0]
    moved.wrap()
    again = heat_flux(moved, calculator)
    np.testing.assert_allclose(again.virial, flux.virial, atol=1e-9 * scale)
    np.testing.assert_allclose(again.convective, flux.convective, atol=1e-12)


def test_virials_add_up_to_the_stress_and_do_not_depend_on_the_cell(calculator):
    atoms = bulk("NaCl", "rocksalt", a=5.2)
    atoms.rattle(0.1, seed=1)
    virials = flux_virials(atoms, calculator)
    stress = stress_from_voigt(calculator.get_stress(atoms))
    np.testing.assert_allclose(virials.sum(0), -atoms.get_volume() * stress, atol=1e-9)
    repeated = flux_virials(atoms.repeat((2, 1, 1)), calculator)
    np.testing.assert_allclose(repeated, np.concatenate([virials, virials]), atol=1e-9)


def test_a_pair_potential_has_the_flux_of_the_textbooks():
    """J = Σ_i E_i v_i + ½ Σ_i Σ_j r_ij (F_ij · ½ (v_i + v_j)) of pairs, each of which gives half to each atom."""
    atoms = moving(bulk("NaCl", "rocksalt", a=3.0).repeat((2, 1, 1)))
    atoms.rattle(0.1, seed=2)
    potential = make("sevennet")
    for parameter in potential.model.parameters():
        nn.init.zeros_(parameter)
    calculator, h = Calculator(potential), 1e-6
    graph, velocities = calculator.graph(atoms), atoms.get_velocities() * units.fs

    def pair_energies(vectors):
        return potential.terms[0](graph.clone_with_edge_vectors(torch.from_numpy(vectors))).energies

    vectors, (centre, neighbor) = graph.edge_vectors.numpy(), graph.edge_index.numpy()
    flux = np.zeros(3)
    for e, (i, j) in enumerate(zip(centre, neighbor, strict=True)):
        for axis in range(3):
            moved = [vectors.copy(), vectors.copy()]
            moved[0][e, axis] += h
            moved[1][e, axis] -= h
            # of the half of the pair's energy that belongs to i
            slope = float(pair_energies(moved[0])[i] - pair_energies(moved[1])[i]) / (2 * h)
            flux -= vectors[e] * slope * 0.5 * (velocities[i] + velocities[j])[axis]
    np.testing.assert_allclose(heat_flux(atoms, calculator).virial, flux, atol=1e-7 * abs(flux).max())


def test_divided_virials_are_no_flux():
    """Why the calculator's `stresses` are not taken: their sum is right, their flux is not."""
    atoms = cluster()
    calculator = Calculator(make("sevennet"))
    prediction = calculator.potential(calculator.graph(atoms), virials=True)
    divided = np.einsum("jkl,jl->k", prediction.virials.numpy(), atoms.get_velocities()) * units.fs
    flux = heat_flux(atoms, calculator)
    assert abs(divided - flux.virial).max() > 0.05 * abs(flux.virial).max()


def test_single_precision_is_close():
    atoms, _ = rod()
    single, double = (heat_flux(atoms, Calculator(make("nequix"), dtype=d)).virial for d in ("float32", "float64"))
    np.testing.assert_allclose(single, double, atol=1e-4 * abs(double).max())


def test_what_has_no_flux_is_refused(monkeypatch):
    atoms = cluster()
    with pytest.raises(ConfigError, match="LennardJones has no energies of atoms that can be differentiated"):
        heat_flux(atoms, LennardJones())
    calculator = Calculator(make("sevennet"))
    model = copy.copy(calculator.potential.model)
    monkeypatch.setattr(type(model), "message_layers", None)
    with pytest.raises(ConfigError, match="SevenNet does not say on which atoms"):
        heat_flux(atoms, calculator)
