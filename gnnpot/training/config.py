"""What a training run is: one strict dataclass, read from YAML.

    config = read_config("configs/m3gnet.yaml", overrides=["optimizer.lr=0.001", "epochs=50"])

Every option has a default but `model`, `data.train` and `run`. An unknown option, a wrong type or an impossible value
is a `ConfigError` that names the place.
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
from gnnpot.domains import NOT_NEGATIVE, POSITIVE, SHARE, WHOLE_FROM_0, WHOLE_FROM_1, WHOLE_FROM_2, check_fields
from gnnpot.errors import suggest
from gnnpot.models import ModelConfig


@dataclass(frozen=True)
class SplitConfig:
    """How parts that have no file of their own are drawn from the frames of `data.train`."""

    #: fraction that validates: it chooses the best weights; not used where `data.validation` is given
    validation: Annotated[float, SHARE] = 0.05
    #: fraction that is tested at the end; not used where `data.test` is given
    test: Annotated[float, SHARE] = 0.0
    #: "material" keeps the frames of a material together; "frame" draws frame by frame, and test errors look too small;
    #: "count" does so too, but cuts off whole numbers of frames, at least one: for sets of a few
    by: Literal["material", "frame", "count"] = "material"
    #: of the random numbers that draw the parts
    seed: Annotated[int, WHOLE_FROM_0] = 0

    def __post_init__(self) -> None:
        check_fields(self)
        if self.validation + self.test >= 1:
            raise ValueError("validation and test leave no frames to train on; make them smaller")


@dataclass(frozen=True)
class DatasetConfig:
    """Frames to train on besides those of `data.train`: another code, another functional, a teacher's labels.

    Every batch holds the sources in the proportion of weight times frames. Frames of a material that `data.train`
    holds out for validation or test are left out, and counted.
    """

    #: frames to train on; one path or several
    train: Path | tuple[Path, ...]
    #: whose energies these are. "shared": on the same scale as those of `data.train`, which a common fit of element
    #: references covers. "own": of another scale, as of another code; references are fitted to the source alone, and
    #: its energies moved by the difference. That removes a mean excess energy too, and where frames are of one element
    #: each, all of what binds them: do not ask for it without need, and there leave energy out of `labels`. A mapping
    #: gives the source's references, eV per atom by symbol
    references: Literal["shared", "own"] | dict[str, float]
    #: passes over the frames in an epoch, which is one pass over `data.train`; 0.5: every other frame, then the rest
    weight: Annotated[float, POSITIVE] = 1.0
    #: labels that are used; others are as if they were not there
    labels: tuple[str, ...] = tuple(QUANTITIES)
    #: format of the files; empty: found from their names
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
    """Where the frames come from.

    A path is a store's folder or a file that a reader knows; `bundled:NAME` is a data set that comes with gnnpot. Files
    are converted to a store in the run folder once.
    """

    #: frames to train on, the main source: the trained potential has its element references; one path or several
    train: Path | tuple[Path, ...]
    #: further sources by name
    sources: dict[str, DatasetConfig] = field(default_factory=dict)
    #: frames that choose the best weights; empty: a part of `train`
    validation: Path | tuple[Path, ...] = ()
    #: frames for the errors in the report; empty: a part of `train`
    test: Path | tuple[Path, ...] = ()
    #: train and validate on this many frames only, of those that are left for it: a smaller number is a part of a
    #: larger one, and the test subset is unchanged; empty: all
    frames: Annotated[int | None, WHOLE_FROM_2] = None
    #: which of them: "random" ones, drawn with `split.seed`, or "representative" ones, whose atoms are like those of
    #: all (`sampling.representative`), the most telling first
    choose: Literal["random", "representative"] = "random"
    #: how those parts are drawn
    split: SplitConfig = field(default_factory=SplitConfig)
    #: format of the files; empty: found from their names
    format: str | None = None
    #: names of the labels in the files, stress convention, provenance
    reader: RecordOptions = field(default_factory=RecordOptions)
    #: "skip" leaves frames out that can't be used, and counts them by reason
    bad_frames: Literal["raise", "skip"] = "raise"
    #: check the sign and unit of stress against the energies; only where `loss.stress` is above 0
    check_stress: bool = True
    #: keep all graphs in memory; empty: for up to 200,000 atoms
    cache_graphs: bool | None = None
    #: GiB of an HDNNP's derivatives, with respect to the edge vectors, that are kept with the graphs; if all of them
    #: need more, they are calculated at each step
    derivatives_gib: Annotated[float, NOT_NEGATIVE] = 3.0
    #: processes that read frames and build graphs while the model trains; 0: none. Not used with cached graphs
    workers: Annotated[int, WHOLE_FROM_0] = 0

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
        """The paths of a subset, as a tuple."""
        return _as_tuple(getattr(self, subset))

    def trained_on(self) -> tuple[Path, ...]:
        """The paths of all sources."""
        return sum((_as_tuple(source.train) for source in self.sources.values()), self.paths("train"))


def _as_tuple(value: Path | tuple[Path, ...]) -> tuple[Path, ...]:
    return (value,) if isinstance(value, Path) else tuple(value)


@dataclass(frozen=True)
class LossConfig:
    """What is minimised; see `training.loss` for the equations. The labels' units are eV, Å, µB."""

    #: "huber" is square up to `delta`, straight beyond; "mse" square; "mae" straight
    kind: Literal["huber", "mse", "mae"] = "huber"
    #: where Huber's loss becomes straight, in the unit of each label
    delta: Annotated[float, POSITIVE] = 0.01
    #: weight of the energy per atom, eV
    energy: Annotated[float, NOT_NEGATIVE] = 1.0
    #: weight of the components of forces, eV/Å
    forces: Annotated[float, NOT_NEGATIVE] = 1.0
    #: weight of the components of stress, eV/Å³; 0: stresses are neither trained nor measured
    stress: Annotated[float, NOT_NEGATIVE] = 0.1
    #: weight of magnetic moments, µB, for models that know them
    magmoms: Annotated[float, NOT_NEGATIVE] = 0.0
    #: weights of further labels of `data.quantities` by name, for models that know them
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
        """The weight of each quantity, by name."""
        return {name: getattr(self, name) if name in ATTRIBUTES else self.others.get(name, 0.0) for name in QUANTITIES}


def fresh_rate(architecture: str, optimizer: str) -> float:
    """The learning rate (`optimizer.lr`) for fresh weights of a small model.

    A SevenNet's weights are of order one in each layer at any width, and so larger than those of others.
    """
    return 3e-2 if (architecture, optimizer) == ("sevennet", "soap") else 3e-3


@dataclass(frozen=True)
class OptimizerConfig:
    """AdamW (Loshchilov & Hutter 2019); Adam, which adds the decay to the gradient instead; or SOAP.

    SOAP (Vyas et al. 2024, arXiv:2409.11321, algorithm 3) runs Adam in the eigenbases of each weight matrix's averaged
    G Gᵀ and Gᵀ G, G its gradient; of the weights of an HDNNP, along all three axes. A step costs more, and fewer are
    needed. The first one only begins the averages. See `training.soap` for what it leaves alone.
    """

    #: the algorithm, as above
    name: Literal["adamw", "adam", "soap"] = "adamw"
    #: the highest learning rate of the schedule
    lr: Annotated[float, POSITIVE] = 1e-3
    #: decay of weight matrices; biases and embeddings do not decay
    weight_decay: Annotated[float, NOT_NEGATIVE] = 1e-5
    #: decays of the averages of gradient and squared gradient; None: (0.9, 0.999), SOAP (0.95, 0.95)
    betas: tuple[float, float] | None = None
    #: never let the average of squared gradients fall (Reddi et al. 2018); not for SOAP
    amsgrad: bool = False

    def __post_init__(self) -> None:
        check_fields(self)
        if self.betas is not None and not all(0 <= b < 1 for b in self.betas):
            raise ValueError(f"betas: {self.betas} do not lie from 0 to 1")
        if self.amsgrad and self.name == "soap":
            raise ValueError("amsgrad: is not a part of SOAP; leave it out, or choose adamw")


@dataclass(frozen=True)
class ScheduleConfig:
    """Linear warm-up, then half a cosine down to `lr_min`."""

    #: steps over which the learning rate rises from 0; by time, for a tenth of it at most
    warmup_steps: Annotated[int, WHOLE_FROM_0] = 100
    #: learning rate at the end
    lr_min: Annotated[float, NOT_NEGATIVE] = 1e-6
    #: what the cosine spans: all `epochs`, or `max_minutes` of wall time (but for compiling). A run by time ends well
    #: annealed at any machine's speed, but no two runs end at the same numbers
    horizon: Literal["epochs", "time"] = "epochs"

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True)
class BatchConfig:
    """How many frames make a step: exactly one of the three is given. With several devices, on each of them.

    Budgets give batches of even cost from frames of uneven size; a frame above the budget makes a batch alone.
    """

    #: number of frames
    frames: Annotated[int | None, WHOLE_FROM_1] = None
    #: atoms at most
    max_atoms: Annotated[int | None, WHOLE_FROM_1] = None
    #: edges within the potential's cutoff at most
    max_edges: Annotated[int | None, WHOLE_FROM_1] = None
    #: the same for validation, as a multiple: it needs no second derivatives
    validation_factor: Annotated[float, POSITIVE] = 2.0

    def __post_init__(self) -> None:
        check_fields(self)
        given = [v for v in (self.frames, self.max_atoms, self.max_edges) if v is not None]
        if len(given) != 1:
            raise ValueError(f"give exactly one of frames, max_atoms and max_edges, not {len(given)}")

    @property
    def budget(self) -> float:
        """The one that is given."""
        return float(next(v for v in (self.frames, self.max_atoms, self.max_edges) if v is not None))


@dataclass(frozen=True)
class LightningConfig:
    """Passed to Lightning's `Trainer` unchanged."""

    #: "cpu", "gpu" or another that Lightning knows; "auto": what there is
    accelerator: str = "auto"
    #: how many devices of a node, or which, as Lightning takes them
    devices: int | str = 1
    #: number of nodes
    num_nodes: Annotated[int, WHOLE_FROM_1] = 1
    #: "ddp" for several devices; "ddp_find_unused_parameters_true" where a part of the model has no label to learn
    #: from, as CHGNet's moments with `loss.magmoms` 0
    strategy: str = "auto"


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Data, loss and steps of a run, for any start."""

    data: DataConfig
    #: folder of the run: data, checkpoints, logs, the trained potential, the report
    run: Path
    loss: LossConfig = field(default_factory=LossConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    batch: BatchConfig = field(default_factory=lambda: BatchConfig(frames=8))
    #: passes over the training frames
    epochs: Annotated[int, WHOLE_FROM_1] = 100
    #: stop after this many steps, if the epochs have more; the schedule ends there
    max_steps: Annotated[int | None, WHOLE_FROM_1] = None
    #: stop after this much wall time, resumed runs included and compiling left out
    max_minutes: Annotated[float | None, POSITIVE] = None
    #: steps between validations; empty: about one epoch
    validate_every: Annotated[int | None, WHOLE_FROM_1] = None
    #: validations without a better loss after which to stop; empty: never
    patience: Annotated[int | None, WHOLE_FROM_1] = None
    #: which (averaged) weights become the model: the "best" at a validation, or the "last", where few frames validate,
    #: and what they say is chance
    keep: Literal["best", "last"] = "best"
    #: steps between checkpoints, besides those at each validation
    checkpoint_every: Annotated[int, WHOLE_FROM_1] = 200
    #: steps between lines of the log
    log_every: Annotated[int, WHOLE_FROM_1] = 10
    #: decay of the exponential moving average of weights, which is what is validated and kept; 0: none
    ema: Annotated[float, SHARE] = 0.999
    #: largest norm of the gradient of all parameters, longer ones are shortened; 0: any
    clip: Annotated[float, NOT_NEGATIVE] = 10.0
    #: of initial weights and of the order of frames
    seed: Annotated[int, WHOLE_FROM_0] = 0
    #: in which the model calculates; energies are summed in float64 in any case
    precision: Literal["float32", "float64"] = "float32"
    #: name of the potential, for its card; empty: that of the run folder
    name: str = ""
    #: of the potential in words, for its card
    description: str = ""
    #: under which the potential may be passed on, for its card
    licence: str = ""
    #: for its card; empty: what frames of `data.train` say, if they agree
    functional: str = ""
    #: where the numbers of metrics.csv go besides: to tensorboard/ in the folder of the run, nowhere ("csv"), or to
    #: Weights & Biases or MLflow, which are extras
    logger: Literal["tensorboard", "csv", "wandb", "mlflow"] = "tensorboard"
    lightning: LightningConfig = field(default_factory=LightningConfig)

    def __post_init__(self) -> None:
        check_fields(self)
        if self.keep == "last" and self.patience is not None:
            raise ValueError("patience: the weights that it waits for are not kept; leave it out, or keep the best")
        if self.schedule.horizon == "time" and self.max_minutes is None:
            raise ValueError("schedule.horizon: 'time' needs max_minutes")


@dataclass(frozen=True, kw_only=True)
class TrainConfig(RunConfig):
    """All of a training run that begins with fresh weights."""

    #: architecture and sizes; `elements` may be left out: those of the training frames
    model: ModelConfig
    #: begin with the weights of this potential, a name or a folder, instead of fresh ones: a second run with other
    #: frames or rates. It must have this `model`; its references and energy scale are kept
    start: str = ""
    #: add Ziegler, Biersack & Littmark's repulsion of nuclei
    zbl: bool = False
    #: eV, unit of the model's energies; empty: the root mean square force of the training frames times 1 Å, or 1 eV
    #: where that is below 1e-4 eV/Å
    energy_scale: float | None = None
    #: eV per atom by symbol; empty: fitted to the training frames
    references: dict[str, float] | None = None
    #: frames from which the force scale and a model's own scalings are taken, evenly spread over the training frames
    statistics_frames: int = 2000

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.statistics_frames < 1:
            raise ValueError(f"statistics_frames: {self.statistics_frames} is below 1")
        if self.energy_scale is not None and self.energy_scale <= 0:
            raise ValueError(f"energy_scale: {self.energy_scale} is not positive")


def read_config(path: Path | str, overrides: Iterable[str] = ()) -> TrainConfig:
    """The configuration of a training run.

    Args:
        path: A YAML file.
        overrides: `key.key=value`, each; values are read as YAML, and win over the file's.

    Returns:
        The options; those that are given nowhere have their defaults.

    Raises:
        ConfigError: The file can't be read, an option is unknown, or a value is of the wrong type or impossible.
    """
    mapping = read_yaml(path)
    apply_overrides(mapping, overrides)
    return from_mapping(TrainConfig, mapping, where=str(path))
