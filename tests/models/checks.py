"""What the tests of several architectures ask of a potential with random weights."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule
from torch_geometric.data import Batch

from gnnpot.graphs import Graph
from gnnpot.potential import Potential, Prediction


def salt(seed: int = 0) -> Atoms:
    """Rock salt with displaced atoms in a sheared cell."""
    atoms = bulk("NaCl", "rocksalt", a=5.2, cubic=True)
    atoms.rattle(0.15, seed=seed)
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + 0.05 * np.random.default_rng(1).standard_normal((3, 3))), True)
    return atoms


def energy(potential: Potential, atoms: Atoms) -> float:
    """eV."""
    return float(potential(potential.graph(atoms), forces=False, stress=False).energy.detach())


def assert_numeric_derivatives(
    prediction: Prediction, energy_of: Callable[[Atoms], float], atoms: Atoms, rel: float
) -> None:
    """Forces and stress are central differences of the energy along random displacements and strains."""
    rng, step = np.random.default_rng(0), 1e-4
    direction = rng.standard_normal((len(atoms), 3))
    strain = 0.5 * (lambda a: a + a.T)(rng.standard_normal((3, 3)))

    def moved(h: float) -> float:
        copy = atoms.copy()
        copy.positions += h * direction
        return energy_of(copy)

    def strained(h: float) -> float:
        copy = atoms.copy()
        copy.set_cell(atoms.cell.array @ (np.eye(3) + h * strain), scale_atoms=True)
        return energy_of(copy)

    slope = (moved(step) - moved(-step)) / (2 * step)
    assert slope == pytest.approx(-float((prediction.forces.detach().numpy() * direction).sum()), rel=rel)
    s = prediction.stress[0].detach().numpy()
    full = np.array([[s[0], s[5], s[4]], [s[5], s[1], s[3]], [s[4], s[3], s[2]]])
    slope = (strained(step) - strained(-step)) / (2 * step)
    assert slope == pytest.approx(atoms.get_volume() * (full * strain).sum(), rel=rel)


def assert_batches_are_singles(potential: Potential) -> None:
    """A batch of a crystal, a molecule, an atom and a small cell gives what each of them gives."""
    structures = [salt(), molecule("H2O", vacuum=5.0), Atoms("O"), bulk("NaCl", "rocksalt", a=5.6)]
    graphs = [potential.graph(atoms) for atoms in structures]
    batch = potential(Batch.from_data_list(graphs))
    singles = [potential(graph) for graph in graphs]
    for name in ("energy", "forces", "stress", "magmoms"):
        whole, parts = getattr(batch, name), [getattr(single, name) for single in singles]
        if whole is None:
            assert parts == [None] * len(parts), name
        else:
            torch.testing.assert_close(whole, torch.cat(parts), rtol=1e-8, atol=1e-10, equal_nan=True, msg=name)


def assert_training_reaches_every_weight(potential: Potential, graphs: Sequence[Graph], lr: float = 1e-2) -> None:
    """Eight steps lower a loss of energy, forces and stress (and magnetic moments), and every parameter has a
    gradient."""
    batch = Batch.from_data_list(list(graphs))
    optimizer = torch.optim.Adam(potential.parameters(), lr=lr)
    losses = []
    for _ in range(8):
        optimizer.zero_grad()
        p = potential(batch, training=True)
        loss = (p.energy / 8 + 3).square().mean() + p.forces.square().mean() + p.stress.square().mean()
        if p.magmoms is not None:
            loss = loss + (p.magmoms - 1).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]
    assert [name for name, p in potential.named_parameters() if p.grad is None] == []
    assert all(torch.isfinite(p.grad).all() for p in potential.parameters())
