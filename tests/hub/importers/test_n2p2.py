"""Published n2p2 potentials: against a second evaluation in NumPy, the files' own statistics, and DFT."""

import gzip
import io
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.io import read

from gnnpot.data.frame import Frame
from gnnpot.errors import CheckpointError
from gnnpot.graphs import build_graph
from gnnpot.hub.importers.n2p2 import N2P2Potential, read_n2p2
from tests.hub.importers.numpy_n2p2 import NumpyPotential

#: (energy RMSE in eV/atom, force RMSE in eV/Å) that the test sets may have at most. Zuo et al. 2020, fig. 3 and SI:
#: about 6, 6 and 2 meV/atom and 0.17, 0.20 and 0.06 eV/Å for Si, Mo and Cu.
BARS = {"Si": (0.008, 0.18), "Mo": (0.0065, 0.215), "Cu": (0.0022, 0.07)}

NORMALISATION = ["mean_energy -2.5", "conv_energy 30", "conv_length 1.7"]


def evaluate(potential: N2P2Potential, atoms: Atoms) -> tuple[float, np.ndarray]:
    """Energy (eV) and forces (eV/Å)."""
    frame = Frame.from_atoms(atoms, labels=False)
    graph = build_graph(frame, potential.model.cutoff, labels=False)
    vectors = graph.edge_vectors.clone().requires_grad_()
    energy = potential.energy_scale * potential.model(graph.clone_with_edge_vectors(vectors)).energies.sum()
    (g,) = torch.autograd.grad(energy, vectors)
    forces = torch.zeros(len(atoms), 3, dtype=g.dtype)
    forces.index_add_(0, graph.edge_index[0], g).index_add_(0, graph.edge_index[1], -g)
    offset = sum(potential.atom_energies[s] for s in frame.symbols)
    return float(energy.detach()) + offset, forces.numpy()


def mlearn(shared: Path, element: str, part: str) -> list[Atoms]:
    with gzip.open(shared / "data" / "mlearn" / f"{element}_{part}.extxyz.gz", "rt") as file:
        return read(io.StringIO(file.read()), ":", format="extxyz")


def published(shared: Path, element: str) -> Path:
    return shared / "data" / "n2p2" / element / "nnp.2020.01"


def write_potential(
    folder: Path, extra: list[str], scale: list[str], cutoff: str = "1", activation: str = "t p l"
) -> Path:
    """A made-up potential of Li and O; functions in an order that sorting has to mend."""
    rng = np.random.default_rng(7)
    functions = []
    for centre in ("O", "Li"):
        for other in ("O", "Li"):
            functions += [f"{centre} 2 {other} {eta} {shift} 9.0" for eta in (0.2, 0.03) for shift in (2.5, 0.0)]
        for pair in ("O Li", "Li Li", "O O"):
            functions += [f"{centre} 3 {pair} 0.02 {lam} {zeta} 8.0" for lam in (1, -1) for zeta in (4.0, 1.0)]
            functions += [f"{centre} 9 {pair} 0.03 {lam} 2.0 7.0 1.5" for lam in (1, -1)]
    # the elements have different numbers of functions
    functions = functions[:-2]
    rng.shuffle(functions)
    counts = {"Li": sum(f.startswith("Li") for f in functions), "O": sum(f.startswith("O") for f in functions)}
    lines = ["number_of_elements 2", "elements O Li  # not sorted", f"cutoff_type {cutoff}", *scale]
    lines += ["scale_min_short -0.5", "scale_max_short 1.5", "atom_energy Li -0.3", "atom_energy O -1.5"]
    lines += ["global_hidden_layers_short 2", "global_nodes_short 5 4", f"global_activation_short {activation}", *extra]
    lines += [f"symfunction_short {f}" for f in functions]
    (folder / "input.nn").write_text("\n".join(lines) + "\n")
    rows = []
    for e, element in enumerate(("Li", "O"), start=1):
        for k in range(1, counts[element] + 1):
            low, mean, high = np.sort(rng.uniform(0, 4, 3))
            rows.append(f"{e} {k} {low:.12e} {high + 1:.12e} {mean:.12e} {rng.uniform(0.5, 1.5):.12e}")
        first = 3 if element == "O" and any("element_nodes_short O 1 3" in x for x in extra) else 5
        nodes, out = [counts[element], first, 4, 1], []
        for layer in range(1, 4):
            for a in range(1, nodes[layer - 1] + 1):
                for b in range(1, nodes[layer] + 1):
                    out.append(f"{rng.normal():.12e} a {len(out) + 1} {layer - 1} {a} {layer} {b}")
            out += [f"{rng.normal():.12e} b {len(out) + b} {layer} {b}" for b in range(1, nodes[layer] + 1)]
        # connections are told by their indices, wherever they stand
        rng.shuffle(out)
        (folder / f"weights.{3 if element == 'Li' else 8:03d}.data").write_text("\n".join(out) + "\n")
    (folder / "scaling.data").write_text("\n".join(rows) + "\n")
    return folder


def small_crystal() -> Atoms:
    atoms = Atoms("Li3O2", cell=[[4.2, 0.3, 0], [0, 4.6, 0.4], [-0.5, 0, 4.4]], pbc=True)
    grid = [[0.1, 0.1, 0.1], [0.6, 0.5, 0.1], [0.1, 0.6, 0.6], [0.55, 0.05, 0.5], [0.6, 0.55, 0.6]]
    atoms.set_scaled_positions(grid)
    return atoms


@pytest.mark.parametrize(
    ("extra", "scale", "cutoff", "activation"),
    [
        ([], ["scale_symmetry_functions", "center_symmetry_functions"], "1", "t p l"),
        (["normalize_nodes"], ["scale_symmetry_functions"], "2", "t t l"),
        (NORMALISATION, ["scale_symmetry_functions_sigma"], "6 0.2", "s t l"),
        (["element_nodes_short O 1 3", "normalize_nodes"], ["center_symmetry_functions"], "1 0.3", "p p l"),
        ([], [], "1", "t t l"),
    ],
)
def test_agrees_with_numpy(tmp_path, extra, scale, cutoff, activation):
    folder = write_potential(tmp_path, extra, scale, cutoff, activation)
    reference, potential, atoms = NumpyPotential(folder), read_n2p2(folder), small_crystal()
    energy, forces = evaluate(potential, atoms)
    case = (atoms.get_chemical_symbols(), atoms.positions, atoms.cell.array)
    assert abs(energy - reference.energy(*case)) < 1e-8
    for atom, axis in ((0, 0), (4, 2)):
        assert abs(forces[atom, axis] - reference.force(*case, atom, axis)) < 1e-5
    assert potential.model.cutoff == pytest.approx(9.0 * 0.5291772105638411)
    assert any("taken as energies" in note for note in potential.notes)


def test_units_are_those_asked_for(tmp_path):
    folder = write_potential(tmp_path, [], ["scale_symmetry_functions"])
    atoms = small_crystal()
    energy, _ = evaluate(read_n2p2(folder), atoms)
    # the same files, taken as Å and eV, on the crystal in numbers of Bohr
    atoms.set_cell(atoms.cell / 0.5291772105638411, scale_atoms=True)
    other, _ = evaluate(read_n2p2(folder, length_unit=1.0, energy_unit=1.0), atoms)
    assert energy == pytest.approx(27.211386024367243 * other, rel=1e-11)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("2.0 7.0 1.5", "2.0 7.0 xyz", ["input.nn, line", "has no number as its value 9"]),
        ("symfunction_short O 2 O", "symfunction_short O 12 O", ["input.nn, line", "type 12", "2, 3 and 9"]),
        ("symfunction_short O 2 O", "symfunction_short O 2 Zz", ["input.nn, line", "Zz"]),
        ("cutoff_type 1", "cutoff_type 11", ["line 3", "cutoff_type 11"]),
        ("global_activation_short t p l", "global_activation_short t z l", ["t z l", "output"]),
        ("global_nodes_short 5 4", "global_nodes_short 6 4", ["weights.003.data"]),
        ("elements O Li", "elementz O Li", ["'elements' is missing"]),
        ("number_of_elements 2", "number_of_elements 3", ["line 2", "number_of_elements"]),
    ],
)
def test_errors_name_file_and_line(tmp_path, old, new, words):
    folder = write_potential(tmp_path, [], [])
    text = (folder / "input.nn").read_text()
    assert old in text
    (folder / "input.nn").write_text(text.replace(old, new))
    with pytest.raises(CheckpointError) as error:
        read_n2p2(folder)
    for word in words:
        assert word in str(error.value)


@pytest.mark.parametrize("file", ["input.nn", "scaling.data", "weights.008.data"])
def test_missing_and_short_files(tmp_path, file):
    folder = write_potential(tmp_path, [], [])
    text = (folder / file).read_text().splitlines()
    if file != "input.nn":
        (folder / file).write_text("\n".join(text[:-1]) + "\n")
        with pytest.raises(CheckpointError, match=file):
            read_n2p2(folder)
        (folder / file).write_text("\n".join([*text[:-1], "1 rubbish here 0 0"]) + "\n")
        with pytest.raises(CheckpointError, match=f"{file}, line {len(text)}"):
            read_n2p2(folder)
    (folder / file).unlink()
    with pytest.raises(CheckpointError, match="can't be read"):
        read_n2p2(folder)


@pytest.mark.parametrize("element", BARS)
def test_published_agree_with_numpy(shared, element):
    reference, potential = NumpyPotential(published(shared, element)), read_n2p2(published(shared, element))
    frames = sorted(mlearn(shared, element, "test"), key=len)
    for atoms in (frames[0], frames[1]):
        energy, forces = evaluate(potential, atoms)
        case = (atoms.get_chemical_symbols(), atoms.positions, atoms.cell.array)
        assert abs(energy - reference.energy(*case)) < 1e-8
    if len(atoms) < 30:
        assert abs(forces[1, 2] - reference.force(*case, 1, 2)) < 1e-5


@pytest.mark.parametrize("element", BARS)
def test_published_are_as_good_as_published(shared, element):
    potential = read_n2p2(published(shared, element))
    energies, forces = [], []
    for atoms in mlearn(shared, element, "test"):
        energy, force = evaluate(potential, atoms)
        energies.append((energy - atoms.get_potential_energy()) / len(atoms))
        forces.append((force - atoms.get_forces()).ravel())
    bars = BARS[element]
    assert math.sqrt(np.mean(np.square(energies))) < bars[0]
    assert math.sqrt(np.mean(np.square(np.concatenate(forces)))) < bars[1]


@pytest.mark.parametrize("element", BARS)
def test_functions_are_those_of_the_scaling_file(shared, element):
    """Minimum and maximum over the training set, as n2p2 wrote them: a function in the wrong place would show."""
    folder = published(shared, element)
    model = read_n2p2(folder).model
    frames = [Frame.from_atoms(a) for a in mlearn(shared, element, "train")]
    g = torch.cat([model.descriptors(build_graph(f, model.cutoff)) for f in frames]).numpy()
    rows = np.loadtxt(folder / "scaling.data")[:, 2:]
    np.testing.assert_allclose(g.min(0), rows[:, 0], rtol=1e-5)
    np.testing.assert_allclose(g.max(0), rows[:, 1], rtol=1e-5)
    # means depend on how often each frame was counted; see that they are near
    np.testing.assert_allclose(g.mean(0), rows[:, 2], rtol=0.03)
