"""The published M3GNet weights (matgl's M3GNet-MP-2021.2.8) as a potential of ours, from the names in their file."""

import json
import re
from pathlib import Path

import torch

from gnnpot.data.references import ElementReferences
from gnnpot.models import M3GNet, M3GNetConfig
from gnnpot.potential import Potential


def load_published_m3gnet(folder: Path) -> Potential:
    description = json.loads((folder / "model.json").read_text())["kwargs"]
    state = torch.load(folder / "state.pt", map_location="cpu", weights_only=True)
    elements = tuple(description["model"]["init_args"]["element_types"])
    energies = tuple(float(x) for x in re.findall(r"-?\d+\.\d+", description["element_refs"]))
    model = M3GNet(M3GNetConfig(elements=elements, radial_basis="spherical_bessel"))
    model.load_state_dict(_translate(state, model.config.blocks))
    scale = float(state["data_std"])
    references = ElementReferences.from_mapping({"energies": dict(zip(elements, energies, strict=True))})
    return Potential(model, references, energy_scale=scale)


def _translate(state: dict, blocks: int) -> dict:
    def old(name):
        return state[f"model.{name}"]

    new = {"node_embedding.weight": old("embedding.layer_node_embedding.weight")}
    for part in ("weight", "bias"):
        new[f"edge_embedding.{part}"] = old(f"embedding.layer_edge_embedding.layers.0.{part}")
    for k in range(blocks):
        three_body = f"three_body_interactions.{k}.update_network"
        for part in ("weight", "bias"):
            new[f"three_body.{k}.atom.{part}"] = old(f"{three_body}_atom.layers.0.{part}")
        gates = [old(f"{three_body}_bond.{side}.0.weight") for side in ("layers", "gates")]
        new[f"three_body.{k}.bond.first.weight"] = torch.cat(gates)
        for side in ("edge", "node"):
            name = f"convolutions.{k}.{side}"
            conv = f"graph_layers.{k}.conv.{side}"
            new |= _gated(old, f"{name}_update", f"{conv}_update_func", 3, first="first.linear")
            # matgl sums messages at the other end of an edge, so centre and neighbour change places
            weight = new[f"{name}_update.first.linear.weight"]
            centre, neighbor, edge = weight.chunk(3, dim=1)
            new[f"{name}_update.first.linear.weight"] = torch.cat([neighbor, centre, edge], dim=1)
            new[f"{name}_weight.weight"] = old(f"{conv}_weight_func.weight")
    return new | _gated(old, "readout", "final_layer.gated", 4, first="first")


def _gated(old, new_name: str, old_name: str, layers: int, first: str) -> dict:
    new = {}
    for part in ("weight", "bias"):
        new[f"{new_name}.{first}.{part}"] = torch.cat([old(f"{old_name}.{s}.0.{part}") for s in ("layers", "gates")])
        for k in range(1, layers):
            for side in ("layers", "gates"):
                new[f"{new_name}.{side}.{k - 1}.{part}"] = old(f"{old_name}.{side}.{2 * k}.{part}")
    return new
