"""Converter of the published weights of CHGNet, from the wheel of the package `chgnet` on PyPI.

    potential, card = convert("chgnet-0.3.0", {"chgnet_0.3.0_….pth.tar": Path("…")})

The weights are files of `torch.save`, which are read with the weights-only loader of PyTorch.
"""

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from ase.data import chemical_symbols
from torch import Tensor

from gnnpot.data.references import ElementReferences
from gnnpot.errors import CheckpointError
from gnnpot.hub.checkpoint import Card
from gnnpot.models.chgnet import CHGNet, CHGNetConfig
from gnnpot.potential import Potential

#: elements that are among the 94 of the weights, but not in MPtrj, so that their rows were never trained
NEVER_TRAINED = ("Po", "At", "Rn", "Fr", "Ra")

PAPER = "B. Deng et al., CHGNet as a pretrained universal neural network potential, Nat. Mach. Intell. 5, 1031 (2023)"
TRANSFER = (
    "X. Huang et al., Cross-functional transferability in foundation machine learning interatomic potentials, "
    "npj Comput. Mater. (2025)"
)


def _card(name: str) -> Card:
    common: dict[str, Any] = {"name": name, "licence": "Modified BSD (as the package chgnet)"}
    # as published by the authors with the weights
    unit = "authors' test errors: meV/atom, meV/Å, GPa, µB"
    if name == "chgnet-r2scan":
        return Card(
            **common,
            description="CHGNet, transferred from GGA/GGA+U to r2SCAN",
            training_data="MP-r2SCAN (after pretraining on MPtrj)",
            functional="r2SCAN",
            energy_reference="raw r2SCAN total energies",
            metrics={unit: {"energy": 16.76, "forces": 38.46, "stress": 0.167, "magmoms": 0.023}},
            references=[PAPER, TRANSFER],
        )
    errors = {
        "chgnet-0.3.0": {"energy": 29, "forces": 68, "stress": 0.314, "magmoms": 0.037},
        "chgnet-0.2.0": {"energy": 30, "forces": 77, "stress": 0.348, "magmoms": 0.032},
    }
    return Card(
        **common,
        description="CHGNet, the authors' universal potential with magnetic moments",
        training_data="MPtrj, 8:1:1 split by material",
        functional="PBE and PBE+U",
        energy_reference="MP2020-corrected (GGA/GGA+U mixing, anion corrections)",
        metrics={unit: errors[name]},
        references=[PAPER],
    )


def convert(name: str, files: Mapping[str, Path]) -> tuple[Potential, Card]:
    """Convert the weights in the single file of `files`; return the potential and its card.

    Raises `CheckpointError` if the weights do not have the expected layout.
    """
    (path,) = files.values()
    content = _read(path)
    try:
        arguments, state = content["model"]["model_args"], content["model"]["state_dict"]
        config = _config(arguments, state)
        model = CHGNet(config)
        weights = state["composition_model.fc.weight"][0].double()
        model.load_state_dict(_translate(state, model))
    except (KeyError, TypeError, RuntimeError) as error:
        raise CheckpointError(f"{path}: the weights of {name} are not laid out as expected ({error})") from error
    energies = {symbol: float(weights[k]) for k, symbol in _trained()}
    references = ElementReferences.from_mapping({"energies": energies, "source": f"{name}, composition model"})
    return Potential(model, references).eval(), _card(name)


def _read(path: Path) -> dict[str, Any]:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, pickle.UnpicklingError) as error:
        raise CheckpointError(f"{path}: can't be read as weights ({' '.join(str(error).split())})") from error


def _trained() -> list[tuple[int, str]]:
    """Return (row, symbol) of the elements whose rows were trained."""
    return [(k, s) for k, s in enumerate(chemical_symbols[1:95]) if s not in NEVER_TRAINED]


def _config(arguments: Mapping[str, Any], state: Mapping[str, Tensor]) -> CHGNetConfig:
    for name, expected in (("non_linearity", "silu"), ("read_out", "ave"), ("mlp_first", True), ("conv_norm", None)):
        if arguments.get(name, expected) != expected:
            raise KeyError(f"{name} = {arguments[name]!r}; only {expected!r} is known")
    return CHGNetConfig(
        elements=tuple(symbol for _, symbol in _trained()),
        units=arguments["atom_fea_dim"],
        convolutions=arguments["n_conv"],
        cutoff=float(arguments["atom_graph_cutoff"]),
        bond_cutoff=float(arguments["bond_graph_cutoff"]),
        radial=arguments["num_radial"],
        angular=arguments["num_angular"],
        envelope_power=arguments["cutoff_coeff"],
        readout_layers=len(arguments["mlp_hidden_dims"]),
        norm=arguments["gMLP_norm"] == "layer",
        message_bias="atom_conv_layers.0.mlp_out.layers.1.bias" in state,
    )


def _translate(state: Mapping[str, Tensor], model: CHGNet) -> dict[str, Tensor]:
    """Convert the state of CHGNet to the names and layouts of gnnpot."""
    rows = torch.tensor([k for k, _ in _trained()])
    new = {"atom_embedding.weight": state["atom_embedding.embedding.weight"][rows]}
    basis = "bond_basis_expansion.rbf_expansion"
    same = {
        "radial_basis.frequencies": f"{basis}_ag.frequencies",
        "bond_basis.frequencies": f"{basis}_bg.frequencies",
        "angular_basis.frequencies": "angle_basis_expansion.fourier_expansion.frequencies",
        "bond_embedding.weight": "bond_embedding.weight",
        "angle_embedding.weight": "angle_embedding.weight",
        "atom_weights.weight": "bond_weights_ag.weight",
        "bond_weights.weight": "bond_weights_bg.weight",
        "magmom.weight": "site_wise.weight",
        "magmom.bias": "site_wise.bias",
    }
    new |= {ours: state[theirs] for ours, theirs in same.items()}
    for k in range(model.config.convolutions):
        kinds = [("atom_convolutions", "atom_conv_layers", "twoBody_atom", "message")]
        if k < len(model.bond_convolutions):
            kinds.append(("bond_convolutions", "bond_conv_layers", "twoBody_bond", "message"))
        # the weights have one more update of the angles, which is not used
        if k < len(model.angle_updates):
            kinds.append(("angle_updates", "angle_layers", "twoBody_bond", "update"))
        for ours, theirs, block, name in kinds:
            new |= _gated(state, f"{theirs}.{k}.{block}", f"{ours}.{k}.{name}")
            for part in ("weight", "bias"):
                out = f"{theirs}.{k}.mlp_out.layers.1.{part}"
                if out in state:
                    new[f"{ours}.{k}.out.{part}"] = state[out]
    return new | _readout(state, model)


def _gated(state: Mapping[str, Tensor], theirs: str, ours: str) -> dict[str, Tensor]:
    """Convert a gated perceptron; its first layer is number 0 if there is a second one (3), else 1, after a dropout."""
    deep = f"{theirs}.mlp_core.layers.3.weight" in state
    new = {}
    for part in ("weight", "bias"):
        halves = [state[f"{theirs}.mlp_{half}.layers.{0 if deep else 1}.{part}"] for half in ("core", "gate")]
        new[f"{ours}.first.linear.{part}"] = torch.cat(halves)
        if deep:
            new[f"{ours}.layers.0.{part}"] = state[f"{theirs}.mlp_core.layers.3.{part}"]
            new[f"{ours}.gates.0.{part}"] = state[f"{theirs}.mlp_gate.layers.3.{part}"]
        for k in range(2):
            if f"{theirs}.bn{k + 1}.{part}" in state:
                new[f"{ours}.norms.{k}.{part}"] = state[f"{theirs}.bn{k + 1}.{part}"]
    return new


def _readout(state: Mapping[str, Tensor], model: CHGNet) -> dict[str, Tensor]:
    """Convert the norm, if any, and the linear layers, whose numbers have gaps for layers without weights."""
    found = sorted({int(name.split(".")[2]) for name in state if name.startswith("mlp.layers.")})
    theirs = (["readout_norm"] if model.config.norm else []) + [f"mlp.layers.{k}" for k in found]
    ours = [k for k, layer in enumerate(model.readout) if list(layer.parameters())]
    return {
        f"readout.{k}.{part}": state[f"{name}.{part}"]
        for k, name in zip(ours, theirs, strict=True)
        for part in ("weight", "bias")
    }
