"""What a training run is: strict dataclasses, read from YAML by `gnnpot.config.read_yaml(TrainConfig, path)`.

    model: {architecture: m3gnet}
    data: {train: train.extxyz.gz, test: test.extxyz.gz}
    run: runs/silicon
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from gnnpot.models import ModelConfig


@dataclass(frozen=True)
class DataConfig:
    """Frames: files in any format that `gnnpot data convert` reads, or stores that it wrote."""

    #: file or store to learn from
    train: Path
    #: file or store to choose the best epoch by; left out, a part of `train`
    validation: Path | None = None
    #: file or store for the errors in the report; left out, a part of `train` if `test_fraction` is not zero
    test: Path | None = None
    #: parts of `train` that become validation and test, where these have no file of their own
    validation_fraction: float = 0.1
    test_fraction: float = 0.0
    #: what is drawn for those parts: materials, or single frames (whose errors look smaller than they are)
    split_by: Literal["material", "frame"] = "material"
    split_seed: int = 0
    #: convention of the stresses in the files, where it is not their format's own (see `gnnpot data convert --help`)
    stress: str | None = None
    #: keep the graphs in memory: faster, at about 10 kB an atom
    cache_graphs: bool = True
    #: processes that build graphs, where they are not kept
    workers: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.validation_fraction < 1 or not 0 <= self.test_fraction < 1:
            raise ValueError("validation_fraction and test_fraction must lie between 0 and 1")
        if self.validation_fraction + self.test_fraction >= 1:
            raise ValueError("validation_fraction and test_fraction leave nothing to train on")


@dataclass(frozen=True)
class LossConfig:
    """Weights of the terms of the loss, see `gnnpot.training.loss`; 0 leaves a label out."""

    kind: Literal["huber", "mse"] = "huber"
    #: where Huber's loss turns from square to straight, in units of the label
    delta: float = 0.05
    energy: float = 1.0
    forces: float = 1.0
    stress: float = 0.0
    magmoms: float = 0.0


@dataclass(frozen=True)
class OptimizerConfig:
    """AdamW with warm-up, a cosine decay, gradient clipping and an average of the weights."""

    learning_rate: float = 1e-3
    #: of matrices; biases and embeddings are left alone
    weight_decay: float = 1e-5
    #: optimiser steps over which the rate rises from 0
    warmup_steps: int = 100
    #: the rate falls to this fraction of `learning_rate` by the end
    final_fraction: float = 0.01
    #: largest norm of the gradient
    clip: float = 10.0
    #: decay of the exponential moving average of the weights, which is what is validated and saved
    ema_decay: float = 0.999


@dataclass(frozen=True)
class TrainerConfig:
    """How long, and on what; the last five are Lightning's own flags."""

    epochs: int = 100
    #: end after this many minutes if that is earlier; the learning rate then falls with the time, not with the steps
    max_minutes: float | None = None
    #: stop when the validation loss has not fallen for this many epochs
    patience: int | None = None
    #: resumable state is written every so many optimiser steps
    save_every: int = 200
    #: validate every so many epochs
    validate_every: int = 1
    accelerator: str = "cpu"
    devices: int = 1
    num_nodes: int = 1
    strategy: str = "auto"
    threads: int | None = None


@dataclass(frozen=True)
class TrainConfig:
    """A training run."""

    model: ModelConfig
    data: DataConfig
    #: folder that the run writes to
    run: Path
    loss: LossConfig = field(default_factory=LossConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    #: atoms in a batch, at most; a larger structure is a batch of its own
    batch_atoms: int = 256
    #: add Ziegler-Biersack-Littmark repulsion at short distances
    zbl: bool = False
    #: eV; left out, the root mean square of the force components (eV/Å) times 1 Å
    energy_scale: float | None = None
    precision: Literal["float32", "float64"] = "float32"
    seed: int = 0
    #: for the card
    name: str = ""
    description: str = ""
    licence: str = ""
    functional: str = ""

    def __post_init__(self) -> None:
        if self.batch_atoms < 1:
            raise ValueError("batch_atoms: must be at least 1")
