"""torch-sim's own check of models, and what it does with one, compared with ASE."""

import numpy as np
import pytest
import torch
from ase.build import bulk, molecule
from ase.filters import FrechetCellFilter
from ase.optimize import FIRE

from gnnpot.data.references import ElementReferences
from gnnpot.engines.calculator import Calculator
from gnnpot.errors import DataError, UnknownElementError
from gnnpot.models import SevenNet, SevenNetConfig
from gnnpot.models.zbl import ZBL, ZBLConfig
from gnnpot.potential import Potential
from gnnpot.units import stress_from_voigt

ts = pytest.importorskip("torch_sim")
from torch_sim.models.interface import validate_model_outputs  # noqa: E402

from gnnpot.engines.torch_sim import TorchSimModel  # noqa: E402

ELEMENTS = ("H", "O", "Si", "Fe")


@pytest.fixture(scope="module")
def potential() -> Potential:
    torch.manual_seed(0)
    config = SevenNetConfig(elements=ELEMENTS, channels=(4, 3), layers=2, radial_hidden=(6,), cutoff=4.5, cutoff_on=4.0)
    model = SevenNet(config).double()
    for layer in model.layers:
        layer.convolution.denominator.fill_(4.0)
    references = ElementReferences.from_mapping({"energies": dict.fromkeys(ELEMENTS, -1.0)})
    return Potential(model, references, energy_scale=1.0, terms=[ZBL(ZBLConfig(elements=ELEMENTS))])


@pytest.fixture
def structures():
    structures = [bulk("Si", a=5.4), bulk("Fe", a=2.9, cubic=True), bulk("Si", a=5.3, cubic=True)]
    for k, atoms in enumerate(structures):
        atoms.rattle(0.05, seed=k)
        atoms.set_cell(
            atoms.cell.array @ (np.eye(3) + 0.02 * np.random.default_rng(k).random((3, 3))), scale_atoms=True
        )
    return structures


def state_of(structures, model):
    return ts.io.atoms_to_state(structures, model.device, model.dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_torch_sims_own_check(potential, dtype):
    model = TorchSimModel(potential, dtype=dtype)
    assert model.dtype == dtype
    validate_model_outputs(model, model.device, dtype)


def test_batches_have_the_numbers_of_ase(potential, structures):
    model, calculator = TorchSimModel(potential), Calculator(potential)
    results = model(state_of(structures, model))
    begin = 0
    for k, atoms in enumerate(structures):
        end = begin + len(atoms)
        assert float(results["energy"][k]) == pytest.approx(calculator.get_potential_energy(atoms), abs=1e-10)
        np.testing.assert_allclose(results["forces"][begin:end], calculator.get_forces(atoms), atol=1e-10)
        np.testing.assert_allclose(results["stress"][k], stress_from_voigt(calculator.get_stress(atoms)), atol=1e-12)
        begin = end
    # neighbours are remembered for places in the batch, with any structure there
    again = model(state_of(structures[::-1], model))
    np.testing.assert_allclose(again["energy"].flip(0), results["energy"], atol=1e-10)
    assert model.parameters_of_potential["weights_sha256"] == calculator.parameters["weights_sha256"]


def test_what_is_not_asked_for_is_not_there(potential, structures):
    model = TorchSimModel(potential, compute_stress=False)
    results = model(state_of(structures, model))
    assert set(results) == {"energy", "forces"}
    model.compute_forces = False
    assert set(model(state_of(structures, model))) == {"energy"}


def test_molecules_have_no_stress(potential):
    model = TorchSimModel(potential)
    results = model(state_of([molecule("H2O"), molecule("H2O2")], model))
    assert results["stress"].isnan().all() and results["forces"].isfinite().all()


def test_relaxation_ends_where_ases_does(potential, structures):
    model = TorchSimModel(potential)
    crystals = structures[:2]
    state = ts.optimize(
        crystals, model, optimizer=ts.frechet_cell_fire, max_steps=400,
        convergence_fn=ts.generate_force_convergence_fn(force_tol=0.005),
    )  # fmt: skip
    for atoms, found in zip(crystals, state.to_atoms(), strict=True):
        relaxed = atoms.copy()
        relaxed.calc = Calculator(potential)
        FIRE(FrechetCellFilter(relaxed), logfile=None).run(fmax=0.005, steps=400)
        found.calc = Calculator(potential)
        assert found.get_potential_energy() == pytest.approx(relaxed.get_potential_energy(), abs=2e-3)
        assert abs(found.get_forces()).max() < 0.005


def test_dynamics_keep_the_energy(potential, structures):
    model = TorchSimModel(potential)
    energies = []

    def note(state):
        energies.append((state.energy + kinetic(state)).clone())
        return state

    def kinetic(state):
        return ts.calc_kinetic_energy(masses=state.masses, momenta=state.momenta, system_idx=state.system_idx)

    state = ts.initialize_state(structures, model.device, model.dtype)
    begin, step = ts.nve(model=model, dt=torch.tensor(0.0005 * 98.22694788), kT=torch.tensor(0.025))
    state = note(begin(state, seed=1))
    for _ in range(40):
        state = note(step(state))
    drift = torch.stack(energies)
    assert (drift - drift[0]).abs().max() < 2e-3
    assert kinetic(state).max() > 0.01
    # the lists of neighbours were kept
    assert all(neighbors.rebuilds < 10 for neighbors in model._neighbors)


def test_bad_systems(potential, structures):
    model = TorchSimModel(potential)
    model(state_of([bulk("Si", a=5.4)], model))
    with pytest.raises(UnknownElementError, match="batch: the potential has not seen Ge"):
        model(state_of([bulk("Ge", a=5.4)], model))
    close = bulk("Fe", a=2.9, cubic=True)
    close.positions[1] = close.positions[0] + 0.001
    with pytest.raises(DataError, match="system 1: atoms 0 and 1 stand 0.002 Å apart|system 1: .*at one place"):
        model(state_of([structures[0], close], model))
