"""OpenMM has the numbers of the calculator, for all atoms and for some, and moves atoms with them."""

import tomllib
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.units import kJ, mol

from gnnpot.engines.calculator import Calculator
from tests.engines.every_architecture import make

openmm = pytest.importorskip("openmm")
openmmml = pytest.importorskip("openmmml")
from openmm import app, unit  # noqa: E402

from gnnpot.engines.openmm_ml import GnnpotPotentialFactory  # noqa: E402


@pytest.fixture
def potential():
    # in an installed gnnpot, the entry point does this
    openmmml.MLPotential.registerImplFactory("gnnpot", GnnpotPotentialFactory())
    return openmmml.MLPotential("gnnpot", model=make("sevennet"), dtype="float64")


@pytest.fixture
def atoms() -> Atoms:
    atoms = bulk("NaCl", "rocksalt", a=5.2, cubic=True)
    atoms.rattle(0.1, seed=1)
    return atoms


def topology_of(atoms: Atoms) -> app.Topology:
    topology = app.Topology()
    residue = topology.addResidue("SALT", topology.addChain())
    for number in atoms.numbers:
        element = app.Element.getByAtomicNumber(int(number))
        topology.addAtom(element.symbol, element, residue)
    if atoms.pbc.all():
        topology.setPeriodicBoxVectors(atoms.cell.array * unit.angstrom)
    return topology


def state_of(system, atoms, steps: int = 0):
    context = openmm.Context(system, openmm.VerletIntegrator(1.0 * unit.femtosecond), openmm.Platform.getPlatform(0))
    context.setPositions(atoms.positions * unit.angstrom)
    context.getIntegrator().step(steps)
    state = context.getState(energy=True, forces=True)
    return (
        state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole) * kJ / mol,
        state.getForces(asNumpy=True).value_in_unit(unit.kilojoule_per_mole / unit.angstrom) * kJ / mol,
        state.getKineticEnergy().value_in_unit(unit.kilojoule_per_mole) * kJ / mol,
    )


def test_numbers_are_those_of_the_calculator(potential, atoms):
    system = potential.createSystem(topology_of(atoms))
    energy, forces, _ = state_of(system, atoms)
    calculator = Calculator(make("sevennet"))
    assert energy == pytest.approx(calculator.get_potential_energy(atoms), rel=1e-6)
    np.testing.assert_allclose(forces, calculator.get_forces(atoms), atol=1e-5)


def test_dynamics_keep_the_energy(potential, atoms):
    system = potential.createSystem(topology_of(atoms), removeCMMotion=False)
    before, _, _ = state_of(system, atoms)
    after, _, kinetic = state_of(system, atoms, steps=20)
    assert kinetic > 1e-3
    assert after + kinetic == pytest.approx(before, abs=0.05 * kinetic)


def test_some_atoms_of_a_system(potential):
    """As in systems of which a force field has the rest."""
    pairs = Atoms("NaClNaCl", [[0, 0, 0], [0, 0, 2.4], [9, 0, 0], [9, 0, 2.3]])
    system = openmm.System()
    for mass in pairs.get_masses():
        system.addParticle(mass)
    potential._impl.addForces(topology_of(pairs), system, [2, 3], 0)
    energy, forces, _ = state_of(system, pairs)
    calculator = Calculator(make("sevennet"))
    assert energy == pytest.approx(calculator.get_potential_energy(pairs[2:]), rel=1e-6)
    np.testing.assert_allclose(forces[2:], calculator.get_forces(pairs[2:]), atol=1e-5)
    np.testing.assert_array_equal(forces[:2], np.zeros((2, 3)))


def test_the_entry_point_names_the_factory():
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    module, _, name = project["entry-points"]["openmmml.potentials"]["gnnpot"].partition(":")
    assert getattr(import_module(module), name) is GnnpotPotentialFactory
