"""Structures that no property of a crystal accepts."""

import io

import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms
from ase.io import read, write

from gnnpot.errors import DataError
from gnnpot.properties import elastic, equation_of_state, formation_energy, interstitial, phonons, vacancy
from gnnpot.properties.formation_energy import FormationEnergyConfig
from gnnpot.properties.interstitial import InterstitialConfig
from gnnpot.properties.vacancy import VacancyConfig


def frozen():
    """A crystal with an atom that is fixed by selective dynamics of a POSCAR."""
    atoms = bulk("Cu", cubic=True)
    atoms.set_constraint(FixAtoms([1]))
    file = io.StringIO()
    write(file, atoms, format="vasp")
    file.seek(0)
    return read(file, format="vasp")


@pytest.mark.parametrize("kind", [elastic, equation_of_state, phonons, vacancy])
def test_a_crystal_with_fixed_atoms_is_refused(kind):
    with pytest.raises(DataError, match=r"Cu4 has fixed atoms or other constraints \(FixAtoms\)"):
        kind.calc(frozen(), EMT())


def test_a_reference_with_fixed_atoms_is_refused():
    config = VacancyConfig(references={"Cu": frozen()}, relax=False)
    with pytest.raises(DataError, match="vacancy: reference of Cu: Cu4 has fixed atoms"):
        vacancy.calc(bulk("Cu", cubic=True), EMT(), config)
    with pytest.raises(DataError, match="formation energy: reference: Cu4 has fixed atoms"):
        formation_energy.calc(bulk("Cu"), EMT(), FormationEnergyConfig(references=(frozen(),), relax=False))
    with pytest.raises(DataError, match="formation energy: Cu4 has fixed atoms"):
        formation_energy.calc(frozen(), EMT(), FormationEnergyConfig(references=(bulk("Cu"),)))
    with pytest.raises(DataError, match="interstitial: Cu4 has fixed atoms"):
        interstitial.calc(frozen(), EMT(), InterstitialConfig(element="Cu"))
