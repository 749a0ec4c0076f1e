"""The loss: a weighted sum of the mean errors of those labels that are there.

    L = w_E ⟨ℓ(ΔE/N)⟩ + w_F ⟨ℓ(ΔF)⟩ + w_σ ⟨ℓ(Δσ V/N)⟩ + w_m ⟨ℓ(Δm)⟩

with ℓ(x) = x² or Huber's ℓ(x) = x²/2 for |x| <= δ, δ(|x| - δ/2) beyond. Energies are per atom (eV), forces by component
(eV/Å), stresses as energy per atom and strain (eV), moments in µB. Each mean runs over the labels that are finite: a
missing label (NaN) has no part in it. Huber 1964.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from gnnpot.graphs import Graph
from gnnpot.potential import Prediction
from gnnpot.training.config import LossConfig

LABELS = ("energy", "forces", "stress", "magmoms")


@dataclass(frozen=True, slots=True)
class LossTerms:
    """The loss of a batch, its unweighted terms, and how many labels each is the mean of."""

    total: Tensor
    terms: dict[str, Tensor]
    counts: dict[str, int]


def compute_loss(prediction: Prediction, graph: Graph, config: LossConfig) -> LossTerms:
    """The loss of a prediction against the labels that its graph carries."""
    total = prediction.energy.new_zeros(())
    terms, counts = {}, {}
    for label in LABELS:
        weight = getattr(config, label)
        error = label_error(prediction, graph, label) if weight else None
        if error is None:
            continue
        counts[label] = error.numel()
        terms[label] = pointwise(error, config).mean() if error.numel() else total * 0
        total = total + weight * terms[label]
    return LossTerms(total, terms, counts)


def label_error(prediction: Prediction, graph: Graph, label: str) -> Tensor | None:
    """Prediction minus label, flat, of the labels that are there; `None` if the potential does not predict them."""
    predicted = getattr(prediction, label)
    if predicted is None:
        return None
    error = predicted - getattr(graph, label).to(predicted.dtype)
    if label in ("energy", "stress"):
        atoms = atoms_per_structure(graph).to(error.dtype)
        if label == "energy":
            error = error / atoms
        else:
            error = error * (torch.linalg.det(graph.cell).abs().to(error.dtype) / atoms)[:, None]
    # the mask comes from the label alone: a prediction that is not finite must show
    known = torch.isfinite(getattr(graph, label))
    return error[known]


def pointwise(error: Tensor, config: LossConfig) -> Tensor:
    """ℓ of each error."""
    if config.kind == "mse":
        return error**2
    return torch.nn.functional.huber_loss(error, torch.zeros_like(error), reduction="none", delta=config.delta)


def atoms_per_structure(graph: Graph) -> Tensor:
    """[B] numbers of atoms."""
    batch = graph.get("batch")
    if batch is None:
        return torch.full((1,), graph.numbers.shape[0], device=graph.numbers.device)
    return torch.bincount(batch, minlength=graph.cell.shape[0])
