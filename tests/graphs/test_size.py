"""What a prediction is said to take in memory, and what it takes."""

import contextlib
import subprocess
import sys
import time

import numpy as np
import psutil
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, molecule

from gnnpot.data.references import ElementReferences
from gnnpot.engines.calculator import Calculator
from gnnpot.errors import MemoryNeedError
from gnnpot.graphs import neighbor_list, triplets
from gnnpot.graphs.free_memory import FreeMemory
from gnnpot.graphs.size import graph_size
from gnnpot.graphs.skin import SKIN
from gnnpot.models import CHGNetConfig, HDNNPConfig, M3GNetConfig, NequixConfig, SevenNetConfig, build_model
from gnnpot.models.symmetry_sets import BehlerSet
from gnnpot.potential import Potential

CONFIGS = {
    "m3gnet": M3GNetConfig(elements=("Si",)),
    "chgnet": CHGNetConfig(elements=("Si",)),
    # without kernels
    "m3gnet, 28 units": M3GNetConfig(elements=("Si",), units=28, hidden=28),
    "chgnet, 28 units": CHGNetConfig(elements=("Si",), units=28),
    "sevennet": SevenNetConfig(elements=("Si",)),
    "nequix": NequixConfig(elements=("Si",)),
    # of which nearly all is the search of neighbours
    "hdnnp": HDNNPConfig(elements=("Si",), symmetry_set=BehlerSet(), hidden=(8,)),
}


def potential(name: str) -> Potential:
    return Potential(build_model(CONFIGS[name]), ElementReferences.from_mapping({"energies": {"Si": 0.0}}))


@pytest.mark.parametrize(
    "atoms",
    [
        bulk("Si"),
        bulk("Cu", cubic=True) * (4, 4, 4),
        fcc111("Pt", (2, 2, 4), vacuum=8.0),
        molecule("C60"),
        Atoms("O"),
        Atoms("He8", positions=np.arange(24).reshape(8, 3) * 50.0, cell=[500, 500, 500], pbc=True),
        Atoms("Si2", scaled_positions=[[0, 0, 0], [3.3, 0.25, 0.25]], cell=bulk("Si", cubic=True).cell, pbc=True),
    ],
    ids=lambda a: str(a.symbols),
)
def test_size_of_the_graph(atoms):
    size = graph_size(atoms.positions, atoms.cell.array, atoms.pbc, 5.0, 3.0)
    found = neighbor_list(atoms.positions, atoms.cell.array, atoms.pbc, 5.0)
    assert size.atoms == len(atoms)
    assert size.edges == pytest.approx(len(found.distances), rel=0.25)
    assert size.triplets == pytest.approx(triplets(found.edge_index[0], found.distances, 3.0).shape[1], rel=0.4)


def test_each_layer_of_a_slab_has_its_share():
    # sixteen layers, of which those at the surface have half as many neighbours
    slab = fcc111("Pt", (8, 8, 16), vacuum=8.0)
    size = graph_size(slab.positions, slab.cell.array, slab.pbc, 5.0)
    assert size.edges == len(neighbor_list(slab.positions, slab.cell.array, slab.pbc, 5.0).distances)


MEASURE = """
import sys
import psutil, torch, numba
from gnnpot.engines.calculator import Calculator
from tests.graphs.test_size import potential, silicon

torch.set_num_threads(1), numba.set_num_threads(1)
calculator = Calculator(potential(sys.argv[1]))
small, large = (silicon(n, sys.argv[2]) for n in (2, 10))
for atoms in (small, large):
    atoms.rattle(0.02, seed=1)
    atoms.calc = calculator
small.get_forces()
print(psutil.Process().memory_info().rss, flush=True)
large.get_forces()
"""


def silicon(n: int, kind: str) -> Atoms:
    """8 n³ atoms of a crystal, or two clusters of half as many that lie so far apart that a tree finds neighbours."""
    if kind == "crystal":
        return bulk("Si", cubic=True) * (n, n, n)
    near = bulk("Si", cubic=True) * (n, n, n // 2)
    near.set_cell(None)
    near.pbc = False
    far = near.copy()
    far.positions += 3e4, 2e4, 1e4
    return near + far


def peak_memory(name: str, kind: str) -> int:
    """Bytes that a prediction takes, seen from another process: compiled steps let no other thread of theirs look."""
    with subprocess.Popen([sys.executable, "-c", MEASURE, name, kind], stdout=subprocess.PIPE, text=True) as running:
        before, peak, process = int(running.stdout.readline()), 0, psutil.Process(running.pid)
        with contextlib.suppress(psutil.NoSuchProcess):
            while running.poll() is None:
                peak = max(peak, process.memory_info().rss)
                time.sleep(0.002)
    assert running.returncode == 0
    return peak - before


@pytest.mark.parametrize(("name", "kind"), [*((name, "crystal") for name in CONFIGS), ("hdnnp", "clusters")])
def test_estimate(name, kind):
    atoms, model = silicon(10, kind), potential(name)
    size = graph_size(atoms.positions, atoms.cell.array, atoms.pbc, model.cutoff, model.three_body_cutoff, skin=SKIN)
    assert size.tree == (kind == "clusters")
    assert 0.5 < peak_memory(name, kind) / model.memory(size) < 1.2


@pytest.mark.parametrize("name", CONFIGS)
def test_too_large_a_structure_is_refused_before_it_allocates(name, monkeypatch):
    monkeypatch.setattr("gnnpot.graphs.size.free_memory", lambda: FreeMemory(2**32, ""))
    atoms = bulk("Si", cubic=True) * (70, 70, 70)
    atoms.calc = Calculator(potential(name))
    before = psutil.Process().memory_info().rss
    with pytest.raises(MemoryNeedError, match=r"2,744,000 atoms.*GiB, and 4.0 GiB are free"):
        atoms.get_potential_energy()
    assert psutil.Process().memory_info().rss - before < 2e9
