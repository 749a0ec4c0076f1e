"""Converter of the published weights of Nequix, from the repository of its authors.

    potential, card = convert("nequix-oam-1", {"nequix-oam-1.nqx": Path("…")})

A `.nqx` file has a line of JSON, followed by arrays in the format of NumPy: those of the model, in the order of its
parts, and the numbers of the first line again, which are not read. No code of the file is executed.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from ase.data import chemical_symbols
from torch import Tensor

from gnnpot.data.references import ElementReferences
from gnnpot.errors import CheckpointError
from gnnpot.hub.checkpoint import Card
from gnnpot.models.equivariant import ChannelLinear, Layer
from gnnpot.models.nequix import Nequix, NequixConfig
from gnnpot.ops.activations import SILU_SCALE
from gnnpot.potential import Potential

#: paths (l1, l2, l3) whose coupling constants have the opposite sign in e3nn-jax; these signs are arbitrary
_NEGATIVE = {(1, 1, 2), (1, 2, 3), (2, 1, 3), (2, 2, 2), (2, 3, 3), (3, 2, 3), (3, 3, 2)}

#: root mean square of silu(z) for normally distributed z, as approximated by e3nn-jax for its gates
_SILU_ROOT = 0.5964577198028564
#: ratio of features after a gate in e3nn-jax to those in gnnpot
_GATED = 1 / (_SILU_ROOT * SILU_SCALE)

#: required values in the header of a file
_EXPECTED = {"index_weights": False, "layer_norm": True}

_PAPERS = [
    "T. Koker, M. Kotak, T. Smidt, Training a foundation model for materials on a budget, arXiv:2508.16067 (2025)",
    (
        "T. Koker, A. Gangan, M. Kotak, J. Marian, T. Smidt, PFT: Phonon fine-tuning for machine learned interatomic "
        "potentials, arXiv:2601.07742 (2026)"
    ),
]
_RAW = "raw PBE and PBE+U total energies, without corrections"
_NEW = f"{_RAW}, of VASP 54 pseudopotentials: not comparable with MPtrj's"
_PHONONS = "the training split of the MDR phonon benchmark (PBE)"
_MANY = "OMat24, then sAlex and eight times MPtrj"
_NONE = "none are given beside the weights; see the papers"
#: training sets, meaning of the energies, scores (for unique prototypes, as listed by matbench-discovery)
_TRAINED: dict[str, tuple[str, str, Any]] = {
    "nequix-mp-1": ("MPtrj", _RAW, {"F1": 0.751, "kappa_SRME": 0.4461}),
    "nequix-mp-1-pft": (f"MPtrj, then with {_PHONONS}", _RAW, {"F1": 0.748, "kappa_SRME": 0.3066}),
    "nequix-omat-1": ("OMat24", _NEW, _NONE),
    "nequix-oam-1": (_MANY, _RAW, _NONE),
    "nequix-oam-1-pft": (f"{_MANY}, then with {_PHONONS}", _RAW, _NONE),
}


def convert(name: str, files: Mapping[str, Path]) -> tuple[Potential, Card]:
    """Convert the weights in the single file of `files`; return the potential and its card.

    Raises `CheckpointError` if the weights do not have the expected layout.
    """
    (path,) = files.values()
    try:
        with path.open("rb") as file:
            header = json.loads(file.readline())
            potential = _potential(header, file)
    except (OSError, KeyError, TypeError, ValueError, EOFError, RuntimeError) as error:
        raise CheckpointError(f"{path}: the weights of {name} are not laid out as expected ({error})") from error
    return potential.eval(), _card(name)


def _potential(header: Mapping[str, Any], file: IO[bytes]) -> Potential:
    config = _config(header)
    energies = torch.from_numpy(_array(file, (len(config.elements),))).double()
    model = Nequix(config)
    for layer in model.layers:
        layer.convolution.denominator.fill_(math.sqrt(header["avg_n_neighbors"]))
    model.load_state_dict(dict(_translate(model, file)), strict=False)
    shifted = dict(zip(config.elements, (energies + header["shift"]).tolist(), strict=True))
    references = ElementReferences.from_mapping({"energies": shifted, "source": "Nequix, energy shifts"})
    return Potential(model, references, energy_scale=float(header["scale"]))


def _config(header: Mapping[str, Any]) -> NequixConfig:
    for name, value in _EXPECTED.items():
        if header[name] != value:
            raise KeyError(f"{name} = {header[name]!r}; only {value!r} is known")
    channels = _channels(header["hidden_irreps"])
    if header["lmax"] != len(channels) - 1:
        raise KeyError(f"lmax = {header['lmax']}; features {header['hidden_irreps']} need {len(channels) - 1}")
    if header["radial_polynomial_p"] != int(header["radial_polynomial_p"]):
        raise KeyError(f"radial_polynomial_p = {header['radial_polynomial_p']}; only whole numbers are known")
    return NequixConfig(
        elements=tuple(chemical_symbols[z] for z in sorted(header["atomic_numbers"])),
        channels=channels,
        layers=header["n_layers"],
        cutoff=float(header["cutoff"]),
        cutoff_power=int(header["radial_polynomial_p"]),
        radial=header["radial_basis_size"],
        radial_hidden=(header["radial_mlp_size"],) * header["radial_mlp_layers"],
    )


def _channels(irreps: str) -> tuple[int, ...]:
    """Parse irreps: "128x0e + 64x1o" -> (128, 64)."""
    parts = re.findall(r"(\d+)x(\d+[eo])", irreps)
    if [kind for _, kind in parts] != [f"{l}{'eo'[l % 2]}" for l in range(len(parts))]:
        raise KeyError(f"features {irreps}; only one of each l, of parity (-1)^l, are known")
    return tuple(int(count) for count, _ in parts)


def _array(file: IO[bytes], shape: tuple[int, ...]) -> np.ndarray:
    """Read the next array. Raises `ValueError` if it has another shape or type."""
    array = np.lib.format.read_array(file, allow_pickle=False)
    if array.shape != shape or array.dtype != np.float32:
        raise ValueError(f"an array {array.shape} of {array.dtype}, expected {shape} of float32")
    return array


def _translate(model: Nequix, file: IO[bytes]) -> Iterator[tuple[str, Tensor]]:
    """Read the arrays, in the order of the parts of the model; yield names and tensors in the layout of gnnpot."""
    for k, layer in enumerate(model.layers):
        name = f"layers.{k}"
        gated = _GATED if k > 0 else 1.0
        yield from _radial(layer, f"{name}.convolution.radial_network.weights", file)
        for part, factor in (("linear_in", gated), ("linear_out", 1.0), ("self_connection", gated)):
            yield from _linear(getattr(layer, part), f"{name}.{part}", factor, file)
        if layer.norm is None:
            raise KeyError(f"{name}.norm: a layer without a norm is not Nequix's")
        for l, factors in enumerate(layer.norm.factors):
            yield f"{name}.norm.factors.{l}", torch.from_numpy(_array(file, tuple(factors.shape)))
    yield from _linear(model.readout, "readout", _GATED, file)


def _linear(linear: ChannelLinear, name: str, factor: float, file: IO[bytes]) -> Iterator[tuple[str, Tensor]]:
    for l, weight in enumerate(linear.weights):
        yield f"{name}.weights.{l}", torch.from_numpy(_array(file, tuple(weight.shape))) * factor


def _radial(layer: Layer, name: str, file: IO[bytes]) -> Iterator[tuple[str, Tensor]]:
    """Convert radial weights, which are not normalised in Nequix; the columns of the last matrix are sorted by l3."""
    convolution = layer.convolution
    shapes = [tuple(weight.shape) for weight in convolution.radial_network.weights]
    for n, shape in enumerate(shapes):
        weight = torch.from_numpy(_array(file, shape)).double() * math.sqrt(shape[0])
        if n > 0:
            weight = weight / SILU_SCALE
        if n == len(shapes) - 1:
            weight = weight[:, _columns(convolution.paths, convolution.widths)]
            signs = [-1.0 if path in _NEGATIVE else 1.0 for path in convolution.paths]
            weight = weight * torch.tensor(signs).repeat_interleave(torch.tensor(convolution.widths))
        yield f"{name}.{n}", weight.float()


def _columns(paths: list[tuple[int, int, int]], widths: list[int]) -> Tensor:
    """Return the index of each column of gnnpot in the order of Nequix."""
    order = sorted(range(len(paths)), key=lambda p: paths[p][2])
    starts, first = [0] * len(paths), 0
    for p in order:
        starts[p], first = first, first + widths[p]
    return torch.cat([torch.arange(start, start + width) for start, width in zip(starts, widths, strict=True)])


def _card(name: str) -> Card:
    phonons = name.endswith("-pft")
    sets, reference, scores = _TRAINED[name]
    return Card(
        name=name,
        description=f"Nequix, l <= 3, four layers{', fine-tuned on phonons' if phonons else ''}",
        licence="MIT (the repository; matbench-discovery lists the MP checkpoints as CC-BY-4.0)",
        training_data=sets,
        functional="PBE and PBE+U",
        energy_reference=reference,
        metrics={"authors' scores on Matbench Discovery": scores},
        references=_PAPERS[:1] if name == "nequix-mp-1" else _PAPERS,
    )
