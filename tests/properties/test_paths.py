"""Nudged elastic bands, hops of ions, voltages, formation energies, distribution functions."""

import json

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms
from monty.json import MontyEncoder
from pymatgen.entries.computed_entries import ComputedEntry

from gnnpot.errors import ConfigError, DataError
from gnnpot.properties import diffusion, formation_energy, neb, rdf, voltage
from gnnpot.properties.diffusion import DiffusionConfig
from gnnpot.properties.formation_energy import FormationEnergyConfig
from gnnpot.properties.hops import end_structures, find_hops
from gnnpot.properties.neb import NebConfig
from gnnpot.properties.rdf import RdfConfig
from gnnpot.properties.voltage import VoltageConfig
from tests.properties.pair_potential import DEPTH, fcc, first_neighbours


class MullerBrown(Calculator):
    """The surface of Müller and Brown, Theor. Chim. Acta 53, 75 (1979), for one atom in x and y, over 100."""

    implemented_properties = ["energy", "forces"]
    A, a, b, c = (-2, -1, -1.7, 0.15), (-1, -1, -6.5, 0.7), (0, 0, 11, 0.6), (-10, -10, -6.5, 0.7)
    x0, y0 = (1, 0, -0.5, -1), (0, 0.5, 1.5, 1)

    def calculate(self, atoms=None, properties=None, system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        x, y, _ = self.atoms.positions[0]
        energy, forces = 0.0, np.zeros((1, 3))
        for A, a, b, c, x0, y0 in zip(self.A, self.a, self.b, self.c, self.x0, self.y0, strict=True):
            u, v = x - x0, y - y0
            term = A * np.exp(a * u * u + b * u * v + c * v * v)
            energy += term
            forces[0, :2] -= term * np.array([2 * a * u + b * v, b * u + 2 * c * v])
        self.results = {"energy": energy, "forces": forces}


def test_the_barrier_of_muller_and_brown(tmp_path):
    start, end = Atoms("H", [[0.623, 0.028, 0]]), Atoms("H", [[-0.05, 0.467, 0]])
    result = neb.calc(start, MullerBrown(), NebConfig(final=end, images=5, fmax=0.005))
    # published: minima of -108.167 and -80.768, the saddle between them of -72.249
    assert result.barrier == pytest.approx(1.08167 - 0.72249, abs=2e-4)
    assert result.reverse_barrier == pytest.approx(0.80768 - 0.72249, abs=2e-4)
    result.plot(tmp_path / "neb.png")
    result.save_structures(tmp_path / "path.extxyz")
    assert result.to_json()["barrier_eV"] == result.barrier


def test_hops_by_symmetry():
    # fcc: 6 hops an atom to the first neighbours, 3 to the second; spinel-like order is no matter
    hops = find_hops(fcc(), "Cu", longest=4.0)
    assert [h.multiplicity for h in hops] == [6, 3]
    rocksalt = bulk("NaCl", "rocksalt", a=5.64)
    assert [h.multiplicity for h in find_hops(rocksalt, "Na", longest=4.1)] == [6]
    wurtzite = bulk("ZnO", "wurtzite", a=3.25, c=5.2)
    # of the 12 neighbours of a site in hcp, 6 are in its plane and 6 in others
    assert sorted(h.multiplicity for h in find_hops(wurtzite, "Zn", longest=3.4)) == [6, 6]
    start, end = end_structures(rocksalt, (3, 3, 3), find_hops(rocksalt, "Na", 4.1)[0])
    assert len(start) == len(end) == 53
    moved = np.linalg.norm(start.positions - end.positions, axis=1)
    assert (moved > 1e-9).sum() == 1 and moved.max() == pytest.approx(5.64 / 2**0.5)
    with pytest.raises(ConfigError, match="has no Li"):
        find_hops(rocksalt, "Li", 4.0)


def test_a_hop_of_a_pair_potential_costs_what_its_saddle_point_says():
    result = neb.calc(
        fcc(), first_neighbours(), NebConfig(ion="Cu", supercell=(3, 3, 3), images=3, relax=False, fmax=0.02)
    )
    assert result.barrier == pytest.approx(result.reverse_barrier, abs=1e-3)
    assert 0 < result.barrier < 12 * DEPTH and result.hop.startswith("Cu 0 to 0")
    # by symmetry the middle image is the saddle point, half way
    assert result.energies.argmax() == 2


def test_neb_refuses_what_it_can_not_connect():
    with pytest.raises(ValueError, match="either final, the end"):
        NebConfig()
    with pytest.raises(DataError, match="same atoms"):
        neb.calc(fcc(), EMT(), NebConfig(final=bulk("Ni")))
    start = Atoms("Cu2", [[0, 0, 0], [2.2, 0, 0]], constraint=FixAtoms([0]))
    ends = {
        "are, or have relaxed to, one structure": start,
        "periodic along different vectors": Atoms("Cu2", start.positions, pbc=[True, False, False]),
        "fixed atoms have different positions": Atoms("Cu2", [[0, 0.5, 0], [0, 2.2, 0]], constraint=FixAtoms([0])),
    }
    for words, end in ends.items():
        with pytest.raises(DataError, match=words):
            neb.calc(start, EMT(), NebConfig(final=end, relax=False))


def test_voltage_is_that_of_pymatgen(tmp_path):
    from pymatgen.apps.battery.insertion_battery import InsertionElectrode
    from pymatgen.entries.computed_entries import ComputedStructureEntry
    from pymatgen.io.ase import AseAtomsAdaptor

    full = bulk("Cu", cubic=True)
    full.symbols[:] = ["Al", "Al", "Cu", "Cu"]
    half = full[[1, 2, 3]]
    result = voltage.calc(
        full, EMT(), VoltageConfig(ion="Al", metal=bulk("Al"), others=(half, full[[2, 3]]), relax=False)
    )

    def energy(atoms):
        atoms = atoms.copy()
        atoms.calc = EMT()
        return atoms.get_potential_energy()

    entries = [ComputedStructureEntry(AseAtomsAdaptor.get_structure(a), energy(a)) for a in (full, half, full[[2, 3]])]
    metal = ComputedEntry("Al", energy(bulk("Al")))
    reference = InsertionElectrode.from_entries(entries, metal)
    assert result.voltage == pytest.approx(reference.get_average_voltage())
    assert result.capacity == pytest.approx(reference.get_capacity_grav(use_overall_normalization=False))
    assert result.host == "Cu" and result.contents[-1] == 1
    result.plot(tmp_path / "voltage.png")
    full.symbols[:] = ["H", "H", "Cu", "Cu"]
    with pytest.raises(ConfigError, match="metal: ASE has no crystal of H"):
        voltage.calc(full, EMT(), VoltageConfig(ion="H", charge=1, relax=False))


def test_formation_energy_by_the_calculator_and_by_entries(tmp_path):
    ordered = bulk("Cu", a=3.75, cubic=True)
    ordered.symbols[0] = "Au"
    crystals = bulk("Cu"), bulk("Au")
    own = formation_energy.calc(ordered, EMT(), FormationEnergyConfig(references=crystals, fmax=0.02))
    # EMT's ordered Cu3Au, by its own energies
    assert own.formula == "Cu3Au" and own.stable == (own.formation_energy < 0)
    assert own.energy_above_hull == pytest.approx(own.formation_energy, abs=1e-9)
    assert own.correction == 0 and {p.formula for p in own.decomposition} == {"Cu", "Au"}
    entries = [ComputedEntry("Cu", 0.0), ComputedEntry("Au", 0.0), ComputedEntry("CuAu", -2.0)]
    path = tmp_path / "entries.json"
    path.write_text(json.dumps(entries, cls=MontyEncoder))
    found = formation_energy.calc(ordered, EMT(), FormationEnergyConfig(entries=path, corrections="none", fmax=0.02))
    # half of the atoms are in CuAu, whose entry has -1 eV/atom
    assert found.energy_above_hull == pytest.approx(found.formation_energy + 0.5, abs=1e-9)
    assert found.formation_energy == pytest.approx(found.energy, abs=1e-9)
    found.plot(tmp_path / "hull.png")
    path.write_text(json.dumps([{"@class": "Popen", "@module": "subprocess", "args": ["ls"]}]))
    with pytest.raises(DataError, match="no list of pymatgen's entries"):
        formation_energy.calc(ordered, EMT(), FormationEnergyConfig(entries=path, relax=False))
    with pytest.raises(DataError, match="no entry of the element Au"):
        formation_energy.calc(ordered, EMT(), FormationEnergyConfig(references=crystals[:1], relax=False))
    with pytest.raises(ValueError, match="one of entries"):
        FormationEnergyConfig()


def test_corrections_are_those_of_pymatgen(tmp_path):
    class Zero(EMT):
        implemented_properties = ["energy", "forces", "stress"]

        def calculate(self, atoms=None, properties=None, system_changes=all_changes):
            Calculator.calculate(self, atoms, properties, system_changes)
            n = len(self.atoms)
            self.results = {"energy": 0.0, "forces": np.zeros((n, 3)), "stress": np.zeros(6)}

    oxide = bulk("MgO", "rocksalt", a=4.2)
    path = tmp_path / "entries.json"
    path.write_text(json.dumps([ComputedEntry("Mg", 0.0), ComputedEntry("O2", 0.0)], cls=MontyEncoder))
    result = formation_energy.calc(oxide, Zero(), FormationEnergyConfig(entries=path))
    # MP2020: -0.687 eV for each oxygen of an oxide
    assert 2 * result.correction == pytest.approx(-0.687, abs=1e-6)


def test_distribution_function_of_a_crystal_and_of_a_gas(tmp_path):
    crystal = rdf.calc([bulk("Cu", cubic=True).repeat(2)] * 5, RdfConfig(cutoff=4.0))
    pair = crystal.pairs["Cu", "Cu"]
    at = lambda r: float(np.interp(r, crystal.distances + crystal.width / 2, pair.coordination))  # noqa: E731
    assert (at(2.0), at(3.0), at(3.8)) == (0, 12, 18)
    rng = np.random.default_rng(0)
    side = 12.0
    gas = [Atoms("Ar40Ne40", rng.uniform(0, side, (80, 3)), cell=[side] * 3, pbc=True) for _ in range(60)]
    found = rdf.calc(gas, RdfConfig(cutoff=8.0, width=0.5))
    for one in found.pairs.values():
        far = found.distances > 2
        assert np.abs(one.g[far] - 1).max() < 0.1
        # most deviations are within two standard errors
        assert (np.abs(one.g[far] - 1) < 2.8 * one.uncertainty[far]).mean() > 0.8
    found.plot(tmp_path / "rdf.png")
    assert found.to_json()["pairs"]["Ne-Ar"]["peak_A"] > 0
    with pytest.raises(DataError, match="are none"):
        rdf.calc(gas, RdfConfig(discard=60))


def test_diffusion_of_a_random_walk(tmp_path):
    from ase.io import write

    rng = np.random.default_rng(1)
    step, frames, ions = 0.25, 400, 16
    places = rng.uniform(0, 15, (ions, 3)) + np.cumsum(rng.normal(scale=step, size=(frames, ions, 3)), axis=0)
    fixed = np.array([[0.0, 0, 0], [7.5, 7.5, 7.5]])
    trajectory = [Atoms(f"Li{ions}O2", np.concatenate([p, fixed]), cell=[15] * 3, pbc=True) for p in places]
    write(tmp_path / "walk.extxyz", trajectory)
    result = diffusion.calc(
        tmp_path / "walk.extxyz", DiffusionConfig(ion="Li", temperature=500, frame_time=100.0, fit_from=1.0)
    )
    # <dr²> = 6 D t
    assert result.tracer.holds(3 * step**2 / (6 * 0.1) * 1e-4)
