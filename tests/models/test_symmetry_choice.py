"""Symmetry functions chosen from structures: where atoms are, none for what does not occur, no two alike."""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule

from gnnpot.data.frame import Frame
from gnnpot.errors import DataError
from gnnpot.graphs import Graph, build_graph
from gnnpot.models.hdnnp import HDNNP, HDNNPConfig
from gnnpot.models.symmetry import SymmetryDescriptor
from gnnpot.models.symmetry_choice import (
    RADIAL_FIRST,
    NeighborStatistics,
    candidates,
    choose_functions,
    first_shift,
    select_columns,
)
from gnnpot.models.symmetry_functions import BehlerRadial, functions_of
from gnnpot.models.symmetry_sets import FIRST_SHIFT, BehlerSet, SelectedBehlerSet, WeightedSet, radial_grid
from gnnpot.training.resolve_model import resolve_model

RADIAL, ANGULAR = 5.0, 4.0


def graphs(atoms: Atoms, count: int = 8, amplitude: float = 0.1) -> list[Graph]:
    found = []
    for seed in range(count):
        moved = atoms.copy()
        moved.rattle(amplitude, seed=seed)
        moved.set_cell(moved.cell.array * (1 + 0.01 * (seed % 3)), scale_atoms=True)
        found.append(build_graph(Frame.from_atoms(moved), RADIAL))
    return found


def salt() -> Atoms:
    return bulk("NaCl", "rocksalt", a=5.6, cubic=True)


def test_surroundings_are_counted():
    atoms = salt()
    around = NeighborStatistics.of([build_graph(Frame.from_atoms(atoms), RADIAL)], ("Na", "Cl"), 3.0, 3.0)
    assert around.neighbors(0, 1) == around.neighbors(1, 0) == 6
    assert around.neighbors(0, 0) == 0
    assert around.triples(0, 1, 1) == 15
    assert around.triples(0, 0, 1) == 0
    assert around.shortest(0, 1) == pytest.approx(2.8, abs=0.03)


@pytest.mark.parametrize("method", ["cur", "farthest"])
def test_as_many_as_asked_for_each_element_and_no_two_alike(method):
    seen = graphs(salt())
    functions = choose_functions(seen, ("Na", "Cl"), 20, RADIAL, ANGULAR, method)
    for element in ("Na", "Cl"):
        own = functions_of(functions, element)
        assert len(own) == len(set(own)) == 20
        for neighbor in ("Na", "Cl"):
            radial = [f for f in own if isinstance(f, BehlerRadial) and f.neighbor == neighbor]
            assert len(radial) >= RADIAL_FIRST
        # no Gaussian stands where there are no atoms
        shifted = [f.shift for f in own if getattr(f, "neighbor", "") and f.shift]
        assert min(shifted) > 1.8
    assert functions == choose_functions(seen, ("Na", "Cl"), 20, RADIAL, ANGULAR, method)


def test_chosen_functions_say_more_than_a_regular_grid():
    """How much of all candidates a linear fit to the chosen ones leaves unexplained, in structures not seen before."""
    atoms = bulk("Si", cubic=True)
    seen, new = graphs(atoms, 12, 0.2), graphs(atoms * (1, 1, 2), 4, 0.25)
    pool = candidates(NeighborStatistics.of(seen, ("Si",), RADIAL, ANGULAR), ("Si",), 0, RADIAL, ANGULAR)
    grid = BehlerSet(radial_cutoff=RADIAL, angular_cutoff=ANGULAR, radial=6, angular=2, zeta=(1.0, 2.0, 4.0))

    def values(functions, structures):
        descriptor = SymmetryDescriptor(tuple(functions), ("Si",))
        rows = [descriptor(g, torch.zeros_like(g.numbers)).detach().numpy() for g in structures]
        return np.concatenate(rows)

    mean, deviation = values(pool, seen).mean(0), values(pool, seen).std(0)
    everything = [(values(pool, s) - mean)[:, deviation > 1e-3] / deviation[deviation > 1e-3] for s in (seen, new)]
    left = {}
    for name, functions in {
        "grid": grid.functions(("Si",)),
        "cur": choose_functions(seen, ("Si",), 18, RADIAL, ANGULAR, "cur"),
        "farthest": choose_functions(seen, ("Si",), 18, RADIAL, ANGULAR, "farthest"),
    }.items():
        assert len(functions) == 18
        x = [
            np.column_stack([values(functions, s), np.ones(len(e))])
            for s, e in zip((seen, new), everything, strict=True)
        ]
        fit = np.linalg.lstsq(x[0], everything[0], rcond=1e-12)[0]
        left[name] = float(((everything[1] - x[1] @ fit) ** 2).mean())
    assert max(left["cur"], left["farthest"]) < 0.5 * left["grid"]


def test_what_does_not_occur_gets_no_function():
    """Two Na far from each other, each with Cl around it."""
    cluster = Atoms("NaCl2", [[0, 0, 0], [2.5, 0, 0], [0, 2.6, 0]])
    atoms = cluster + Atoms(cluster.symbols, cluster.positions + 20)
    functions = choose_functions(graphs(atoms), ("Na", "Cl"), 12, RADIAL, ANGULAR)
    assert not [f for f in functions if f.centre == "Na" and getattr(f, "neighbor", "") == "Na"]
    assert not [f for f in functions if "Na" in getattr(f, "neighbors", ()) and f.centre == "Na"]


def test_columns_that_follow_from_others_are_not_taken():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 3)) @ rng.normal(size=(3, 7))
    kernel = x.T @ x / 200
    assert len(select_columns(kernel, [], 7, "cur")) == 3
    assert len(set(select_columns(kernel, [], 5, "farthest"))) == 5


def test_many_elements_do_not_explode():
    elements = ("Li", "Na", "Mg", "Al", "Si", "P", "S", "Cl")
    atoms = bulk("NaCl", "rocksalt", a=5.6, cubic=True) * (2, 1, 1)
    atoms.symbols = [elements[k % 8] for k in np.random.default_rng(0).permutation(16)]
    functions = choose_functions(graphs(atoms, 4), elements, 32, RADIAL, ANGULAR, "farthest")
    assert all(len(functions_of(functions, e)) <= 32 for e in elements)


def test_an_element_without_neighbours_is_named():
    atoms = salt() + Atoms("He", [[0, 0, 100.0]])
    atoms.pbc = False
    with pytest.raises(DataError, match="He has no neighbours"):
        choose_functions(graphs(atoms), ("Na", "Cl", "He"), 8, RADIAL, ANGULAR)


def test_a_set_that_is_not_chosen_yet_makes_no_model():
    with pytest.raises(ValueError, match="follow from training frames"):
        HDNNP(HDNNPConfig(elements=("Si",), symmetry_set=SelectedBehlerSet()))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"count": 0}, "count"),
        ({"angular_cutoff": 7.0}, "beyond the radial"),
        ({"radial_cutoff": -1.0}, "radial_cutoff"),
    ],
)
def test_impossible_sets(options, words):
    with pytest.raises(ValueError, match=words):
        SelectedBehlerSet(**options)


@pytest.mark.parametrize("cutoff", [4.5, 5.1, 6.0])
def test_the_grid_without_frames_is_as_it_was(cutoff):
    """Saved models give their set only."""
    shifts = np.linspace(1.5, cutoff - 0.5, 11)
    spacing = (cutoff - 2.0) / 10
    assert radial_grid(cutoff, 16)[5:] == [(float(0.5 / spacing**2), float(s)) for s in shifts]


def test_a_grid_without_width_is_refused():
    with pytest.raises(ValueError, match=r"radial_cutoff: with 2.0 Å, all shifted Gaussians"):
        radial_grid(2.0, 16)


def test_a_grid_starts_at_the_shortest_bonds():
    """Of any pair of elements, however rare the elements are; not where few atoms come closer by chance."""
    water = molecule("H2O", vacuum=3.0, pbc=True)
    # one molecule on a hundred atoms of metal
    metal = bulk("Cu", cubic=True) * (3, 3, 3)
    metal.cell[2, 2] += 10.0
    metal += Atoms("OH2", water.positions - water.positions[0] + [0, 0, 15.0])
    for atoms, elements in ((water, ("H", "O")), (metal, ("H", "O", "Cu"))):
        graph = build_graph(Frame.from_atoms(atoms), FIRST_SHIFT, labels=False)
        assert first_shift([graph], elements) == pytest.approx(0.97, abs=0.03)
    crystal = [build_graph(Frame.from_atoms(salt()), FIRST_SHIFT, labels=False)] * 19
    assert first_shift(crystal, ("Na", "Cl")) == FIRST_SHIFT
    # diamond under a pressure that no experiment reaches
    diamond = bulk("C", a=4 * 1.25 / np.sqrt(3))
    assert first_shift([build_graph(Frame.from_atoms(diamond), FIRST_SHIFT, labels=False)], ("C",)) == FIRST_SHIFT
    close = salt()
    close.positions[1] = close.positions[0] + [1.0, 0, 0]
    crystal.append(build_graph(Frame.from_atoms(close), FIRST_SHIFT, labels=False))
    assert first_shift(crystal, ("Na", "Cl")) == FIRST_SHIFT


@pytest.mark.parametrize("kind", [WeightedSet, BehlerSet])
def test_models_of_molecules_start_at_their_bonds(kind, tmp_path):
    """A crystal's model, one that has weights, and a resumed one stay as they are."""

    def resolved(atoms, name, **options):
        frames = [Frame.from_atoms(atoms)]
        elements = tuple(sorted(set(atoms.symbols)))
        return resolve_model(model, elements, lambda _: frames, tmp_path / name, **options)

    model = HDNNPConfig(symmetry_set=kind(radial_cutoff=5.0, radial=6, angular=1))
    water = molecule("H2O", vacuum=3.0)
    found = resolved(water, "a.json")
    assert min(f.shift for f in found.symmetry_functions if f.kind.endswith("radial") and f.shift) < 1.0
    assert len(found.symmetry_functions) == len(model.symmetry_set.functions(("H", "O")))
    assert resolved(water, "a.json", fixed=True) == found
    assert not resolved(water, "b.json", fixed=True).symmetry_functions
    assert not resolved(salt(), "c.json").symmetry_functions
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
