"""The ASE calculator: derivatives, remembered neighbours, errors, and the user's potential left alone."""

import copy
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.calculators.calculator import PropertyNotImplementedError
from ase.calculators.fd import calculate_numerical_forces, calculate_numerical_stress

from gnnpot.data.frame import Frame
from gnnpot.engines.calculator import Calculator
from gnnpot.engines.predict import predict
from gnnpot.errors import DataError, SimulationError, UnknownElementError
from gnnpot.graphs import Graph
from gnnpot.potential import Prediction


def test_forces_and_stress_are_derivatives(potential, crystal):
    crystal.calc = Calculator(potential)
    forces, stress = crystal.get_forces(), crystal.get_stress()
    np.testing.assert_allclose(forces, calculate_numerical_forces(crystal, eps=1e-4), atol=2e-6)
    np.testing.assert_allclose(stress, calculate_numerical_stress(crystal, eps=1e-5), atol=1e-7)


def test_results_are_those_of_the_potential(potential, crystal):
    crystal.calc = Calculator(potential)
    prediction = potential(potential.graph(Frame.from_atoms(crystal, labels=False)))
    assert crystal.get_potential_energy() == pytest.approx(float(prediction.energy), abs=1e-10)
    assert crystal.get_potential_energy(force_consistent=True) == crystal.get_potential_energy()
    np.testing.assert_allclose(crystal.get_forces(), prediction.forces, atol=1e-10)
    np.testing.assert_allclose(crystal.get_stress(), prediction.stress[0], atol=1e-10)
    np.testing.assert_allclose(crystal.get_potential_energies(), prediction.energies, atol=1e-10)


@pytest.mark.parametrize("name", ["magmoms", "magmom"])
def test_missing_magnetic_moments_name_a_potential_that_has_them(potential, crystal, name):
    calculator = Calculator(potential)
    with pytest.raises(PropertyNotImplementedError, match="predicts no magnetic moments; use a potential"):
        calculator.get_property(name, crystal)
    assert calculator.get_property("energy", crystal, allow_calculation=False) is not None
    assert calculator.get_property(name, crystal, allow_calculation=False) is None


def test_charges_and_moments_of_the_structure_are_ignored(potential, crystal):
    calculator = Calculator(potential)
    energy = calculator.get_potential_energy(crystal)
    crystal.info.update(charge=1, spin=2)
    crystal.set_initial_charges(np.ones(len(crystal)))
    crystal.set_initial_magnetic_moments(np.ones(len(crystal)))
    assert calculator.get_property("energy", crystal, allow_calculation=False) == energy
    assert Calculator(potential).get_potential_energy(crystal) == energy


def test_stress_with_vacuum_is_per_volume_of_the_cell(potential, crystal):
    crystal.pbc = False
    crystal.calc = Calculator(potential)
    stress, volume = crystal.get_stress(), crystal.get_volume()
    crystal.cell[2] *= 3
    assert np.abs(stress).max() > 0
    np.testing.assert_allclose(crystal.get_stress() * crystal.get_volume(), stress * volume, atol=1e-10)


def test_skin_changes_no_result(potential, crystal):
    """Forty steps of a walk with strain: remembered neighbours give the numbers of fresh ones."""
    rng = np.random.default_rng(0)
    kept, fresh = Calculator(potential, skin=0.5), Calculator(potential, skin=0.0)
    for _ in range(40):
        crystal.positions += 0.02 * rng.standard_normal(crystal.positions.shape)
        crystal.set_cell(crystal.cell.array @ (np.eye(3) + 0.003 * rng.uniform(-1, 1, (3, 3))), scale_atoms=True)
        for name, tolerance in (("energy", 1e-10), ("forces", 1e-10), ("stress", 1e-12)):
            a, b = (c.get_property(name, crystal) for c in (kept, fresh))
            np.testing.assert_allclose(a, b, atol=tolerance, rtol=0)
    assert kept.neighbors.rebuilds < fresh.neighbors.rebuilds == 40


def test_the_potential_is_left_as_it_was(potential, crystal):
    potential.train()
    before = {name: value.clone() for name, value in potential.state_dict().items()}
    calculator = Calculator(potential, dtype=torch.float32)
    calculator.get_potential_energy(crystal)
    assert potential.training
    assert potential.dtype == torch.float64 and calculator.dtype == torch.float32
    assert all(p.requires_grad for p in potential.parameters())
    assert not any(p.requires_grad for p in calculator.potential.parameters())
    for name, value in potential.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_single_precision_is_close(potential, crystal):
    single, double = Calculator(potential, dtype=torch.float32), Calculator(potential)
    difference = single.get_potential_energy(crystal) - double.get_potential_energy(crystal)
    assert abs(difference) < 1e-5 * len(crystal)
    np.testing.assert_allclose(single.get_forces(crystal), double.get_forces(crystal), atol=1e-3)


def test_molecule_has_no_stress(potential):
    pair = Atoms("NaCl", [[0, 0, 0], [0, 0, 2.4]])
    pair.calc = Calculator(potential)
    assert np.isfinite(pair.get_potential_energy())
    with pytest.raises(PropertyNotImplementedError, match="no stress without a cell"):
        pair.get_stress()


def test_lone_atom(potential):
    atom = Atoms("Na")
    atom.calc = Calculator(potential)
    assert np.isfinite(atom.get_potential_energy())
    np.testing.assert_array_equal(atom.get_forces(), np.zeros((1, 3)))


def test_errors(potential, crystal):
    calculator = Calculator(potential)
    with pytest.raises(UnknownElementError, match="has not seen Cu"):
        calculator.get_potential_energy(Atoms("NaCu", [[0, 0, 0], [0, 0, 2]]))
    with pytest.raises(DataError, match="at one place"):
        calculator.get_potential_energy(Atoms("NaCl", [[0, 0, 0], [0, 0, 0.01]]))
    with pytest.raises(DataError, match="no atoms"):
        calculator.get_potential_energy(Atoms())
    for skin in (-0.1, 1e6, np.inf, np.nan):
        with pytest.raises(ValueError, match="skin"):
            Calculator(potential, skin=skin)
    crystal.positions[0, 0] = np.inf
    with pytest.raises(DataError, match="not finite numbers; mend the structure"):
        Calculator(potential).get_potential_energy(crystal)


@pytest.mark.parametrize("change", ["collision", "not finite", "no volume"])
def test_a_failed_call_leaves_no_results_of_another_structure(potential, crystal, change):
    """Also if `calculate` is called without ASE's `get_…`, which forget them before."""
    calculator, other = Calculator(potential), crystal.copy()
    calculator.calculate(crystal, ["energy", "stress"])
    if change == "no volume":
        other.pbc, other.cell[:] = False, 0.0
    else:
        other.positions[1] = other.positions[0] if change == "collision" else np.nan
    with pytest.raises((DataError, SimulationError, PropertyNotImplementedError)):
        calculator.calculate(other, ["energy", "stress"])
    if change == "no volume":
        assert calculator.get_potential_energy(other) == Calculator(potential).get_potential_energy(other)
    else:
        assert calculator.results == {}
        with pytest.raises((DataError, SimulationError)):
            calculator.get_potential_energy(other)


@pytest.mark.parametrize("pbc", [(False, False, False), (True, False, True)])
def test_a_flat_cell_has_no_stress(potential, pbc):
    """Vectors along directions without periodicity may say anything."""
    pair = Atoms("NaCl", [[0, 0, 0], [0, 0, 2.4]], cell=[[4, 0, 0], [4, 1e-9, 0], [0, 0, 5]], pbc=pbc)
    expected = pair.copy()
    expected.cell[1] = 0.0
    for atoms in (pair, expected):
        atoms.calc = Calculator(potential)
    assert pair.get_potential_energy() == pytest.approx(expected.get_potential_energy(), abs=1e-10)
    np.testing.assert_allclose(pair.get_forces(), expected.get_forces(), atol=1e-10)
    with pytest.raises(PropertyNotImplementedError, match="no stress without a cell"):
        pair.get_stress()
    (predicted,) = predict([pair], potential)
    assert "stress" not in predicted.calc.results


def test_a_lattice_that_is_not_finite_has_exploded(potential, crystal):
    crystal.calc = Calculator(potential)
    crystal.get_stress()
    crystal.cell[0, 0] = np.nan
    with pytest.raises(SimulationError, match="exploded"):
        crystal.get_stress()


def test_graphs_stay_as_they_were(potential, crystal):
    """Of both makers, when the atoms move on."""
    graphs = [Calculator(potential).graph(crystal), potential.graph(crystal)]
    before = [potential(graph) for graph in graphs]
    positions = crystal.positions.copy()
    crystal.set_cell(1.2 * crystal.cell.array, scale_atoms=True)
    crystal.numbers[:], crystal.pbc = 11, False
    for graph, expected in zip(graphs, before, strict=True):
        np.testing.assert_array_equal(graph.positions, positions)
        assert torch.equal(potential(graph).stress, expected.stress) and bool(graph.pbc.all())


def test_graphs_in_threads(potential, crystal):
    """Each is that of its own atoms, as Hessians and heat fluxes take them from a calculator that is shared."""
    calculator, interval = Calculator(potential), sys.getswitchinterval()
    structures = [crystal, crystal[::-1], crystal[:5], crystal * (2, 1, 1)]
    expected = [Calculator(potential).graph(atoms) for atoms in structures]

    def ask(k: int) -> list[Graph]:
        return [calculator.graph(structures[k]) for _ in range(20)]

    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(len(structures)) as threads:
            found = list(threads.map(ask, range(len(structures))))
    finally:
        sys.setswitchinterval(interval)
    for graphs, graph in zip(found, expected, strict=True):
        assert all(torch.equal(g.numbers, graph.numbers) for g in graphs)
        assert all(torch.equal(g.edge_index, graph.edge_index) for g in graphs)


def test_results_that_are_not_finite(potential, crystal, monkeypatch):
    calculator = Calculator(potential)

    def broken(graph, **_):
        n = len(graph.numbers)
        return Prediction(torch.zeros(1), torch.zeros(n), torch.full((n, 3), torch.nan), torch.zeros(1, 6))

    monkeypatch.setattr(calculator.potential, "forward", broken)
    with pytest.raises(SimulationError, match="forces is not finite"):
        calculator.get_forces(crystal)
    assert calculator.results == {}


def test_warns_of_surroundings_that_training_did_not_have(potentials, crystal, caplog):
    potential = copy.deepcopy(potentials["hdnnp"])
    potential.model.fit_statistics([potential.graph(crystal)])
    crystal.calc = Calculator(potential)
    crystal.get_forces()
    assert crystal.calc.extrapolating == 0 and not caplog.records
    crystal.set_cell(crystal.cell * 0.9, scale_atoms=True)
    crystal.get_forces()
    assert crystal.calc.extrapolating == 8
    assert (crystal.calc.extrapolation_count > 0).sum() == 8 and len(crystal.calc.extrapolation_count) == len(crystal)
    crystal.rattle(0.4, seed=3)
    crystal.get_forces()
    # said once: it has not become twice as bad
    assert [record.message for record in caplog.records if "8 of 8 atoms" in record.message][1:] == []
    assert len(caplog.records) == 1


def test_models_without_a_range_warn_of_nothing(potentials, crystal, caplog):
    crystal.calc = Calculator(potentials["m3gnet"])
    crystal.get_forces()
    assert crystal.calc.extrapolating == 0 and not caplog.records


def test_calculates_anew_only_what_results_depend_on(potential, crystal, monkeypatch):
    crystal.calc = calculator = Calculator(potential)
    forward, calls = calculator.potential.forward, []
    monkeypatch.setattr(calculator.potential, "forward", lambda *a, **k: calls.append(1) or forward(*a, **k))
    crystal.get_forces(), crystal.get_stress(), crystal.get_potential_energy()
    crystal.set_initial_charges([0.1] * len(crystal))
    crystal.get_forces()
    assert len(calls) == 1

    def swap_two_elements():
        crystal.numbers[[0, 1]] = crystal.numbers[[1, 0]]

    changes = (
        lambda: crystal.positions.__setitem__((0, 0), np.nextafter(crystal.positions[0, 0], 9.0)),
        lambda: crystal.set_cell(crystal.cell * 1.01),
        lambda: crystal.set_pbc([True, True, False]),
        swap_two_elements,
        lambda: crystal.__delitem__(0),
    )
    for n, change in enumerate(changes, 2):
        change()
        crystal.get_forces()
        assert len(calls) == n
