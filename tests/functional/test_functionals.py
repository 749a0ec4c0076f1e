"""What holds for kinetic energy functionals exactly."""

import numpy as np
import pytest
import torch

from gnnpot.functional import fixed
from gnnpot.functional.functionals import C_TF, kinetic, thomas_fermi
from gnnpot.functional.grid import Grid
from gnnpot.functional.lindhard import lindhard, pauli_response
from gnnpot.functional.network import NetworkConfig, build, reference_fermi
from gnnpot.functional.radial import GaussianKernels, ResponseKernel
from gnnpot.functional.reduced import ReducedBasis, ReducedSpace
from gnnpot.functional.space import FourierSpace, integral
from gnnpot.functional.store import CLASSIC, open_functional
from gnnpot.functional.symmetry import Symmetry
from gnnpot.units import BOHR

LEARNED = {
    "field": NetworkConfig(channels=4, hidden=8, seed=1),
    "kernel": NetworkConfig(kind="kernel", hidden=8, seed=2),
    "smooth": NetworkConfig(channels=4, hidden=8, filter=1.3, smooth_floor=0.1, seed=5),
    "band-limited": NetworkConfig(channels=4, hidden=8, filter=1.3, first_filter=1.4, smooth_floor=0.1, seed=5),
    "semi-local": NetworkConfig(layers=0, response=False, channels=4, hidden=8, seed=3),
    "shipped": None,
}
ALL = [*CLASSIC, *LEARNED]
NONLOCAL = ["wt", "hc", "field", "kernel", "smooth", "shipped"]


def make(name):
    if name in CLASSIC:
        return open_functional(name)
    return open_functional("gnnpot-kedf-1") if LEARNED[name] is None else build(LEARNED[name])


@pytest.fixture(scope="module")
def crystal(sample):
    grid = Grid(sample.atoms.cell.array / BOHR, sample.density.shape)
    return grid, torch.from_numpy(sample.density).reshape(1, -1)


def smooth_noise(space, seed):
    noise = torch.from_numpy(np.random.default_rng(seed).normal(size=space.grid.size))[None]
    return space.convolve(noise[:, None], torch.exp(-(space.g**2) / 4)[:, None])[:, 0]


@pytest.mark.parametrize("name", ALL)
def test_potential_is_the_derivative(name, crystal):
    grid, density = crystal
    space, functional = FourierSpace(grid), make(name)
    change = density * smooth_noise(space, 0)
    _, potential = kinetic(functional, density, space)
    step = 1e-3
    high, low = (kinetic(functional, density + s * step * change, space)[0] for s in (1, -1))
    assert float((high - low) / (2 * step)) == pytest.approx(float(integral(space, potential * change)), rel=1e-5)


@pytest.mark.parametrize("name", ALL)
def test_scaling_law(name, crystal):
    grid, density = crystal
    functional, scale = make(name), 1.3
    smaller = Grid(grid.cell / scale, grid.shape)
    energy = float(kinetic(functional, density, FourierSpace(grid))[0])
    scaled = float(kinetic(functional, density * scale**3, FourierSpace(smaller))[0])
    # Huang-Carter's values of xi don't scale along
    assert scaled == pytest.approx(scale**2 * energy, rel=2e-4 if name == "hc" else 1e-9)


@pytest.mark.parametrize("name", [n for n in ALL if n != "vw"])
def test_uniform_gas(name):
    grid = Grid(np.diag([6.0, 7.0, 8.0]), (6, 6, 8))
    density = torch.full((1, grid.size), 0.03, dtype=torch.float64)
    energy = float(kinetic(make(name), density, FourierSpace(grid))[0])
    assert energy == pytest.approx(float(C_TF) * 0.03 ** (5 / 3) * grid.volume, rel=1e-9)


@pytest.mark.parametrize("name", NONLOCAL)
@pytest.mark.parametrize("wave", [1, 3, 6])
def test_linear_response_of_the_uniform_gas(name, wave):
    length, density, e = 12.0, 0.03, 1e-3
    grid = Grid(np.eye(3) * length, (4, 4, 32))
    space, functional = FourierSpace(grid), make(name)
    z, g = torch.from_numpy(grid.points()[..., 2]).reshape(1, -1), 2 * np.pi * wave / length
    plane = torch.cos(g * z)
    energies = [float(kinetic(functional, density * (1 + s * e * plane), space)[0]) for s in (-1, 0, 1)]
    unit = 5 / 18 * float(C_TF) * density ** (5 / 3) * grid.volume
    response = (energies[0] - 2 * energies[1] + energies[2]) / (2 * e**2) / unit
    eta = torch.tensor(g / 2 / (3 * np.pi**2 * density) ** (1 / 3), dtype=torch.float64)
    assert response == pytest.approx(float(1 / lindhard(eta)), rel=1.2e-2 if name == "hc" else 5e-4)
    assert float(pauli_response(eta) + 3 * eta**2) == pytest.approx(float(1 / lindhard(eta)), rel=1e-12)


def test_lindhard_function_is_smooth_where_its_forms_meet():
    for border in (0.05, 2.0):
        below, above = (pauli_response(torch.tensor(border + d, dtype=torch.float64)) for d in (-1e-9, 1e-9))
        assert float(below - above) == pytest.approx(0, abs=1e-7)
    assert float(pauli_response(torch.tensor(1e3, dtype=torch.float64))) == pytest.approx(-0.6, abs=1e-6)
    assert float(lindhard(torch.tensor(1.0, dtype=torch.float64))) == pytest.approx(0.5)


def test_kernels_and_their_slopes_by_hand_are_those_of_a_graph():
    generator = torch.Generator().manual_seed(0)
    ends = torch.tensor([0.0, 1e-3, 0.05, 1.0, 2.0, 40.0], dtype=torch.float64)
    eta = torch.cat([ends, 6 * torch.rand(200, dtype=torch.float64, generator=generator)])
    table = torch.rand(100, dtype=torch.float64, generator=generator)
    coefficients = torch.randn(4, 10, dtype=torch.float64, generator=generator)
    for kernels in (GaussianKernels(coefficients, 0.24), ResponseKernel(table, 0.03, 0.7)):
        argument = eta.clone().requires_grad_()
        values = kernels(argument[None])[0]
        slopes = torch.rand(values.shape, dtype=torch.float64, generator=generator)
        (graph,) = torch.autograd.grad((values * slopes).sum(), argument)
        # the response has an infinite slope at n = 1
        finite = (eta - 1).abs() > 1e-6
        assert torch.allclose(kernels.evaluate(eta), values.detach(), rtol=1e-11, atol=1e-12)
        assert torch.allclose(kernels.pull(eta, slopes)[finite], graph[finite], rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("name", ALL)
def test_reduced_form_is_the_fourier_form(name, crystal, sample):
    grid, density = crystal
    basis = ReducedBasis.of(grid, Symmetry.of(sample.atoms, grid.shape))
    space, functional = ReducedSpace(basis, [grid.volume]), make(name)
    assert len(basis.points) < grid.size / 15
    energy, potential = kinetic(functional, space.reduce(sample.density)[None], space)
    full_energy, full_potential = kinetic(functional, density, FourierSpace(grid))
    assert float(energy) == pytest.approx(float(full_energy), abs=1e-11)
    assert np.abs(space.expand(potential[0]) - full_potential[0].numpy()).max() < 1e-9


@pytest.mark.parametrize("name", ["field", "kernel", "semi-local", "shipped"])
def test_enhancement_is_positive_for_any_density(name):
    grid = Grid(np.diag([8.0, 8.0, 8.0]), (12, 12, 12))
    space = FourierSpace(grid)
    density = 0.03 * torch.exp(3 * smooth_noise(space, 5))
    enhancement = make(name).enhancement(density, space)
    assert float(enhancement.min()) >= 0 and torch.isfinite(enhancement).all()


@pytest.mark.parametrize("name", ["field", "shipped"])
def test_vacuum_changes_nothing_of_a_distant_piece(name):
    functional, energies = make(name), []
    for length, points in ((24.0, 48), (36.0, 72)):
        grid = Grid(np.diag([6.0, 6.0, length]), (12, 12, points))
        r = grid.points()
        z = r[..., 2] - length / 2
        film = 0.03 * np.exp(-((z / 4) ** 4)) * (1 + 0.3 * np.cos(2 * np.pi * r[..., 0] / 6))
        density = torch.from_numpy(film).reshape(1, -1)
        space = FourierSpace(grid)
        energy, potential = kinetic(functional, density, space)
        assert torch.isfinite(potential).all()
        energies.append(float(energy))
    # what is left are the oscillations of the uniform gas's response, which decay slowly
    assert energies[0] == pytest.approx(energies[1], rel=2e-4)


def test_reference_density_does_not_know_the_vacuum():
    small, large = (Grid(np.diag([5.0, 5.0, n * 5.0]), (4, 4, 4 * n)) for n in (1, 3))
    values = torch.rand(1, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    padded = torch.zeros(1, 4, 4, 12, dtype=torch.float64)
    padded[..., :4] = values.reshape(1, 4, 4, 4)
    first = reference_fermi(values, FourierSpace(small))
    assert float(first) == pytest.approx(float(reference_fermi(padded.reshape(1, -1), FourierSpace(large))))


@pytest.mark.parametrize("name", ["field", "deep", "semi-local"])
def test_derivatives_by_hand_are_those_of_a_graph(name, crystal, monkeypatch):
    grid, density = crystal
    config = NetworkConfig(layers=3, channels=3, hidden=5, seed=4) if name == "deep" else LEARNED[name]
    functional = build(config)
    strain = 0.01 * torch.eye(3, dtype=torch.float64)

    def energies():
        tensor = strain.clone().requires_grad_()
        energy = kinetic(functional, density, FourierSpace(grid))
        strained = functional.energy(density, FourierSpace(grid, tensor))
        return *energy, torch.autograd.grad(strained.sum(), tensor)[0]

    graph = energies()
    functional.requires_grad_(False)
    by_hand = energies()
    for limit, small in (("POINTS", 1000), ("MODES", 700)):
        monkeypatch.setattr(fixed, limit, small)
    for value in (by_hand, energies()):
        assert float(value[0]) == pytest.approx(float(graph[0]), rel=1e-13)
        assert float((value[1] - graph[1]).abs().max()) < 1e-12
        assert float((value[2] - graph[2]).abs().max()) < 1e-12


def test_thomas_fermi_of_negative_values_is_nothing():
    assert float(thomas_fermi(torch.tensor(-0.1))) == 0
