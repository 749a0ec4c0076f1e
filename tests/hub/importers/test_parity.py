"""Published weights give what the authors' packages gave: on structures of the shared data, in both precisions."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.io import read
from torch_geometric.data import Batch

from gnnpot.models.sevennet import PRESETS
from gnnpot.potential import Potential

#: energy (eV/atom), forces (eV/Å), stress (eV/Å³), magnetic moments (µB)
TOLERANCES = {"energy": 1e-5, "forces": 1e-4, "stress": 1e-5, "magmoms": 1e-3}

#: potentials of which the shared data have reference numbers
SHARED = [
    "chgnet-0.3.0", "7net-0", "7net-l3i5", "7net-mf-0", "m3gnet-mp-2021.2.8",
    "nequix-oam-1", "nequix-oam-1-pft", "nequix-omat-1", "nequix-mp-1",
]  # fmt: skip

OWN = json.loads((Path(__file__).parent / "published.json").read_text())


def compare(potential: Potential, atoms: Atoms, expected: Mapping, scale: float = 1.0) -> None:
    found = potential(potential.graph(atoms))
    assert abs(float(found.energy) - expected["energy"]) < scale * TOLERANCES["energy"] * len(atoms)
    np.testing.assert_allclose(found.forces, expected["forces"], rtol=0, atol=scale * TOLERANCES["forces"])
    np.testing.assert_allclose(found.stress[0], expected["stress"], rtol=0, atol=scale * TOLERANCES["stress"])
    if "magmoms" in expected and expected["magmoms"] is not None:
        np.testing.assert_allclose(found.magmoms, expected["magmoms"], rtol=0, atol=TOLERANCES["magmoms"])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", SHARED)
def test_shared_structures(name, dtype, shared, published):
    potential = published(name).to(dtype)
    expected = json.loads((shared / "parity" / f"{name}.json").read_text())
    for atoms in read(shared / "parity" / "structures.extxyz", ":"):
        compare(potential, atoms, expected[atoms.info["name"]])


@pytest.mark.parametrize("name", OWN["results"])
def test_own_structures(name, published):
    potential = published(name).to(torch.float64)
    for structure, expected in OWN["results"][name].items():
        data = OWN["structures"][structure]
        compare(potential, Atoms(**data, pbc=True), expected)


def test_matgl_rows_do_not_depend_on_the_batch(shared, published):
    potential = published("m3gnet-mp-2021.2.8").to(torch.float64)
    structures = read(shared / "parity" / "structures.extxyz", ":")[:4]
    graphs = [potential.graph(s) for s in structures]
    batch = potential(Batch.from_data_list(graphs))
    singles = torch.cat([potential(g).energy for g in graphs])
    assert torch.allclose(batch.energy, singles, rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_the_published_sizes(name, published):
    config = published(name).model.config
    assert config == replace(PRESETS[name], elements=config.elements)
