"""Small potentials with random weights, in float64."""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk

from gnnpot.data.references import ElementReferences
from gnnpot.models.hdnnp import HDNNP, HDNNPConfig
from gnnpot.models.m3gnet import M3GNet, M3GNetConfig
from gnnpot.models.symmetry_sets import BehlerSet
from gnnpot.models.zbl import ZBL, ZBLConfig
from gnnpot.potential import Potential

ELEMENTS = ("Na", "Cl")


@pytest.fixture(scope="session")
def potentials() -> dict[str, Potential]:
    """One of each architecture, with nuclear repulsion on top of it."""
    torch.manual_seed(0)
    m3gnet = M3GNet(M3GNetConfig(elements=ELEMENTS, units=8, blocks=1, cutoff=4.0, three_body_cutoff=3.5))
    with torch.no_grad():
        for parameter in m3gnet.parameters():
            # fresh weights say nearly nothing; these give forces of an eV/Å
            parameter.mul_(2)
    hdnnp = HDNNP(HDNNPConfig(elements=ELEMENTS, symmetry_set=BehlerSet(), hidden=(8,)))
    references = ElementReferences.from_mapping({"energies": {"Na": -1.3, "Cl": -1.8}})
    return {
        name: Potential(model.double(), references, energy_scale=scale, terms=[ZBL(ZBLConfig(elements=ELEMENTS))])
        for name, model, scale in (("m3gnet", m3gnet, 20.0), ("hdnnp", hdnnp, 50.0))
    }


@pytest.fixture(params=["m3gnet", "hdnnp"])
def potential(request, potentials) -> Potential:
    return potentials[request.param]


@pytest.fixture
def crystal() -> Atoms:
    """Eight atoms of rock salt, rattled, in a cell that is not quite a cube."""
    atoms = bulk("NaCl", "rocksalt", a=5.6, cubic=True)
    strain = np.array([[0.02, 0.03, 0], [0, -0.01, 0.02], [0, 0, 0.01]])
    atoms.set_cell(atoms.cell @ (np.eye(3) + strain), scale_atoms=True)
    atoms.rattle(0.08, seed=1)
    return atoms
