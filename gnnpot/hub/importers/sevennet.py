"""Converter of the published weights of SevenNet, from the wheel of the package `sevenn` on PyPI.

    potential, card = convert("7net-0", {"checkpoint_sevennet_0.pth": Path("…")})
    potential, card = convert("7net-mf-0", {"checkpoint_sevennet_mf_0.pth": Path("…")}, fidelity="R2SCAN")

The checkpoints are files of `torch.save` with NumPy arrays, which are read with the weights-only loader of PyTorch; the
required NumPy types, and no others, are allowed.

A multi-fidelity model is converted to a model of a single fidelity: the one-hot fidelity label, which is appended to
the scalars, selects a row of a linear layer, which is a bias.
"""

import math
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase.data import chemical_symbols
from torch import Tensor

from gnnpot.data.references import ElementReferences
from gnnpot.errors import CheckpointError, suggest
from gnnpot.hub.checkpoint import Card
from gnnpot.models.equivariant import ChannelLinear, Convolution
from gnnpot.models.sevennet import SevenNet, SevenNetConfig
from gnnpot.ops.tensor_product import coupling
from gnnpot.potential import Potential

_LICENCE = "MIT (as the package sevenn)"
_MPTRJ = "MPtrj"
_RAW = "raw PBE and PBE+U total energies, without corrections"
_PAPERS = [
    (
        "Y. Park et al., Scalable parallel algorithm for graph neural network interatomic potentials in molecular "
        "dynamics simulations, J. Chem. Theory Comput. 20, 4857 (2024)"
    )
]
_MULTI_FIDELITY = (
    "J. Kim et al., Data-efficient multifidelity training for high-fidelity machine learning interatomic potentials, "
    "J. Am. Chem. Soc. 147, 1042 (2025)"
)


def _card(name: str, fidelity: str | None) -> Card:
    if fidelity is not None:
        functional = "r2SCAN" if fidelity == "R2SCAN" else "PBE and PBE+U"
        return Card(
            name=name,
            description=f"SevenNet-MF-0, multi-fidelity; this is its fidelity {fidelity}",
            licence=_LICENCE,
            training_data="MPtrj (PBE) and MP-r2SCAN (R2SCAN) together",
            functional=functional,
            energy_reference="raw r2SCAN total energies" if fidelity == "R2SCAN" else _RAW,
            metrics={"authors' errors": "none are given beside the weights; see the paper of J. Kim et al."},
            references=[*_PAPERS, _MULTI_FIDELITY],
        )
    size = "l <= 3" if name == "7net-l3i5" else "l <= 2"
    scores = {
        "7net-0": {"F1": 0.67, "kappa_SRME": 0.767},
        "7net-l3i5": {"F1": 0.76, "kappa_SRME": 0.55},
    }
    return Card(
        name=name,
        description=f"{'SevenNet-l3i5' if name == '7net-l3i5' else 'SevenNet-0 (11 July 2024)'}, {size}, five layers",
        licence=_LICENCE,
        training_data=_MPTRJ,
        functional="PBE and PBE+U",
        energy_reference=_RAW,
        metrics={"authors' scores on Matbench Discovery": scores[name]},
        references=_PAPERS,
    )


def convert(name: str, files: Mapping[str, Path], fidelity: str | None = None) -> tuple[Potential, Card]:
    """Convert the weights in the single file of `files`; return the potential and its card.

    For multi-fidelity models, the default of `fidelity` is that of the authors. Raises `CheckpointError` if the weights
    do not have the expected layout, or if the model does not have this fidelity.
    """
    (path,) = files.values()
    content = _read(path)
    try:
        config, state = content["config"], content["model_state_dict"]
        fidelities = dict(config.get("_modal_map") or {})
        if fidelities:
            fidelity = fidelity or config["default_modal"]
        _check_fidelity(name, fidelity, fidelities)
        model = SevenNet(_config(config))
        row = fidelities.get(fidelity)
        model.load_state_dict(_translate(state, model, row))
        scale, shift = state["rescale_atomic_energy.scale"], state["rescale_atomic_energy.shift"].double()
        if float(scale.max() - scale.min()) != 0:
            raise KeyError("one energy scale for all elements")
    except (KeyError, TypeError, RuntimeError) as error:
        raise CheckpointError(f"{path}: the weights of {name} are not laid out as expected ({error})") from error
    shift = shift if row is None else shift[row]
    energies = dict(zip(model.elements, shift.tolist(), strict=True))
    references = ElementReferences.from_mapping({"energies": energies, "source": f"{name}, energy shifts"})
    return Potential(model, references, energy_scale=float(scale[0])).eval(), _card(name, fidelity)


def _check_fidelity(name: str, fidelity: str | None, known: Mapping[str, int]) -> None:
    if fidelity is None or fidelity in known:
        return
    if not known:
        raise CheckpointError(f"{name}: has one fidelity only; leave '{fidelity}' out")
    raise CheckpointError(f"{name}: has no fidelity '{fidelity}'; {suggest(fidelity, known)}")


def _read(path: Path) -> dict[str, Any]:
    allowed: list[Any] = [
        (np.zeros(0).__reduce__()[0], "numpy.core.multiarray._reconstruct"),
        np.ndarray,
        np.dtype,
        *(type(np.dtype(kind)) for kind in (np.float32, np.float64, np.int64)),
    ]
    try:
        with torch.serialization.safe_globals(allowed):
            return torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, pickle.UnpicklingError) as error:
        raise CheckpointError(f"{path}: can't be read as weights ({' '.join(str(error).split())})") from error


def _config(config: Mapping[str, Any]) -> SevenNetConfig:
    expected = {
        "is_parity": False, "self_connection_type": "linear", "readout_as_fcn": False, "act_radial": "silu",
        "_normalize_sph": True, "use_bias_in_linear": False, "interaction_type": "nequip",
    }  # fmt: skip
    for name, value in expected.items():
        if config.get(name, value) != value:
            raise KeyError(f"{name} = {config[name]!r}; only {value!r} is known")
    if config["act_scalar"]["e"] != "silu" or config["act_gate"]["e"] != "silu":
        raise KeyError("an activation that is not silu")
    numbers = sorted(config["_type_map"], key=config["_type_map"].get)
    cutoff = config["cutoff_function"]
    polynomial = cutoff["cutoff_function_name"] == "poly_cut"
    return SevenNetConfig(
        elements=tuple(chemical_symbols[z] for z in numbers),
        channels=_channels(config["irreps_manual"][1]),
        layers=config["num_convolution_layer"],
        cutoff=float(config["cutoff"]),
        cutoff_function="polynomial" if polynomial else "xplor",
        cutoff_on=float(cutoff.get("cutoff_on", SevenNetConfig.cutoff_on)),
        cutoff_power=int(cutoff.get("poly_cut_p_value", SevenNetConfig.cutoff_power)),
        radial=config["radial_basis"]["bessel_basis_num"],
        radial_hidden=tuple(config["weight_nn_hidden_neurons"]),
        bias=bool(config.get("use_modality", False)),
    )


def _channels(irreps: str) -> tuple[int, ...]:
    """Parse irreps: "128x0e+64x1e" -> (128, 64)."""
    parts = [part.split("x") for part in str(irreps).split("+")]
    if [kind for _, kind in parts] != [f"{l}e" for l in range(len(parts))]:
        raise KeyError(f"features {irreps}; only even ones, one of each l, are known")
    return tuple(int(count) for count, _ in parts)


def _translate(state: Mapping[str, Tensor], model: SevenNet, row: int | None) -> dict[str, Tensor]:
    """Convert the state of SevenNet to the names and layouts of gnnpot; `row` is the index of the fidelity."""
    new = {"frequencies": state["edge_embedding.basis_function.coeffs"]}
    embedding = state["onehot_to_feature_x.linear.weight"].view(len(model.elements), -1)
    new["embedding.weight"] = embedding / math.sqrt(len(embedding))
    for k, layer in enumerate(model.layers):
        for ours, theirs in (
            ("self_connection", "self_connection_intro"),
            ("linear_in", "self_interaction_1"),
            ("linear_out", "self_interaction_2"),
        ):
            weights = state[f"{k}_{theirs}.linear.weight"]
            new |= _linear(weights, getattr(layer, ours), f"layers.{k}.{ours}", row)
        conv, name = f"{k}_convolution", f"layers.{k}.convolution"
        new[f"{name}.denominator"] = state[f"{conv}.denominator"][0]
        count = len(model.config.radial_hidden) + 1
        for n in range(count):
            new[f"{name}.radial_network.weights.{n}"] = state[f"{conv}.weight_nn.layer{n}.weight"]
        last = f"{name}.radial_network.weights.{count - 1}"
        new[last] = new[last] * _signs(state, conv, layer.convolution)
    new |= _linear(state["reduce_input_to_hidden.linear.weight"], model.hidden, "hidden", row)
    return new | _linear(state["reduce_hidden_to_energy.linear.weight"], model.readout, "readout", None)


def _linear(flat: Tensor, linear: ChannelLinear, name: str, row: int | None) -> dict[str, Tensor]:
    """Split a flat tensor into blocks: [inputs, outputs] for each l, and, with a bias, [fidelities, outputs]."""
    new, first = {}, 0
    for l, weight in enumerate(linear.weights):
        new[f"{name}.weights.{l}"] = flat[first : first + weight.numel()].view(weight.shape)
        first += weight.numel()
    if linear.bias is not None:
        labels = flat[first:].view(-1, len(linear.bias))
        # scalars and labels are inputs of the same linear layer, whose normalisation counts both
        inputs = len(linear.weights[0])
        new[f"{name}.bias"] = labels[row] / math.sqrt(inputs + len(labels))
        new[f"{name}.weights.0"] = new[f"{name}.weights.0"] * math.sqrt(inputs / (inputs + len(labels)))
    elif first != len(flat):
        raise KeyError(f"{name}: {len(flat)} numbers, expected {first}")
    return new


def _signs(state: Mapping[str, Tensor], conv: str, convolution: Convolution) -> Tensor:
    """Return ±1 for each weight: the overall sign of Wigner 3j symbols is arbitrary, and is taken from the file."""
    signs = []
    for (l1, l2, l3), width in zip(convolution.paths, convolution.widths, strict=True):
        theirs = state.get(f"{conv}.convolution._compiled_main_left_right._w3j_{l1}_{l2}_{l3}")
        # if one of l1, l2, l3 is 0, the symbols are a positive unit matrix, and are not in the file
        sign = 1.0 if theirs is None else float((theirs.double() * coupling(l1, l2, l3)).sum().sign())
        signs += [sign] * width
    return torch.tensor(signs)
