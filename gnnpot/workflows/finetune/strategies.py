"""Fine-tuning strategies: the parameters to train, and their learning rates.

    strategy = LoRA(rank=4)
    rates = strategy.begin(potential)       # freezes or adds parameters; {parameter: factor of the learning rate}
    …                                       # training
    strategy.end(potential)                 # removes added parameters and unfreezes all

The stages of a model, from the graph to the energy, are its embeddings and bases, its blocks, and its head
(`EnergyModel.stages`). Replay concerns the frames in a batch (`replay.py`), and can be combined with each strategy.
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
    """Train all parameters, with discriminative learning rates (Howard & Ruder, ACL 2018, eq. 2):

        η_s = η decay^(S - s)   for the stages s = 1 … S from the graph to the head.

    The first stages, which serve all elements, change least, and the head most. With a `decay` of 1, all learning rates
    are equal.
    """

    kind: Literal["all"] = "all"
    #: ratio of the learning rate of a stage to that of the next one
    decay: float = 0.8

    def __post_init__(self) -> None:
        if not 0 < self.decay <= 1:
            raise ValueError(f"decay: {self.decay} is not above 0 and at most 1")

    def begin(self, potential: Potential) -> dict[str, float]:
        """Unfreeze all parameters; returns η_s/η of each."""
        stages = potential.model.stages()
        potential.requires_grad_(True)
        return {f"model.{name}": self.decay ** (len(stages) - s) for s, names in enumerate(stages, 1) for name in names}

    def end(self, potential: Potential) -> None:
        """Do nothing, as no parameters were frozen or added."""


@dataclass(frozen=True)
class Head:
    """Train the head only: a regression on the features of the starting model (linear probing, Alain & Bengio 2016).

    As the features are frozen, the potential can neither forget nor adapt much.
    """

    kind: Literal["head"] = "head"

    def begin(self, potential: Potential) -> dict[str, float]:
        """Freeze all stages but the last."""
        stages = potential.model.stages()
        return _train_only(potential, stages[-1:])

    def end(self, potential: Potential) -> None:
        """Unfreeze all parameters."""
        potential.requires_grad_(True)


@dataclass(frozen=True)
class FrozenBlocks:
    """Freeze the first stages, which are the most general (Yosinski et al., NeurIPS 2014), and train the others.

    Frozen are embeddings and bases, and the first `blocks` blocks.
    """

    kind: Literal["frozen"] = "frozen"
    #: number of frozen blocks; empty: half of them
    blocks: int | None = None

    def __post_init__(self) -> None:
        if self.blocks is not None and self.blocks < 0:
            raise ValueError(f"blocks: {self.blocks} is negative")

    def begin(self, potential: Potential) -> dict[str, float]:
        """Freeze the first stages. Raises `ConfigError` if the model has fewer blocks."""
        stages = potential.model.stages()
        available = max(len(stages) - 2, 0)
        blocks = available // 2 if self.blocks is None else self.blocks
        if blocks > available:
            raise ConfigError(
                f"strategy.blocks: {blocks} can't be frozen, the model has {available} between embeddings and head"
            )
        return _train_only(potential, stages[1 + blocks :])

    def end(self, potential: Potential) -> None:
        """Unfreeze all parameters."""
        potential.requires_grad_(True)


@dataclass(frozen=True)
class LoRA:
    """Train low-rank changes of the weight matrices (Hu et al., ICLR 2022, eq. 3):

        W' = W + alpha/r B A

    where B [.., a, r] is initially zero, and A [.., r, b] has random elements with the root mean square of those of W.
    W and all parameters that are not weight matrices (embeddings, biases, factors of channels, deviations of elements)
    are frozen. After the training, W' replaces W. The weight matrices are those of linear layers and of lists of
    matrices, including those stacked by element.
    """

    kind: Literal["lora"] = "lora"
    #: rank r of the changes, limited by the smaller dimension of each matrix
    rank: int = 8
    #: factor alpha of the changes, which are scaled by alpha/r
    alpha: float = 8.0
    #: seed of the random matrices A
    seed: int = 0

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise ValueError(f"rank: {self.rank} is below 1")
        if self.alpha <= 0:
            raise ValueError(f"alpha: {self.alpha} is not positive")

    def begin(self, potential: Potential) -> dict[str, float]:
        """Freeze all parameters, and add A and B to each weight matrix."""
        potential.requires_grad_(False)
        generator = torch.Generator().manual_seed(self.seed)
        for module, name in list(_weight_matrices(potential.model)):
            change = LowRank(getattr(module, name).detach(), self.rank, self.alpha, generator)
            parametrize.register_parametrization(module, name, change)
        return {}

    def end(self, potential: Potential) -> None:
        """Replace W, A and B by W', and unfreeze all parameters."""
        for module in list(potential.model.modules()):
            if parametrize.is_parametrized(module):
                for name in list(cast("nn.ModuleDict", module.parametrizations)):
                    parametrize.remove_parametrizations(module, name, leave_parametrized=True)
        potential.requires_grad_(True)


#: any strategy; the field `kind` identifies the class
Strategy = AllWeights | Head | FrozenBlocks | LoRA


#: words in the names of lists of parameters that are not weight matrices
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
    """Yield module and parameter name of each weight matrix: in linear layers, and in lists of parameters."""
    for path, module in model.named_modules():
        if isinstance(module, nn.Linear):
            yield module, "weight"
        elif isinstance(module, nn.ParameterList) and not any(word in path.rpartition(".")[2] for word in _NO_MATRICES):
            for name, parameter in module.named_parameters(recurse=False):
                if parameter.ndim >= 2:
                    yield module, name
