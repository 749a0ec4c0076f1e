"""Relaxation, on ASE's effective-medium copper (a true minimum is known) and on a gnnpot potential."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, molecule
from ase.calculators.calculator import Calculator as AseCalculator
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones
from ase.constraints import FixAtoms
from ase.io import read

from gnnpot.engines.calculator import Calculator
from gnnpot.engines.cell_filters import StrainFilter, choose_cell
from gnnpot.engines.relax import RelaxConfig, relax
from gnnpot.errors import ConfigError, DataError, SimulationError
from gnnpot.units import GPA


@pytest.fixture
def squeezed() -> Atoms:
    atoms = bulk("Cu", cubic=True, a=3.4)
    atoms.rattle(0.1, seed=1)
    return atoms


@pytest.mark.parametrize("optimizer", ["fire", "lbfgs", "bfgs"])
def test_finds_the_crystal(squeezed, optimizer):
    start = squeezed.positions.copy()
    r = relax(squeezed, EMT(), RelaxConfig(fmax=1e-3, stress_max=1e-3 * GPA, optimizer=optimizer))
    assert r.converged and r.fmax <= 1e-3 and r.stress_max <= 1e-3 * GPA
    # EMT's own minimum for copper
    assert r.volume / 4 == pytest.approx(11.565, abs=0.01)
    assert r.energy < r.initial_energy
    np.testing.assert_array_equal(squeezed.positions, start)
    assert squeezed.calc is None
    assert r.atoms.get_potential_energy() == r.energy


def test_pressure(squeezed):
    r = relax(squeezed, EMT(), RelaxConfig(pressure=10 * GPA, stress_max=0.01 * GPA))
    free = relax(squeezed, EMT(), RelaxConfig(stress_max=0.01 * GPA))
    assert r.converged and r.volume < free.volume
    np.testing.assert_allclose(r.atoms.get_stress()[:3], -10 * GPA, atol=0.011 * GPA)


@pytest.mark.parametrize("cell", ["none", "shape", "auto"])
def test_a_pressure_on_a_constant_volume_is_refused(squeezed, cell):
    if cell == "auto":
        squeezed.pbc = False
    with pytest.raises(ConfigError, match="pressure: has no effect on Cu4"):
        relax(squeezed, EMT(), RelaxConfig(pressure=10 * GPA, cell=cell))


def test_a_gnnpot_potential(potential, crystal):
    r = relax(crystal, Calculator(potential), RelaxConfig(fmax=0.02, cell="none", steps=300))
    assert r.converged and r.energy < r.initial_energy
    assert r.stress_max is None


def test_constraints_hold():
    slab = fcc111("Cu", (2, 2, 3), vacuum=8.0)
    slab.rattle(0.1, seed=2)
    slab.set_constraint(FixAtoms(range(4)))
    with pytest.raises(DataError, match="not periodic in three directions"):
        relax(slab, EMT())
    r = relax(slab, EMT(), RelaxConfig(cell="none"))
    assert r.converged
    np.testing.assert_array_equal(r.atoms.positions[:4], slab.positions[:4])


def test_not_converging_is_an_answer(squeezed):
    r = relax(squeezed, EMT(), RelaxConfig(steps=3))
    assert not r.converged and r.steps == 3


def test_trajectory_is_continued(squeezed, tmp_path):
    path = tmp_path / "relax.traj"
    first = relax(squeezed, EMT(), RelaxConfig(steps=4), trajectory=path)
    assert len(read(path, ":")) == 5
    with pytest.raises(DataError, match="exists already"):
        relax(squeezed, EMT(), trajectory=path)
    second = relax(squeezed, EMT(), trajectory=path, resume=True)
    assert second.converged and second.initial_energy == pytest.approx(first.energy, abs=1e-12)
    frames = read(path, ":")
    assert len(frames) == 5 + second.steps + 1 or len(frames) == 5 + second.steps
    assert frames[-1].get_potential_energy() == pytest.approx(second.energy, abs=1e-10)
    with pytest.raises(DataError, match="no trajectory to resume"):
        relax(squeezed, EMT(), trajectory=tmp_path / "none.traj", resume=True)


def test_a_file_that_is_no_trajectory(squeezed, tmp_path):
    with pytest.raises(DataError, match="resume: there is no trajectory to resume from; name it"):
        relax(squeezed, EMT(), resume=True)
    path = tmp_path / "relax.traj"
    path.write_text("hello")
    with pytest.raises(DataError, match="can't be read as a trajectory"):
        relax(squeezed, EMT(), trajectory=path, resume=True)


class Repulsive(AseCalculator):
    """Atoms that only push each other away: the cell grows for ever."""

    implemented_properties = ("energy", "forces", "stress")

    def calculate(self, atoms=None, properties=None, system_changes=None):
        super().calculate(atoms, properties, system_changes)
        volume = self.atoms.get_volume()
        self.results = {
            "energy": -10 * np.log(volume),
            "forces": np.zeros((len(self.atoms), 3)),
            "stress": -10 / volume * np.array([1.0, 1, 1, 0, 0, 0]),
        }


def test_a_cell_that_grows_for_ever(squeezed):
    with pytest.raises(SimulationError, match="does not hold this structure together"):
        relax(squeezed, Repulsive())


def test_atoms_on_top_of_each_other():
    pair = Atoms("Ar2", [[0, 0, 0], [0, 0, 0.02]])
    with pytest.raises(DataError, match="at one place"):
        relax(pair, LennardJones(), RelaxConfig(cell="none"))


def test_progress_is_reported(squeezed):
    steps = []
    relax(squeezed, EMT(), RelaxConfig(steps=2), progress=steps.append)
    assert [s.step for s in steps] == [0, 1, 2]


@pytest.mark.filterwarnings("error")
def test_rounding_of_a_strain_is_no_warning():
    # forty times the identity, but for a rounding error, is what SciPy's logarithm warns of
    atoms = bulk("Cu", cubic=True).repeat((2, 5, 1))
    strained = StrainFilter(atoms, choose_cell(atoms, "full"), pressure=0.0)
    cell = atoms.cell.array.copy()
    cell[1, 0] += 1e-15
    atoms.set_cell(cell)
    assert np.isfinite(strained.get_positions()).all()


def test_symmetry_of_what_is_not_periodic_everywhere():
    slab = fcc111("Cu", (1, 1, 3), vacuum=6.0)
    r = relax(slab, EMT(), RelaxConfig(cell="auto", symmetry=0.01))
    assert r.converged and r.symmetry == "P-3m1 (164)"
    with pytest.raises(DataError, match="H2O: has no cell of three vectors"):
        relax(molecule("H2O"), EMT(), RelaxConfig(cell="none", symmetry=0.01))
    with pytest.raises(DataError, match=r"Cu4: no symmetry is found within 4\.0 Å"):
        relax(bulk("Cu", cubic=True), EMT(), RelaxConfig(symmetry=4.0))


def test_a_slab_without_a_third_vector_has_a_vacuum_along_it_only():
    assert choose_cell(fcc111("Cu", (1, 1, 3)), "auto").described == "nothing; vacuum along c"
    assert choose_cell(molecule("H2O"), "auto").vacuum == (0, 1, 2)
