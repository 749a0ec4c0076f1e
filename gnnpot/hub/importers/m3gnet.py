"""Converter of the published weights of M3GNet, from the repository of matgl.

    potential, card = convert("m3gnet-mp-2021.2.8", {"model.json": Path("…"), "state.pt": Path("…")})

`state.pt` has tensors, which are read with the weights-only loader of PyTorch; sizes and options are in `model.json`.
`matgl_folder` reads other potentials of matgl.
"""

import io
import json
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from gnnpot.data.references import ElementReferences
from gnnpot.errors import CheckpointError
from gnnpot.hub.checkpoint import Card
from gnnpot.hub.registry import MatglFolder, matgl_folders
from gnnpot.models.m3gnet import M3GNet, M3GNetConfig
from gnnpot.models.m3gnet_matgl_rows import M3GNetMatglRows, M3GNetMatglRowsConfig
from gnnpot.potential import Potential

_CARD = Card(
    name="m3gnet-mp-2021.2.8",
    description="M3GNet, the authors' universal potential, retrained by them in PyTorch",
    licence="BSD-3-Clause (as the package matgl)",
    training_data="MP-2021.2.8: relaxations of the Materials Project, without forces above 100 eV/Å",
    functional="PBE and PBE+U",
    energy_reference="energies of the Materials Project's relaxations, without corrections",
    metrics={
        "authors' errors: meV/atom, eV/Å, GPa": {
            "training": {"energy": 18.697, "forces": 0.063, "stress": 0.259},
            "validation": {"energy": 21.099, "forces": 0.072, "stress": 0.380},
        }
    },
    references=[
        (
            "C. Chen, S. P. Ong, A universal graph deep learning interatomic potential for the periodic table, "
            "Nat. Comput. Sci. 2, 718 (2022)"
        )
    ],
)


#: required values of options; other values need layers or readouts that are not supported
_EXPECTED = {
    "is_intensive": False, "rbf_type": "SphericalBessel", "use_phi": False, "include_state": False,
    "field": "node_feat", "activation_type": "swish", "ntargets": 1,
}  # fmt: skip


def convert(name: str, files: Mapping[str, Path]) -> tuple[Potential, Card]:
    """Convert `model.json` and `state.pt`; return the potential and its card.

    Raises `CheckpointError` if the weights do not have the expected layout.
    """
    potential = read(name, files["model.json"].read_bytes(), files["state.pt"].read_bytes(), trained_with=(2, 2))
    entry = next((entry for entry in matgl_folders() if entry.name == name), None)
    return potential, _CARD if entry is None else _card(entry)


def _card(entry: MatglFolder) -> Card:
    return Card(
        name=entry.name,
        description=f"M3GNet, the authors' {entry.folder}",
        licence=entry.licence,
        training_data=entry.training_data,
        functional=entry.functional,
        energy_reference=entry.energy_reference,
        metrics=dict(entry.metrics),
        references=list(entry.references),
    )


def read(name: str, description: bytes, state: bytes, trained_with: tuple[int, int]) -> Potential:
    """Convert the contents of `model.json` and `state.pt`; `trained_with` is the version of matgl.

    Raises `CheckpointError` if they do not have the expected layout.
    """
    try:
        arguments = json.loads(description)["kwargs"]
        tensors = torch.load(io.BytesIO(state), map_location="cpu", weights_only=True)
        if arguments.get("calc_repuls"):
            raise KeyError("calc_repuls = True; only False is known")
        model = _model(arguments["model"]["init_args"], trained_with)
        model.load_state_dict(_translate(tensors, model.config))
        offsets = tensors.get("element_refs.property_offset", torch.zeros(len(model.elements))).flatten().tolist()
        references = ElementReferences.from_mapping(
            {"energies": dict(zip(model.elements, offsets, strict=True)), "source": f"{name}, element_refs"}
        )
        scale, mean = float(tensors["data_std"]), float(tensors["data_mean"])
    except (KeyError, TypeError, ValueError, RuntimeError, AttributeError, pickle.UnpicklingError) as error:
        reason = " ".join(str(error).split())
        raise CheckpointError(f"{name}: the weights are not laid out as expected ({reason})") from error
    if mean != 0:
        raise CheckpointError(f"{name}: has a mean energy of {mean} eV, which is not supported")
    return Potential(model, references, energy_scale=scale).eval()


def _model(arguments: Mapping[str, Any], trained_with: tuple[int, int]) -> M3GNet:
    for name, value in _EXPECTED.items():
        if arguments.get(name, value) != value:
            raise KeyError(f"{name} = {arguments[name]!r}; only {value!r} is known")
    units, edges, width = (arguments[f] for f in ("dim_node_embedding", "dim_edge_embedding", "units"))
    if edges != units:
        raise KeyError(f"dim_edge_embedding = {edges}; only dim_node_embedding's {units} is known")
    basis: Literal["smooth", "spherical_bessel"] = "smooth" if arguments.get("use_smooth") else "spherical_bessel"
    config = M3GNetConfig(
        elements=tuple(arguments["element_types"]),
        units=units,
        hidden=None if width == units else width,
        blocks=arguments["nblocks"],
        cutoff=float(arguments["cutoff"]),
        three_body_cutoff=float(arguments["threebody_cutoff"]),
        max_n=arguments["max_n"],
        max_l=arguments["max_l"],
        radial_basis=basis,
        three_body_basis=basis,
    )
    if trained_with >= (4, 1):
        return M3GNet(config)
    same = {name: value for name, value in vars(config).items() if name != "architecture"}
    return M3GNetMatglRows(M3GNetMatglRowsConfig(**same, matgl="2.2" if trained_with < (3, 0) else "4.0"))


def _translate(state: Mapping[str, Tensor], config: M3GNetConfig) -> dict[str, Tensor]:
    """Convert the state of matgl to the names and layouts of gnnpot."""

    def old(name: str) -> Tensor:
        return state[f"model.{name}"]

    new = {"node_embedding.weight": old("embedding.layer_node_embedding.weight")}
    for part in ("weight", "bias"):
        new[f"edge_embedding.{part}"] = old(f"embedding.layer_edge_embedding.layers.0.{part}")
    for k in range(config.blocks):
        three_body = f"three_body_interactions.{k}.update_network"
        for part in ("weight", "bias"):
            new[f"three_body.{k}.atom.{part}"] = old(f"{three_body}_atom.layers.0.{part}")
        gates = [old(f"{three_body}_bond.{side}.0.weight") for side in ("layers", "gates")]
        new[f"three_body.{k}.bond.first.weight"] = torch.cat(gates)
        for side in ("edge", "node"):
            name = f"convolutions.{k}.{side}"
            conv = f"graph_layers.{k}.conv.{side}"
            new |= _gated(old, f"{name}_update", f"{conv}_update_func", 3, first="first.linear")
            if isinstance(config, M3GNetMatglRowsConfig) and config.matgl == "2.2":
                # messages are summed at the other end of an edge, so centre and neighbour are swapped
                weight = new[f"{name}_update.first.linear.weight"]
                centre, neighbor, edge = weight.chunk(3, dim=1)
                new[f"{name}_update.first.linear.weight"] = torch.cat([neighbor, centre, edge], dim=1)
            new[f"{name}_weight.weight"] = old(f"{conv}_weight_func.weight")
    return new | _gated(old, "readout", "final_layer.gated", 4, first="first")


def _gated(old: Callable[[str], Tensor], new_name: str, old_name: str, layers: int, first: str) -> dict[str, Tensor]:
    """Convert a gated perceptron of `layers` layers; the two first layers are concatenated."""
    new = {}
    for part in ("weight", "bias"):
        new[f"{new_name}.{first}.{part}"] = torch.cat([old(f"{old_name}.{s}.0.{part}") for s in ("layers", "gates")])
        for k in range(1, layers):
            for side in ("layers", "gates"):
                new[f"{new_name}.{side}.{k - 1}.{part}"] = old(f"{old_name}.{side}.{2 * k}.{part}")
    return new
