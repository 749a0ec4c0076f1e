"""Loss of energies per atom, force and stress components, and magnetic moments. Missing labels do not contribute.

For a label q with M_q known values in a batch, errors x and weight w_q,

    L = Σ_q w_q / M_q Σ_m ℓ(x_qm)                                                                               (1)
    x_E = (Ê - E) / N,   x_F = F̂ - F,   x_σ = σ̂ - σ,   x_m = |m̂| - |m|                                         (2)
    ℓ(x) = ½ x² where |x| <= δ, δ (|x| - ½ δ) beyond (huber, Huber 1964);  x² (mse);  |x| (mae)                 (3)

A NaN marks a missing label. A prediction that is not finite makes the loss NaN. The stress labels of frames without a
volume are ignored.

| symbol | label   | unit          | shape of the errors                                          |
|--------|---------|---------------|--------------------------------------------------------------|
| x_E    | energy  | eV per atom   | [M], at most B                                               |
| x_F    | forces  | eV/Å          | [M], at most 3 N                                             |
| x_σ    | stress  | eV/Å³         | [M], at most 6 B                                             |
| x_m    | magmoms | µB            | [M], at most N; the sign of a crystal's moments is arbitrary |
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from gnnpot.data.quantities import QUANTITIES
from gnnpot.graphs import Graph
from gnnpot.potential import Prediction
from gnnpot.training.config import LossConfig


def label_errors(prediction: Prediction, graph: Graph) -> dict[str, Tensor]:
    """Equation (2) for the known values of each predicted label, as flat float64 tensors by name."""
    n_atoms = atoms_per_structure(graph).to(prediction.energy)
    has_volume = torch.linalg.det(graph.cell).abs() > 0
    found: dict[str, Tensor] = {}
    for name, predicted in prediction.quantities.items():
        quantity, label = QUANTITIES[name], graph[name]
        known = torch.isfinite(label)
        if quantity.needs_volume:
            known = known & has_volume[:, None]
        if not quantity.has_sign:
            predicted, label = predicted.abs(), label.abs()
        error = predicted.double() - label
        if quantity.extensive:
            error = error / n_atoms
        found[name] = error[known]
    return found


def pointwise(x: Tensor, config: LossConfig) -> Tensor:
    """Equation (3) for each error."""
    if config.kind == "mse":
        return x * x
    size = x.abs()
    if config.kind == "mae":
        return size
    return torch.where(size <= config.delta, 0.5 * x * x, config.delta * (size - 0.5 * config.delta))


def weights(config: LossConfig) -> dict[str, float]:
    """Weights of the labels, without those of weight 0."""
    return {name: weight for name, weight in config.weights.items() if weight > 0}


def loss_sums(errors: Mapping[str, Tensor], config: LossConfig) -> tuple[dict[str, Tensor], dict[str, int]]:
    """Σ_m ℓ(x_qm) and M_q of each label with a weight above 0."""
    counted = [name for name in weights(config) if name in errors]
    return {q: pointwise(errors[q], config).sum() for q in counted}, {q: errors[q].numel() for q in counted}


def total_loss(sums: Mapping[str, Tensor], counts: Mapping[str, float], config: LossConfig) -> Tensor:
    """Equation (1); a label without known values adds 0. Raises `ValueError` if `sums` is empty."""
    if not sums:
        raise ValueError("the potential predicts none of the labels that the loss weighs")
    weight = weights(config)
    return torch.stack([weight[q] / (counts[q] or 1) * value for q, value in sums.items()]).sum()


def atoms_per_structure(graph: Graph) -> Tensor:
    """[B] number of atoms of each structure."""
    batch = graph.get("batch")
    if batch is None:
        return torch.full((1,), graph.numbers.shape[0], device=graph.numbers.device)
    return torch.bincount(batch, minlength=graph.cell.shape[0])
