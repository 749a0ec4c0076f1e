"""Which parameters a fine-tuning moves, and how far: small objects.

    strategy = LoRA(rank=4)
    rates = strategy.begin(potential)       # freezes, adds what is trained; {parameter: factor of the learning rate}
    …                                       # training
    strategy.end(potential)                 # a potential like any other again

A model's stages, from the graph to the energy, are its embeddings and bases, its blocks, and its head
(`EnergyModel.stages`). Replay is no strategy of this kind: it says what is in a batch (`replay.py`), and goes with any.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from gnnpot.errors import ConfigError
from gnnpot.potential import Potential


@dataclass(frozen=True)
class AllWeights:
    """Every parameter, with discriminative learning rates (Howard & Ruder, ACL 2018, eq. 2):

        η_s = η decay^(S - s),   s = 1 … S the stages from the graph to the head.

    What lies deep knows of all elements and changes little, the head most. A `decay` of 1 is plain training.
    """

    kind: Literal["all"] = "all"
    #: factor of the learning rate from a stage to the one before it
    decay: float = 0.8

    def __post_init__(self) -> None:
        if not 0 < self.decay <= 1:
            raise ValueError(f"decay: {self.decay} is not above 0 and at most 1")

    def begin(self, potential: Potential) -> dict[str, float]:
        """All parameters move; η_s/η of each."""
        stages = potential.model.stages()
        potential.requires_grad_(True)
        return {f"model.{name}": self.decay ** (len(stages) - s) for s, names in enumerate(stages, 1) for name in names}

    def end(self, potential: Potential) -> None:
        """Nothing was added."""


@dataclass(frozen=True)
class Head:
    """The head only, θ = (θ_below fixed, θ_head): a regression on the features of the starting model (linear probing,
    Alain & Bengio 2016; with frozen features a potential can neither forget nor adapt much)."""

    kind: Literal["head"] = "head"

    def begin(self, potential: Potential) -> dict[str, float]:
        """All but the last stage is frozen."""
        stages = potential.model.stages()
        return _train_only(potential, stages[-1:])

    def end(self, potential: Potential) -> None:
        """Nothing was added."""
        potential.requires_grad_(True)


@dataclass(frozen=True)
class FrozenBlocks:
    """Lower stages fixed, the others move (Yosinski et al., NeurIPS 2014: lower layers are the most general).

    Embeddings and bases are always frozen, and `blocks` blocks above them.
    """

    kind: Literal["frozen"] = "frozen"
    #: number of frozen blocks; empty: half of them
    blocks: int | None = None

    def __post_init__(self) -> None:
        if self.blocks is not None and self.blocks < 0:
            raise ValueError(f"blocks: {self.blocks} is negative")

    def begin(self, potential: Potential) -> dict[str, float]:
        """Raises `ConfigError` if the model has not so many blocks."""
        stages = potential.model.stages()
        available = max(len(stages) - 2, 0)
        blocks = available // 2 if self.blocks is None else self.blocks
        if blocks > available:
            raise ConfigError(
                f"strategy.blocks: {blocks} can't be frozen, the model has {available} between embeddings and head"
            )
        return _train_only(potential, stages[1 + blocks :])

    def end(self, potential: Potential) -> None:
        """Nothing was added."""
        potential.requires_grad_(True)


@dataclass(frozen=True)
class LoRA:
    """Low-rank changes of the weight matrices (Hu et al., ICLR 2022, eq. 3):

        W' = W + alpha/r B A,   B [.., a, r] = 0 at the start, A [.., r, b] drawn with the spread of W's elements.

    W itself, and everything that is no weight matrix (embeddings, biases, factors of channels) or only an element's
    deviation from one, is fixed. At the end W' takes W's place. It holds for every weight matrix of any model: those of
    linear layers and of lists of matrices, also if they are stacked by element.
    """

    kind: Literal["lora"] = "lora"
    #: r; matrices with a smaller side get that side's
    rank: int = 8
    #: factor of the changes, which are scaled by alpha/r
    alpha: float = 8.0
    #: of A
    seed: int = 0

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise ValueError(f"rank: {self.rank} is below 1")
        if self.alpha <= 0:
            raise ValueError(f"alpha: {self.alpha} is not positive")

    def begin(self, potential: Potential) -> dict[str, float]:
        """Freezes all, puts B A beside each weight matrix."""
        potential.requires_grad_(False)
        generator = torch.Generator().manual_seed(self.seed)
        for module, name in list(_weight_matrices(potential.model)):
            change = LowRank(getattr(module, name).detach(), self.rank, self.alpha, generator)
            parametrize.register_parametrization(module, name, change)
        return {}

    def end(self, potential: Potential) -> None:
        """Puts W' in the place of W, A and B."""
        for module in list(potential.model.modules()):
            if parametrize.is_parametrized(module):
                for name in list(cast("nn.ModuleDict", module.parametrizations)):
                    parametrize.remove_parametrizations(module, name, leave_parametrized=True)
        potential.requires_grad_(True)


#: Told apart by their field `kind`.
Strategy = AllWeights | Head | FrozenBlocks | LoRA


#: in the names of lists of parameters that are not multiplied as matrices, or only as a part of others
_NO_MATRICES = ("bias", "factors", "deviations")


class LowRank(nn.Module):
    """W -> W + alpha/r B A."""

    def __init__(self, weight: Tensor, rank: int, alpha: float, generator: torch.Generator) -> None:
        super().__init__()
        *stack, rows, columns = weight.shape
        rank = min(rank, rows, columns)
        self.scale = alpha / rank
        spread = float(weight.double().square().mean().sqrt())
        drawn = torch.randn(*stack, rank, columns, generator=generator, dtype=torch.float64)
        self.a = nn.Parameter((spread * drawn).to(weight))
        self.b = nn.Parameter(weight.new_zeros(*stack, rows, rank))

    def forward(self, weight: Tensor) -> Tensor:
        return weight + self.scale * (self.b @ self.a)


def _train_only(potential: Potential, stages: list[list[str]]) -> dict[str, float]:
    potential.requires_grad_(False)
    wanted = {name for names in stages for name in names}
    for name, parameter in potential.model.named_parameters():
        parameter.requires_grad_(name in wanted)
    return {}


def _weight_matrices(model: nn.Module) -> Iterator[tuple[nn.Module, str]]:
    """The owner and the name of each: `weight` of linear layers, and matrices in lists of parameters."""
    for path, module in model.named_modules():
        if isinstance(module, nn.Linear):
            yield module, "weight"
        elif isinstance(module, nn.ParameterList) and not any(word in path.rpartition(".")[2] for word in _NO_MATRICES):
            for name, parameter in module.named_parameters(recurse=False):
                if parameter.ndim >= 2:
                    yield module, name
