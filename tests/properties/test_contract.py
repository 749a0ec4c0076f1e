"""The contract holds for calculators that are right, and names what is wrong with those that are not."""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator as AseCalculator
from ase.calculators.emt import EMT

from gnnpot.data.references import ElementReferences
from gnnpot.engines.calculator import Calculator
from gnnpot.errors import ConfigError
from gnnpot.hub.card import Card, KnownDeviation
from gnnpot.hub.known_deviations import known_deviations
from gnnpot.models import NequixConfig, SevenNetConfig, build_model
from gnnpot.models.base import AtomicOutput, EnergyModel
from gnnpot.models.basis import polynomial_cutoff
from gnnpot.models.hdnnp import HDNNP, HDNNPConfig
from gnnpot.models.layers import scatter_sum
from gnnpot.models.m3gnet import M3GNet, M3GNetConfig
from gnnpot.models.symmetry_sets import BehlerSet
from gnnpot.models.zbl import ZBL, ZBLConfig
from gnnpot.potential import Potential
from gnnpot.properties.contract import CHECKS, FLOAT32, ContractReport, check_contract


def _failed(report: ContractReport) -> set[str]:
    return {c.name for c in report.failures}


def test_effective_medium_theory():
    """ASE's EMT keeps everything; it has no jump that counts, though its cutoff is not quite smooth."""
    report = check_contract(EMT(), elements=["Cu", "Ni"])
    assert report.passed, report.failures
    assert len(report.checks) > 100 and {c.name for c in report.checks} <= set(CHECKS)
    assert {"rotation", "supercell", "smooth cluster", "isolated atom"} <= {c.name for c in report.checks}


class Distorted(EMT):
    """EMT with something wrong."""

    def __init__(self, distort):
        super().__init__()
        self.distort = distort

    def calculate(self, atoms=None, properties=None, system_changes=("positions",)):
        super().calculate(atoms, ["energy"], system_changes)
        self.distort(self.atoms, self.results)
        self.results["free_energy"] = self.results["energy"]


def _scaled_forces(atoms, results):
    results["forces"] = 1.001 * results["forces"]


def _pressure_for_stress(atoms, results):
    if "stress" in results:
        results["stress"] = -results["stress"]


def _not_extensive(atoms, results):
    results["energy"] += 0.01


def _one_direction(atoms, results):
    x = atoms.positions[:, 0] - atoms.positions[:, 0].mean()
    results["energy"] += 1e-3 * float(np.sum(x**2)) * (not atoms.pbc.any())


def _absolute_positions(atoms, results):
    results["forces"] = results["forces"] + 1e-3 * np.sin(atoms.positions)


def _order(atoms, results):
    results["energy"] += 1e-4 * atoms.numbers[0] if len(atoms) == 4 else 0.0


@pytest.mark.parametrize(
    ("distort", "names"),
    [
        (_scaled_forces, {"forces = -dE/dr"}),
        (_pressure_for_stress, {"stress = dE/dε/V"}),
        (_not_extensive, {"supercell", "separated atoms"}),
        (_one_direction, {"rotation", "forces = -dE/dr"}),
        (_absolute_positions, {"translation", "forces = -dE/dr"}),
        (_order, {"permutation"}),
    ],
)
def test_catches(distort, names):
    report = check_contract(Distorted(distort), elements=["Cu", "Ni"])
    assert not report.passed
    assert names <= _failed(report)
    assert all(c.measured > c.bound for c in report.failures)


def test_catches_what_is_not_a_number_while_atoms_are_pulled_apart():
    def hole(atoms, results):
        if len(atoms) == 2 and not atoms.pbc.any() and 3.0 < atoms.get_distance(0, 1) < 4.0:
            results["energy"] = np.nan
            results["forces"] = np.full_like(results["forces"], np.nan)

    report = check_contract(Distorted(hole), elements=["Cu", "Ni"])
    assert _failed(report) == {"smooth dimer"}
    assert {c.quantity for c in report.failures} == {"energy jump", "force jump"}


class Pairs(EnergyModel):
    """A sum over pairs that ends as `envelope` says."""

    def __init__(self, envelope):
        super().__init__(("Cu",), cutoff=4.0)
        self.envelope = envelope
        self.scale = torch.nn.Parameter(torch.ones((), dtype=torch.float64))

    def forward(self, graph):
        r = torch.linalg.vector_norm(graph.edge_vectors, dim=1)
        pair = self.scale * torch.exp(-r) * self.envelope(r)
        return AtomicOutput(scatter_sum(pair, graph.edge_index[0], len(graph.numbers)))


class CrossTalk(Pairs):
    """Each atom hears of the mean over the whole batch."""

    def forward(self, graph):
        energies = super().forward(graph).energies
        return AtomicOutput(energies * (1 + 0.01 * energies.mean()))


def _calculator(model: EnergyModel) -> Calculator:
    return Calculator(Potential(model, ElementReferences.from_mapping({"energies": {"Cu": -3.0}})))


@pytest.mark.parametrize(
    ("envelope", "quantities"),
    [
        (lambda r: polynomial_cutoff(r, 4.0), set()),
        (lambda r: (r < 4.0).double(), {"energy jump", "force jump"}),
        (lambda r: torch.where(r < 4.0, 1 - r / 4.0, 0.0), {"force jump"}),
        (lambda r: (r < 4.0 + 1e-6) * (r - 4.0) ** 2 * 10, set()),
    ],
    ids=["smooth", "hard", "kink", "parabola"],
)
def test_ends_of_pair_energies(envelope, quantities):
    report = check_contract(_calculator(Pairs(envelope)))
    assert {c.quantity for c in report.failures if c.name.startswith("smooth")} == quantities


def test_cross_talk_is_heard():
    report = check_contract(_calculator(CrossTalk(lambda r: polynomial_cutoff(r, 4.0))))
    assert {"batch = single", "no cross-talk", "supercell"} & _failed(report) >= {"batch = single", "no cross-talk"}


class Forgetful(EMT):
    """Its answer depends on how often it was asked."""

    count = 0

    def calculate(self, *args, **kwargs):
        super().calculate(*args, **kwargs)
        self.count += 1
        self.results["free_energy"] += 1e-3 * self.count


def test_a_calculator_with_a_memory():
    assert "repetition" in _failed(check_contract(Forgetful(), [bulk("Cu", cubic=True)]))


class Mute(AseCalculator):
    """Raises for one atom, has no stress, and NaN for a force."""

    implemented_properties = ("energy", "forces")

    def calculate(self, atoms=None, properties=None, system_changes=None):
        super().calculate(atoms, properties, system_changes)
        if len(self.atoms) == 1:
            raise ValueError("one atom is too few")
        forces = np.zeros((len(self.atoms), 3))
        forces[0, 0] = np.nan
        self.results = {"energy": 0.0, "forces": forces}


def test_what_it_raises_is_a_finding():
    report = check_contract(Mute(), [Atoms("Cu2", [[0, 0, 0], [0, 0, 2.5]])])
    alone = next(c for c in report.failures if c.name == "isolated atom")
    assert alone.detail == "ValueError: one atom is too few"
    assert "forces = -dE/dr" in _failed(report)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("architecture", ["m3gnet", "hdnnp"])
def test_architectures(architecture, dtype):
    elements = ("Na", "Cl")
    torch.manual_seed(1)
    if architecture == "m3gnet":
        model = M3GNet(M3GNetConfig(elements=elements, units=8, blocks=1, max_n=2, max_l=3))
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.mul_(2)
    else:
        model = HDNNP(HDNNPConfig(elements=elements, symmetry_set=BehlerSet(), hidden=(6,)))
    references = ElementReferences.from_mapping({"energies": {"Na": -1.3, "Cl": -1.8}})
    # forces of an eV/Å, so that what is wrong would show
    scale = {"m3gnet": 200.0, "hdnnp": 20.0}[architecture]
    potential = Potential(model, references, energy_scale=scale, terms=[ZBL(ZBLConfig(elements=elements))])
    report = check_contract(Calculator(potential, dtype=dtype))
    assert report.passed, report.failures
    if dtype == torch.float32:
        assert {c.bound for c in report.checks if c.quantity == "energy"} == {FLOAT32.energy}


def test_needs_something_to_look_at():
    with pytest.raises(ConfigError, match="give structures or elements"):
        check_contract(EMT())


def _chiral(atoms, results):
    """Something that a mirror image has with the other sign: a triple product of the first bonds."""
    if len(atoms) > 3:
        a, b, c = (atoms.get_distance(0, k, mic=True, vector=True) for k in (1, 2, 3))
        results["energy"] += 1e-4 * float(np.tanh(a @ np.cross(b, c)))


def test_known_deviations_are_known_up_to_their_size():
    structure = {"mine": Atoms("Cu4", [[0, 0, 0], [2.5, 0, 0.2], [0, 2.6, 0.1], [0.3, 0.2, 2.7]])}
    for largest, passes in ((1e-3, True), (1e-7, False)):
        known = [KnownDeviation("reflection", "energy", largest, "the energy has a handed term")]
        report = check_contract(Distorted(_chiral), structure, known=known)
        found = [c for c in report.checks if (c.name, c.quantity) == ("reflection", "energy")]
        assert [c.status for c in found] == ["known" if passes else "failed"]
        assert not passes or found[0].detail == "the energy has a handed term"
        assert report.passed == passes


@pytest.mark.parametrize(
    ("config", "checks"),
    [
        (SevenNetConfig(elements=("Na",)), {"reflection"}),
        (NequixConfig(elements=("Na",)), set()),
        (M3GNetConfig(elements=("Na",), radial_basis="spherical_bessel"), {"smooth dimer", "smooth cluster"}),
        (M3GNetConfig(elements=("Na",)), set()),
    ],
)
def test_what_is_known_of_architectures(config, checks):
    potential = Potential(build_model(config), ElementReferences.from_mapping({"energies": {"Na": 0.0}}))
    own = KnownDeviation("rotation", "forces", 1e-5, "of this potential only")
    assert {d.check for d in known_deviations(None, potential)} == checks
    assert {d.check for d in known_deviations(Card(known_deviations=(own,)), potential)} == checks | {"rotation"}
