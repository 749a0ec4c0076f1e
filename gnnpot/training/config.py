"""Configuration of a training run: a dataclass, read from YAML.

    config = read_config("configs/m3gnet.yaml", overrides=["optimizer.lr=0.001", "epochs=50"])

All options except `model`, `data.train` and `run` have a default. An unknown option, a wrong type or an invalid value
raises a `ConfigError` that names the option.
"""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from gnnpot.config import apply_overrides, from_mapping, read_yaml
from gnnpot.data.quantities import ATTRIBUTES, QUANTITIES
from gnnpot.data.readers import RecordOptions
from gnnpot.domains import (
    FRACTION,
    INTEGER_FROM_0,
    INTEGER_FROM_1,
    INTEGER_FROM_2,
    NOT_NEGATIVE,
    POSITIVE,
    check_fields,
)
from gnnpot.errors import suggest
from gnnpot.models import ModelConfig


@dataclass(frozen=True)
class SplitConfig:
    """Random split of the frames of `data.train`, for subsets without files of their own."""

    #: fraction of frames for validation, which selects the best weights; not used if `data.validation` is given
    validation: Annotated[float, FRACTION] = 0.05
    #: fraction of frames for the test at the end; not used if `data.test` is given
    test: Annotated[float, FRACTION] = 0.0
    #: "material" keeps the frames of a material together; "frame" draws single frames, which underestimates test
    #: errors; "count" draws single frames too, but exact numbers of them, at least one: for small data sets
    by: Literal["material", "frame", "count"] = "material"
    #: seed of the split
    seed: Annotated[int, INTEGER_FROM_0] = 0

    def __post_init__(self) -> None:
        check_fields(self)
        if self.validation + self.test >= 1:
            raise ValueError("validation and test leave no frames to train on; make them smaller")


@dataclass(frozen=True)
class DatasetConfig:
    """Training frames in addition to `data.train`, for instance from another code or functional, or a teacher.

    Each batch contains the sources in proportion to weight times number of frames. Frames of a material that is held
    out for validation or test from `data.train` are left out, and their number is logged.
    """

    #: frames to train on; one or several paths
    train: Path | tuple[Path, ...]
    #: energy scale of the source. "shared": the same as that of `data.train`; element references are fitted to both
    #: together. "own": another one, for instance of another code; references are fitted to the source alone, and its
    #: energies shifted by the difference. The shift also removes a mean excess energy and, if each frame has a single
    #: element, the whole binding energy: use it only if necessary, and in that case leave energy out of `labels`.
    #: A mapping: references of the source, in eV per atom by symbol
    references: Literal["shared", "own"] | dict[str, float]
    #: passes over the frames per epoch (one pass over `data.train`); 0.5: half of the frames, then the other half
    weight: Annotated[float, POSITIVE] = 1.0
    #: labels to use; others are ignored
    labels: tuple[str, ...] = tuple(QUANTITIES)
    #: format of the files; empty: inferred from their names
    format: str | None = None
    #: names of the labels in the files, stress convention, provenance
    reader: RecordOptions = field(default_factory=RecordOptions)

    def __post_init__(self) -> None:
        check_fields(self)
        if self.train == ():
            raise ValueError("train: there is no path; give a file or a store")
        if not self.labels:
            raise ValueError("labels: none is used; to leave a source out, remove it")
        for label in self.labels:
            if label not in QUANTITIES:
                raise ValueError(f"labels: '{label}' is not a choice; {suggest(label, QUANTITIES)}")


#: names of the subsets of the main dataset, which no other dataset may have
SubsetName = Literal["train", "validation", "test"]
SUBSETS: tuple[SubsetName, ...] = ("train", "validation", "test")


@dataclass(frozen=True)
class DataConfig:
    """Sources of the training, validation and test frames.

    A path is the folder of a store or a file in a known format; `bundled:NAME` is a data set included in gnnpot. Files
    are converted once to a store in the run folder.
    """

    #: frames of the main source, whose element references the trained potential has; one or several paths
    train: Path | tuple[Path, ...]
    #: further sources by name
    sources: dict[str, DatasetConfig] = field(default_factory=dict)
    #: validation frames, which select the best weights; empty: a part of `train`
    validation: Path | tuple[Path, ...] = ()
    #: test frames for the errors in the report; empty: a part of `train`
    test: Path | tuple[Path, ...] = ()
    #: number of frames to train and validate on, taken from those that remain after the split; smaller selections are
    #: subsets of larger ones, and the test subset is unchanged; empty: all
    frames: Annotated[int | None, INTEGER_FROM_2] = None
    #: how they are selected: "random", with `split.seed`, or "representative" of the atomic environments of all frames
    #: (`sampling.representative`), the most informative first
    choose: Literal["random", "representative"] = "random"
    #: how validation and test subsets are drawn
    split: SplitConfig = field(default_factory=SplitConfig)
    #: format of the files; empty: inferred from their names
    format: str | None = None
    #: names of the labels in the files, stress convention, provenance
    reader: RecordOptions = field(default_factory=RecordOptions)
    #: "skip" leaves out frames that can't be used, and logs their number by reason
    bad_frames: Literal["raise", "skip"] = "raise"
    #: check the sign and unit of stresses against the energies; only if `loss.stress` is above 0
    check_stress: bool = True
    #: keep all graphs in memory; empty: for up to 200,000 atoms
    cache_graphs: bool | None = None
    #: limit, in GiB, of an HDNNP's derivatives with respect to the edge vectors that are stored with the graphs; above
    #: it, they are calculated at each step
    derivatives_gib: Annotated[float, NOT_NEGATIVE] = 3.0
    #: processes that read frames and build graphs during training; 0: none. Not used with cached graphs
    workers: Annotated[int, INTEGER_FROM_0] = 0

    def __post_init__(self) -> None:
        check_fields(self)
        if not self.paths("train"):
            raise ValueError("train: there is no path; give a file or a store")
        for name in self.sources:
            if name in SUBSETS or not re.fullmatch(r"[\w.-]+", name):
                raise ValueError(
                    f"sources: '{name}' can't name a source; use letters, digits, '_', '-' and '.', and none of "
                    f"{', '.join(SUBSETS)}"
                )

    def paths(self, subset: SubsetName) -> tuple[Path, ...]:
        """Paths of a subset, as a tuple."""
        return _as_tuple(getattr(self, subset))

    def trained_on(self) -> tuple[Path, ...]:
        """Paths of the training frames of all sources."""
        return sum((_as_tuple(source.train) for source in self.sources.values()), self.paths("train"))


def _as_tuple(value: Path | tuple[Path, ...]) -> tuple[Path, ...]:
    return (value,) if isinstance(value, Path) else tuple(value)


@dataclass(frozen=True)
class LossConfig:
    """Loss function; see `training.loss` for the equations. Labels are in eV, Å and µB."""

    #: "huber": quadratic up to `delta`, linear beyond; "mse": quadratic; "mae": linear
    kind: Literal["huber", "mse", "mae"] = "huber"
    #: error above which the Huber loss is linear, in the unit of each label
    delta: Annotated[float, POSITIVE] = 0.01
    #: weight of the energy per atom, eV
    energy: Annotated[float, NOT_NEGATIVE] = 1.0
    #: weight of the force components, eV/Å
    forces: Annotated[float, NOT_NEGATIVE] = 1.0
    #: weight of the stress components, eV/Å³; 0: stresses are neither trained nor evaluated
    stress: Annotated[float, NOT_NEGATIVE] = 0.1
    #: weight of magnetic moments, µB, for models that predict them
    magmoms: Annotated[float, NOT_NEGATIVE] = 0.0
    #: weights of further labels of `data.quantities` by name, for models that predict them
    others: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_fields(self)
        for name in self.others:
            if name not in QUANTITIES or name in ATTRIBUTES:
                known = [other for other in QUANTITIES if other not in ATTRIBUTES]
                raise ValueError(f"others: '{name}' is no further label; {suggest(name, known)}")
        weights = self.weights.values()
        if not all(0 <= weight < math.inf for weight in weights) or max(weights) == 0:
            raise ValueError(f"the weights of {', '.join(self.weights)} must be numbers from 0 on, and not all 0")

    @property
    def weights(self) -> dict[str, float]:
        """Weight of each quantity, by name."""
        return {name: getattr(self, name) if name in ATTRIBUTES else self.others.get(name, 0.0) for name in QUANTITIES}


def fresh_rate(architecture: str, optimizer: str) -> float:
    """Learning rate (`optimizer.lr`) for a small model with newly initialised weights.

    The weights of a SevenNet are of order one in each layer, for any width: larger than those of other models.
    """
    return 3e-2 if (architecture, optimizer) == ("sevennet", "soap") else 3e-3


@dataclass(frozen=True)
class OptimizerConfig:
    """AdamW (Loshchilov & Hutter 2019); Adam, which adds the weight decay to the gradient instead; or SOAP.

    SOAP (Vyas et al. 2024, arXiv:2409.11321, algorithm 3) runs Adam in the eigenbases of the averages of G Gᵀ and Gᵀ G,
    where G is the gradient of a weight matrix; for the weights of an HDNNP, along all three axes. A step costs more,
    but fewer steps are needed. The first step only initialises the averages. Weights without a gradient are left
    unchanged (`training.soap`).
    """

    #: optimisation algorithm
    name: Literal["adamw", "adam", "soap"] = "adamw"
    #: highest learning rate of the schedule
    lr: Annotated[float, POSITIVE] = 1e-3
    #: weight decay of matrices; biases and embeddings have none
    weight_decay: Annotated[float, NOT_NEGATIVE] = 1e-5
    #: decay rates of the averages of the gradient and its square; None: (0.9, 0.999), for SOAP (0.95, 0.95)
    betas: tuple[float, float] | None = None
    #: use the maximum of past averages of the squared gradient (Reddi et al. 2018); not for SOAP
    amsgrad: bool = False

    def __post_init__(self) -> None:
        check_fields(self)
        if self.betas is not None and not all(0 <= b < 1 for b in self.betas):
            raise ValueError(f"betas: {self.betas} do not lie from 0 to 1")
        if self.amsgrad and self.name == "soap":
            raise ValueError("amsgrad: is not a part of SOAP; leave it out, or choose adamw")


@dataclass(frozen=True)
class ScheduleConfig:
    """Learning rate schedule: linear warm-up, then cosine decay to `lr_min`."""

    #: steps over which the learning rate rises from 0; with horizon "time", a tenth of the time at most
    warmup_steps: Annotated[int, INTEGER_FROM_0] = 100
    #: learning rate at the end
    lr_min: Annotated[float, NOT_NEGATIVE] = 1e-6
    #: length of the cosine decay: all steps, or `max_minutes` of wall time, without that for compiling. With "time",
    #: the learning rate reaches `lr_min` on a machine of any speed, but runs are not reproducible
    horizon: Literal["epochs", "time"] = "epochs"

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True)
class BatchConfig:
    """Size of a batch on each device; exactly one of `frames`, `max_atoms` and `max_edges` is given.

    A limit on atoms or edges gives batches of similar cost from frames of different size; a frame above the limit is a
    batch by itself.
    """

    #: number of frames in a batch
    frames: Annotated[int | None, INTEGER_FROM_1] = None
    #: largest number of atoms in a batch
    max_atoms: Annotated[int | None, INTEGER_FROM_1] = None
    #: largest number of edges within the potential's cutoff in a batch
    max_edges: Annotated[int | None, INTEGER_FROM_1] = None
    #: factor by which validation batches are larger, as validation needs no second derivatives
    validation_factor: Annotated[float, POSITIVE] = 2.0

    def __post_init__(self) -> None:
        check_fields(self)
        given = [v for v in (self.frames, self.max_atoms, self.max_edges) if v is not None]
        if len(given) != 1:
            raise ValueError(f"give exactly one of frames, max_atoms and max_edges, not {len(given)}")

    @property
    def budget(self) -> float:
        """Value of the option that is given: frames, atoms or edges per batch."""
        return float(next(v for v in (self.frames, self.max_atoms, self.max_edges) if v is not None))


@dataclass(frozen=True)
class LightningConfig:
    """Options that are passed to Lightning's `Trainer`."""

    #: "cpu", "gpu" or another accelerator of Lightning; "auto": the one that is available. Apple's MPS can't be used
    #: since it has no float64; "auto" is then the CPU
    accelerator: str = "auto"
    #: number of devices per node, or a list of devices in Lightning's format
    devices: int | str = 1
    #: number of nodes
    num_nodes: Annotated[int, INTEGER_FROM_1] = 1
    #: "ddp" for several devices; "ddp_find_unused_parameters_true" if a part of the model is not trained, for instance
    #: CHGNet's magnetic moments with `loss.magmoms` 0
    strategy: str = "auto"


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Options of a run, whether it starts from new or from trained weights."""

    data: DataConfig
    #: folder of the run: data, checkpoints, logs, the trained potential, the report
    run: Path
    loss: LossConfig = field(default_factory=LossConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    batch: BatchConfig = field(default_factory=lambda: BatchConfig(frames=8))
    #: passes over the training frames; empty: as many as `max_steps` or `max_minutes` allow
    epochs: Annotated[int | None, INTEGER_FROM_1] = 100
    #: largest number of steps; if the epochs have more, the schedule ends there
    max_steps: Annotated[int | None, INTEGER_FROM_1] = None
    #: minutes of wall time after which the training stops, including those before a resume, excluding compilation
    max_minutes: Annotated[float | None, POSITIVE] = None
    #: steps between validations; empty: about one epoch
    validate_every: Annotated[int | None, INTEGER_FROM_1] = None
    #: number of validations without a better loss after which the training stops; empty: never
    patience: Annotated[int | None, INTEGER_FROM_1] = None
    #: which (averaged) weights are kept: those of the "best" validation, or the "last" ones, for validation sets too
    #: small to select weights
    keep: Literal["best", "last"] = "best"
    #: steps between checkpoints; one is also written at each validation
    checkpoint_every: Annotated[int, INTEGER_FROM_1] = 200
    #: steps between lines of the log
    log_every: Annotated[int, INTEGER_FROM_1] = 10
    #: decay of the exponential moving average of the weights; the averaged weights are validated and kept. 0: none
    ema: Annotated[float, FRACTION] = 0.999
    #: largest norm of the gradient of all parameters (gradient clipping); 0: no limit
    clip: Annotated[float, NOT_NEGATIVE] = 10.0
    #: seed of the initial weights and of the order of frames
    seed: Annotated[int, INTEGER_FROM_0] = 0
    #: precision of the model; energies are always summed in float64
    precision: Literal["float32", "float64"] = "float32"
    #: name of the potential, for its card; empty: name of the run folder
    name: str = ""
    #: description of the potential, for its card
    description: str = ""
    #: licence of the potential, for its card
    licence: str = ""
    #: exchange-correlation functional, for the card; empty: that of the frames of `data.train`, if they have the same
    functional: str = ""
    #: where metrics are logged in addition to metrics.csv: "tensorboard" (tensorboard/ in the run folder), "wandb"
    #: (Weights & Biases), "mlflow"; the last two need extras. "csv": metrics.csv only
    logger: Literal["tensorboard", "csv", "wandb", "mlflow"] = "tensorboard"
    lightning: LightningConfig = field(default_factory=LightningConfig)

    def __post_init__(self) -> None:
        check_fields(self)
        if self.keep == "last" and self.patience is not None:
            raise ValueError("patience: has no effect with keep=last; leave it out, or set keep=best")
        if self.schedule.horizon == "time" and self.max_minutes is None:
            raise ValueError("schedule.horizon: 'time' needs max_minutes")
        if self.epochs is None and self.max_steps is None and self.schedule.horizon != "time":
            raise ValueError("epochs: without a number, give max_steps, or max_minutes with schedule.horizon=time")


@dataclass(frozen=True, kw_only=True)
class TrainConfig(RunConfig):
    """Options of a training run (`gnnpot train`)."""

    #: architecture and sizes; if `elements` is left out, those of the training frames
    model: ModelConfig
    #: potential (name or folder) whose weights the training starts from, for instance to continue with other frames or
    #: another learning rate. It must have this `model`; its references and energy scale are kept. Empty: new weights
    start: str = ""
    #: add the Ziegler-Biersack-Littmark repulsion of nuclei
    zbl: bool = False
    #: energy unit of the model, in eV; empty: the root mean square force of the training frames times 1 Å, or 1 eV if
    #: that force is below 1e-4 eV/Å
    energy_scale: float | None = None
    #: element references, in eV per atom by symbol; empty: fitted to the training frames
    references: dict[str, float] | None = None
    #: number of training frames, evenly spaced, from which the energy scale and the model's scalings are calculated
    statistics_frames: int = 2000

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.statistics_frames < 1:
            raise ValueError(f"statistics_frames: {self.statistics_frames} is below 1")
        if self.energy_scale is not None and self.energy_scale <= 0:
            raise ValueError(f"energy_scale: {self.energy_scale} is not positive")


def read_config(path: Path | str, overrides: Iterable[str] = ()) -> TrainConfig:
    """Read the configuration of a training run.

    Args:
        path: A YAML file.
        overrides: Strings `key.key=value`; values are read as YAML and replace those of the file.

    Returns:
        The configuration; options that are not given have their defaults.

    Raises:
        ConfigError: The file can't be read, an option is unknown, or a value has the wrong type or is invalid.
    """
    mapping = read_yaml(path)
    apply_overrides(mapping, overrides)
    return from_mapping(TrainConfig, mapping, where=str(path))
