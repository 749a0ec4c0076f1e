"""Packages that gnnpot is compared with: how each evaluates and trains the weights that gnnpot has under a name.

    peer = PEERS[0]
    ours, theirs = Calculator(peer.ours(peer.name)), peer.calculator(peer.name)

To add a potential, add an entry to `PEERS`. Packages are imported inside functions, so that one can be measured without
the others, and a process that runs only gnnpot loads none of them.

A training step is forward pass, loss, backward pass and Adam, on prebuilt graphs, which all packages keep. Collating
the graphs of a batch is part of the step on both sides, as in training, and so is the loss as each package computes it,
of energies per atom, forces, stress, and magnetic moments if the model has them. All losses are squared errors with
equal weights in eV, Å and µB, so that both sides start with the same loss.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms, units
from ase.calculators.calculator import BaseCalculator
from ase.calculators.singlepoint import SinglePointCalculator
from ase.data import atomic_numbers
from ase.stress import voigt_6_to_full_3x3_stress
from torch import Tensor
from torch_geometric.data import Batch

import gnnpot
from gnnpot.hub.cache import source_path
from gnnpot.models import M3GNet, M3GNetConfig
from gnnpot.potential import Potential
from gnnpot.training.config import LossConfig
from gnnpot.training.loss import label_errors, loss_sums, total_loss

#: small steps: the weights hardly change, the cost is the same
LEARNING_RATE = 1e-6
LOSS = LossConfig(kind="mse", energy=1.0, forces=1.0, stress=0.1)
KBAR = 0.1 * units.GPa

#: function that runs a training step and returns its loss
Step = Callable[[], float]


@dataclass(frozen=True)
class Peer:
    """A potential, and the package that publishes it."""

    name: str  #: name for `gnnpot.load`
    package: str  #: name on PyPI
    calculator: Callable[[str], BaseCalculator]  #: makes the package's calculator, by name
    training_step: Callable[
        [str, list[Atoms]], Step
    ]  #: makes the package's training step, for a name and labelled structures
    ours: Callable[[str], Potential] = gnnpot.load
    magmoms: bool = False  #: whether magnetic moments are trained
    note: str = ""  #: note below the table


def our_training_step(peer: Peer, structures: list[Atoms]) -> Step:
    """Training step of gnnpot."""
    potential = peer.ours(peer.name).train()
    graphs = [potential.graph(s, labels=True) for s in structures]
    loss_config = replace(LOSS, magmoms=0.1 if peer.magmoms else 0.0)
    optimizer = torch.optim.Adam(potential.parameters(), lr=LEARNING_RATE, fused=True)

    def loss() -> Tensor:
        batch = Batch.from_data_list(graphs)
        sums, counts = loss_sums(label_errors(potential(batch, training=True), batch), loss_config)
        return total_loss(sums, counts, loss_config)

    return _step(optimizer, loss)


def labelled(structures: list[Atoms]) -> list[Atoms]:
    """The structures with random labels from a fixed seed; the values don't matter."""
    rng = np.random.default_rng(0)
    for atoms in structures:
        n = len(atoms)
        labels = {"energy": -5.0 * n, "forces": 0.1 * rng.standard_normal((n, 3)), "magmoms": rng.random(n)}
        atoms.calc = SinglePointCalculator(atoms, stress=0.01 * rng.standard_normal(6), **labels)
    return structures


def _step(optimizer: torch.optim.Optimizer, loss: Callable[[], Tensor]) -> Step:
    def step() -> float:
        optimizer.zero_grad()
        value = loss()
        value.backward()
        optimizer.step()
        return value.item()

    return step


def _chgnet(name: str) -> Any:
    from chgnet.model import CHGNet

    return CHGNet.load(model_name=name.removeprefix("chgnet-"), use_device="cpu", verbose=False)


def chgnet_calculator(name: str) -> BaseCalculator:
    from chgnet.model.dynamics import CHGNetCalculator

    return CHGNetCalculator(_chgnet(name), use_device="cpu")


def chgnet_training_step(name: str, structures: list[Atoms]) -> Step:
    from chgnet.data.dataset import collate_graphs
    from chgnet.trainer.trainer import CombinedLoss
    from pymatgen.io.ase import AseAtomsAdaptor

    model = _chgnet(name).train()
    stress_weight = LOSS.stress * units.GPa**2
    criterion = CombinedLoss(target_str="efsm", stress_loss_ratio=stress_weight, mag_loss_ratio=0.1)
    data = []
    for atoms in structures:
        labels = atoms.calc.results
        bare = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=True)
        graph = model.graph_converter(AseAtomsAdaptor.get_structure(bare))
        stress = voigt_6_to_full_3x3_stress(labels["stress"]) / units.GPa
        targets = {key: torch.tensor(labels[label]).float() for key, label in (("f", "forces"), ("m", "magmoms"))}
        data.append((graph, {"e": labels["energy"] / len(atoms), "s": torch.tensor(stress).float(), **targets}))

    def loss() -> Tensor:
        graphs, targets = collate_graphs(data)
        for graph in graphs:
            graph.atom_frac_coord.requires_grad = True
        return criterion(targets, model(graphs, task="efsm"))["loss"]

    return _step(torch.optim.Adam(model.parameters(), lr=LEARNING_RATE), loss)


def sevenn_calculator(name: str) -> BaseCalculator:
    from sevenn.calculator import SevenNetCalculator

    return SevenNetCalculator(name, device="cpu")


def sevenn_training_step(name: str, structures: list[Atoms]) -> Step:
    from sevenn.atom_graph_data import AtomGraphData
    from sevenn.train.dataload import atoms_to_graph
    from sevenn.train.loss import ForceLoss, PerAtomEnergyLoss, StressLoss
    from sevenn.util import load_checkpoint

    checkpoint = load_checkpoint(name)
    model = checkpoint.build_model().train()
    model.set_is_batch_data(True)
    cutoff = checkpoint.config["cutoff"]
    graphs = [AtomGraphData.from_numpy_dict(atoms_to_graph(s, cutoff, y_from_calc=True)) for s in structures]
    weights = {PerAtomEnergyLoss: LOSS.energy, ForceLoss: LOSS.forces, StressLoss: LOSS.stress * KBAR**2}
    terms = [(kind(criterion=torch.nn.MSELoss()), weight) for kind, weight in weights.items()]

    def loss() -> Tensor:
        output = model(Batch.from_data_list(graphs))
        return sum(weight * term.get_loss(output, model) for term, weight in terms)

    return _step(torch.optim.Adam(model.parameters(), lr=LEARNING_RATE), loss)


def _nequix_weights(name: str) -> Path:
    """The published file in gnnpot's cache, which its package reads too."""
    gnnpot.load(name)
    return source_path(name, f"{name}.nqx")


def nequix_calculator(name: str) -> BaseCalculator:
    from nequix.calculator import NequixCalculator

    return NequixCalculator(model_path=str(_nequix_weights(name)), backend="jax", use_kernel=False)


def nequix_training_step(name: str, structures: list[Atoms]) -> Step:
    import equinox
    import jraph
    import optax
    from nequix.data import atomic_numbers_to_indices, dict_to_graphstuple, preprocess_graph
    from nequix.model import load_model
    from nequix.train import loss as their_loss

    model, config = load_model(_nequix_weights(name))
    indices = atomic_numbers_to_indices(config["atomic_numbers"])
    graphs = [dict_to_graphstuple(preprocess_graph(s, indices, config["cutoff"], targets=True)) for s in structures]
    nodes, edges = (sum(int(getattr(g, name)[0]) for g in graphs) for name in ("n_node", "n_edge"))
    optimizer = optax.adam(LEARNING_RATE)
    state: list[Any] = [model, optimizer.init(equinox.filter(model, equinox.is_array))]

    @equinox.filter_jit
    def update(model: Any, memory: Any, batch: Any) -> tuple[Any, Any, Any]:
        weights = LOSS.energy, LOSS.forces, LOSS.stress
        (value, _), gradient = equinox.filter_value_and_grad(their_loss, has_aux=True)(model, batch, *weights, "mse")
        updates, memory = optimizer.update(gradient, memory)
        return equinox.apply_updates(model, updates), memory, value

    def step() -> float:
        # their loss excludes the padding of a batch
        batch = jraph.pad_with_graphs(jraph.batch(graphs), nodes + 1, edges, len(graphs) + 1)
        state[0], state[1], value = update(*state, batch)
        return float(value)

    return step


def m3gnet_by_the_paper(name: str) -> Potential:
    """M3GNet weights with the row order of the paper, which the current version of matgl uses.

    They were trained with another row order (see `gnnpot.models.m3gnet_matgl_rows`), so this is not exactly the
    published potential; but both sides do the same work with the same numbers.
    """
    published = gnnpot.load(name)
    names = (field.name for field in fields(M3GNetConfig) if field.name != "architecture")
    options = {name: getattr(published.model.config, name) for name in names}
    model = M3GNet(M3GNetConfig(**options))
    model.load_state_dict(published.model.state_dict())
    return Potential(model, published.references, float(published.energy_scale)).eval()


def _matgl_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights of an M3GNet under the names of matgl; layers that gnnpot stores as one are split in two."""
    names = {
        r"^node_embedding": "embedding.layer_node_embedding",
        r"^edge_embedding": "embedding.layer_edge_embedding.layers.0",
        r"^three_body\.(\d+)\.atom": r"three_body_interactions.\1.update_network_atom.layers.0",
        r"^three_body\.(\d+)\.bond": r"three_body_interactions.\1.update_network_bond",
        r"^convolutions\.(\d+)\.(edge|node)_(update|weight)": r"graph_layers.\1.conv.\2_\3_func",
        r"^readout": "final_layer.gated",
    }
    new = {}
    for name, weight in state.items():
        # in matgl, activations are numbered too, and the first layers come first
        name = re.sub(r"\.(layers|gates)\.(\d+)", lambda m: f".{m[1]}.{2 * int(m[2]) + 2}", name)
        for ours, theirs in names.items():
            name = re.sub(ours, theirs, name)
        if match := re.search(r"\.first(\.linear)?", name):
            for half, side in zip(weight.chunk(2), ("layers", "gates"), strict=True):
                new[name.replace(match[0], f".{side}.0")] = half
        else:
            new[name] = weight
    return new


def _matgl(name: str) -> dict[str, Any]:
    """M3GNet of matgl with the weights, energy scale and references of `m3gnet_by_the_paper`."""
    from matgl.models import M3GNet as TheirM3GNet

    ours = m3gnet_by_the_paper(name)
    c = ours.model.config
    model = TheirM3GNet(
        element_types=c.elements,
        is_intensive=False,
        units=c.units,
        dim_node_embedding=c.units,
        dim_edge_embedding=c.units,
        nblocks=c.blocks,
        max_n=c.max_n,
        max_l=c.max_l,
        cutoff=c.cutoff,
        threebody_cutoff=c.three_body_cutoff,
    )
    model.load_state_dict(model.state_dict() | _matgl_state(ours.model.state_dict()))
    energies = ours.references.energies_by_number()[[atomic_numbers[e] for e in c.elements]]
    return {"model": model, "element_refs": energies, "data_std": float(ours.energy_scale)}


def matgl_calculator(name: str) -> BaseCalculator:
    from matgl.apps.pes import Potential as TheirPotential
    from matgl.ext.ase import PESCalculator

    potential = TheirPotential(**_matgl(name), calc_stresses=True).eval()
    return PESCalculator(potential, stress_unit="eV/A3", use_voigt=True)


def matgl_training_step(name: str, structures: list[Atoms]) -> Step:
    from matgl.ext.ase import Atoms2Graph
    from matgl.graph.data import collate_fn_pes
    from matgl.utils.training import PotentialLightningModule

    stress_weight = LOSS.stress * units.GPa**2
    module = PotentialLightningModule(**_matgl(name), stress_weight=stress_weight, loss="mse_loss").train()
    converter = Atoms2Graph(module.model.model.element_types, module.model.model.cutoff)
    data = []
    for atoms in structures:
        labels = atoms.calc.results
        graph, lattice, state = converter.get_graph(atoms)
        stress = voigt_6_to_full_3x3_stress(labels["stress"]) / units.GPa
        targets = {"energies": labels["energy"]}
        targets |= {key: torch.tensor(x).float() for key, x in (("forces", labels["forces"]), ("stresses", stress))}
        data.append((graph, lattice, torch.tensor(state), targets))
    optimizer = torch.optim.Adam(module.parameters(), lr=LEARNING_RATE)
    return _step(optimizer, lambda: module.step(collate_fn_pes(data))[0]["Total_Loss"])


PEERS = (
    Peer("chgnet-0.3.0", "chgnet", chgnet_calculator, chgnet_training_step, magmoms=True),
    Peer("7net-0", "sevenn", sevenn_calculator, sevenn_training_step),
    Peer("7net-l3i5", "sevenn", sevenn_calculator, sevenn_training_step),
    Peer("nequix-oam-1", "nequix", nequix_calculator, nequix_training_step),
    Peer(
        "m3gnet-mp-2021.2.8",
        "matgl",
        matgl_calculator,
        matgl_training_step,
        ours=m3gnet_by_the_paper,
        note="published weights with the rows that matgl's present version has, on both sides",
    ),
)
