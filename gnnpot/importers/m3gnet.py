"""M3GNet's published weights, from matgl's repository.

    potential, card = convert("m3gnet-mp-2021.2.8", {"model.json": Path("…"), "state.pt": Path("…")})

`state.pt` is an archive of tensors, which PyTorch's weights-only loader reads; the energies of the elements stand in
`model.json`, as the text that NumPy prints.
"""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gnnpot.checkpoint import Card
from gnnpot.data.references import ElementReferences
from gnnpot.errors import CheckpointError
from gnnpot.models.m3gnet import M3GNet, M3GNetConfig
from gnnpot.potential import Potential

_CARD = Card(
    name="m3gnet-mp-2021.2.8",
    description="M3GNet, the authors' universal potential, retrained by them in PyTorch",
    licence="BSD-3-Clause (as the package matgl)",
    training_data="MP-2021.2.8: relaxations of the Materials Project, without forces above 100 eV/Å",
    functional="PBE and PBE+U, as the Materials Project mixes them",
    energy_reference="energies of the Materials Project's relaxations, without corrections",
    metrics={
        "authors' errors: meV/atom, eV/Å, GPa": {
            "training": {"energy": 18.697, "forces": 0.063, "stress": 0.259},
            "validation": {"energy": 21.099, "forces": 0.072, "stress": 0.380},
        }
    },
    references=[
        "C. Chen, S. P. Ong, A universal graph deep learning interatomic potential for the periodic table, "
        "Nat. Comput. Sci. 2, 718 (2022)"
    ],
)


def convert(name: str, files: Mapping[str, Path]) -> tuple[Potential, Card]:
    """The potential of `model.json` and `state.pt`.

    Raises `CheckpointError` if the weights are not what they should be.
    """
    try:
        description = json.loads(files["model.json"].read_text())["kwargs"]
        state = torch.load(files["state.pt"], map_location="cpu", weights_only=True)
        arguments = description["model"]["init_args"]
        model = M3GNet(_config(arguments))
        model.load_state_dict(_translate(state, model.config.blocks))
        energies = _numbers(description["element_refs"])
        references = ElementReferences.from_mapping(
            {"energies": dict(zip(model.elements, energies, strict=True)), "source": f"{name}, element_refs"}
        )
        scale = float(state["data_std"])
        mean = float(state["data_mean"])
    except (OSError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"{name}: the weights are not laid out as expected ({error})") from error
    if mean != 0:
        raise CheckpointError(f"{name}: has a mean energy of {mean} eV, which is not supported")
    return Potential(model, references, energy_scale=scale).eval(), _CARD


def _config(arguments: Mapping[str, Any]) -> M3GNetConfig:
    expected = {"is_intensive": False, "rbf_type": "SphericalBessel", "use_phi": False, "use_smooth": False}
    for name, value in expected.items():
        if arguments.get(name, value) != value:
            raise KeyError(f"{name} = {arguments[name]!r}; only {value!r} is known")
    return M3GNetConfig(
        elements=tuple(arguments["element_types"]),
        units=arguments["units"],
        blocks=arguments["nblocks"],
        cutoff=float(arguments["cutoff"]),
        three_body_cutoff=float(arguments["threebody_cutoff"]),
        max_n=arguments["max_n"],
        max_l=arguments["max_l"],
        radial_basis="spherical_bessel",
        layout="matgl",
    )


def _numbers(text: str) -> list[float]:
    """The numbers in what NumPy prints of an array."""
    return [float(x) for x in re.findall(r"-?\d+\.\d*(?:e[+-]\d+)?", str(text))]


def _translate(state: Mapping[str, Tensor], blocks: int) -> dict[str, Tensor]:
    """Our names and layouts for the tensors of the state."""
    def old(name: str) -> Tensor:
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


def _gated(
    old: Callable[[str], Tensor], new_name: str, old_name: str, layers: int, first: str
) -> dict[str, Tensor]:
    """A gated perceptron of so many layers; both first layers become one."""
    new = {}
    for part in ("weight", "bias"):
        new[f"{new_name}.{first}.{part}"] = torch.cat([old(f"{old_name}.{s}.0.{part}") for s in ("layers", "gates")])
        for k in range(1, layers):
            for side in ("layers", "gates"):
                new[f"{new_name}.{side}.{k - 1}.{part}"] = old(f"{old_name}.{side}.{2 * k}.{part}")
    return new
