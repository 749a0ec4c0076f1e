"""One derivative gives forces, stress and virials; they are those of numeric differentiation."""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule
from torch_geometric.data import Batch

from gnnpot.data.references import ElementReferences
from gnnpot.errors import UnknownElementError
from gnnpot.models import M3GNet, M3GNetConfig
from gnnpot.potential import Potential, Prediction
from gnnpot.units import VOIGT, stress_from_voigt


def make(elements=("H", "O", "Na", "Cl"), **sizes) -> Potential:
    torch.manual_seed(1)
    model = M3GNet(M3GNetConfig(elements=elements, **{"units": 8, "blocks": 2, **sizes}))
    references = ElementReferences.from_mapping({"energies": {e: -1.0 - k for k, e in enumerate(elements)}})
    return Potential(model, references, energy_scale=2.0).double()


def salt(seed=0) -> Atoms:
    atoms = bulk("NaCl", "rocksalt", 5.3)
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + 0.05 * np.random.default_rng(seed).random((3, 3))), scale_atoms=True)
    atoms.rattle(0.1, seed=seed)
    return atoms


def energy(potential: Potential, atoms: Atoms) -> float:
    return potential(potential.graph(atoms), forces=False, stress=False).energy.item()


def test_forces_and_stress_are_numeric_derivatives():
    potential, atoms, h = make(), salt(), 1e-4
    prediction = potential(potential.graph(atoms), virials=True)
    for i in range(len(atoms)):
        for axis in range(3):
            energies = []
            for sign in (1, -1):
                moved = atoms.copy()
                moved.positions[i, axis] += sign * h
                energies.append(energy(potential, moved))
            assert prediction.forces[i, axis].item() == pytest.approx((energies[1] - energies[0]) / (2 * h), abs=1e-7)
    for k, (i, j) in enumerate(VOIGT):
        energies = []
        for sign in (1, -1):
            strain = np.eye(3)
            strain[i, j] += 0.5 * sign * h
            strain[j, i] += 0.5 * sign * h
            strained = atoms.copy()
            strained.set_cell(atoms.cell.array @ strain, scale_atoms=True)
            energies.append(energy(potential, strained))
        numeric = (energies[0] - energies[1]) / (2 * h) / atoms.get_volume()
        assert prediction.stress[0, k].item() == pytest.approx(numeric, abs=1e-8)
    total = prediction.virials.sum(0).numpy()
    np.testing.assert_allclose(
        0.5 * (total + total.T), -atoms.get_volume() * stress_from_voigt(prediction.stress[0].numpy()), atol=1e-10
    )


def test_a_batch_gives_what_each_structure_gives():
    potential = make()
    structures = [salt(1), molecule("H2O"), Atoms("Na"), salt(2)]
    graphs = [potential.graph(a) for a in structures]
    together = potential(Batch.from_data_list(graphs))
    apart = [potential(g) for g in graphs]
    torch.testing.assert_close(together.energy, torch.cat([p.energy for p in apart]))
    torch.testing.assert_close(together.forces, torch.cat([p.forces for p in apart]))
    torch.testing.assert_close(together.stress, torch.cat([p.stress for p in apart]), equal_nan=True)
    assert torch.isnan(together.stress[1]).all() and torch.isfinite(together.stress[0]).all()


def test_an_atom_alone_has_an_energy_and_no_force():
    prediction = make()(make().graph(Atoms("Cl")))
    assert torch.isfinite(prediction.energy).all() and torch.equal(prediction.forces, torch.zeros(1, 3).double())


def test_references_stay_in_double_and_energy_scale_counts():
    potential = make().float()
    assert potential.dtype == torch.float32 and potential.reference_energies.dtype == torch.float64
    graph = potential.graph(salt())
    total = potential(graph).energy.item()
    potential.energy_scale.mul_(2)
    references = potential.references.apply(salt().numbers)
    assert potential(graph).energy.item() - references == pytest.approx(2 * (total - references), rel=1e-6)


def test_training_forces_are_differentiable():
    potential = make()
    prediction = potential(potential.graph(salt()), training=True)
    (prediction.forces**2).sum().backward()
    assert potential.model.three_body[0].atom.weight.grad.abs().sum() > 0


def test_elements_it_has_not_seen_are_refused():
    with pytest.raises(UnknownElementError, match="has not seen Si; it knows"):
        make().graph(bulk("Si"))


def test_molecules_beside_crystals_do_not_spoil_the_derivative_of_a_stress():
    potential = make()
    batch = Batch.from_data_list([potential.graph(salt()), potential.graph(molecule("H2O"))])
    potential(batch, training=True).stress[0].square().sum().backward()
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in potential.parameters())


def test_the_old_name_of_the_extrapolation_count_warns():
    prediction = Prediction(torch.zeros(1), torch.zeros(2), extrapolation_count=torch.tensor([0, 3]))
    with pytest.warns(DeprecationWarning, match="use extrapolation_count"):
        assert prediction.outside is prediction.extrapolation_count
