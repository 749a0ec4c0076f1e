"""The calculator's door: each structure is checked when its neighbours are searched, the second as the first."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from gnnpot.engines.calculator import Calculator
from gnnpot.errors import DataError, MemoryNeedError, SimulationError
from gnnpot.graphs import size, skin
from gnnpot.graphs.free_memory import FreeMemory

REFUSED = {
    "positions has a value of": Atoms("Na2", [[0, 0, 0], [1e18, 0, 0]]),
    "cell has a value of": Atoms("Na", cell=[1e300] * 3, pbc=True),
    "atoms per Å³": Atoms("Na", cell=[0.01] * 3, pbc=True),
    "span no volume": Atoms("Na", cell=[[4, 0, 0], [0, 4, 0], [4, 4, 1e-9]], pbc=True),
    r"atomic numbers \[119\] are no elements": Atoms([119], [[0, 0, 0]]),
    r"atomic numbers \[-3\] are no elements": Atoms(numbers=[-3], positions=[[0, 0, 0]]),
}


@pytest.mark.parametrize("problem", REFUSED)
@pytest.mark.parametrize("before", [False, True])
def test_structures_that_can_not_be(potential, crystal, problem, before):
    calculator = Calculator(potential)
    if before:
        calculator.get_potential_energy(crystal)
    with pytest.raises(DataError, match=problem):
        calculator.get_potential_energy(REFUSED[problem])
    assert np.isfinite(calculator.get_potential_energy(crystal))


def test_fragments_far_apart_have_the_energies_of_the_fragments(potential):
    pair = Atoms("NaCl", [[0, 0, 0], [0, 0, 2.5]])
    alone = Calculator(potential).get_potential_energy(pair)
    for shift in ([3000, 3000, 0], [1e5, 0, 0], [1e6, 2e5, 3e6]):
        other = pair.copy()
        other.positions += shift
        both = Calculator(potential).get_potential_energy(pair + other)
        assert both == pytest.approx(2 * alone, abs=1e-4)
    wire = Atoms("NaCl", [[0, 0, 0], [0, 0, 2.5]], cell=[3000, 0, 0], pbc=[True, False, False])
    assert Calculator(potential).get_potential_energy(wire) == pytest.approx(alone, abs=1e-5)


def test_atoms_that_leave_while_they_move_are_an_explosion(potential):
    atoms = Atoms("NaCl", [[0, 0, 0], [0, 0, 2.5]])
    atoms.calc = Calculator(potential)
    atoms.get_forces()
    atoms.positions[1] = 1e12
    with pytest.raises(SimulationError, match="exploded"):
        atoms.get_forces()


def test_the_memory_is_asked_for_when_a_structure_becomes_denser(potential, monkeypatch):
    atoms = bulk("NaCl", "rocksalt", 5.6)
    atoms.calc = Calculator(potential)
    atoms.get_forces()
    monkeypatch.setattr(size, "free_memory", lambda: FreeMemory(1000, ""))
    with pytest.raises(MemoryNeedError):
        # the same elements in a denser cell
        atoms.set_cell(atoms.cell * 0.7, scale_atoms=True)
        atoms.get_forces()


def test_nothing_is_searched_before_the_check(potential, monkeypatch):
    monkeypatch.setattr(skin, "image_pairs", lambda *_: pytest.fail("neighbours were searched"))
    for atoms in REFUSED.values():
        with pytest.raises(DataError):
            Calculator(potential).get_potential_energy(atoms)
