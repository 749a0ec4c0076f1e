"""Configuration of a distillation, and defaults for the student and the budget.

Example::

    read_distil_config("runs/mine/model", ["frames.extxyz.gz"], student="hdnnp", run="runs/student")
    read_distil_config("7net-0", ["frames.extxyz.gz"], student="m3gnet", run="runs/student", path="mine.yaml",
                       overrides=["explore.temperatures=[300, 900]", "max_minutes=60"])
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from gnnpot.config import apply_overrides, from_mapping, read_yaml, to_mapping
from gnnpot.data.readers import RecordOptions
from gnnpot.domains import (
    FRACTION,
    INTEGER_FROM_0,
    INTEGER_FROM_1,
    INTEGER_FROM_2,
    OPEN_FRACTION,
    POSITIVE,
    check_fields,
)
from gnnpot.errors import ConfigError, suggest
from gnnpot.models import CHGNetConfig, HDNNPConfig, M3GNetConfig, ModelConfig, NequixConfig, SevenNetConfig
from gnnpot.models.symmetry_sets import SelectedBehlerSet
from gnnpot.sampling.config import StartConfig
from gnnpot.sampling.selection import SelectionConfig
from gnnpot.sampling.trajectories import TrajectoryConfig
from gnnpot.training.config import BatchConfig, LossConfig, OptimizerConfig, fresh_rate

#: students for `--student`: a small model of each architecture; other sizes can be set with the option `student`
STUDENTS: dict[str, ModelConfig] = {
    "hdnnp": HDNNPConfig(symmetry_set=SelectedBehlerSet(radial_cutoff=6.0, angular_cutoff=4.5), hidden=(40, 40)),
    "m3gnet": M3GNetConfig(units=32, blocks=2),
    "chgnet": CHGNetConfig(units=32, convolutions=2, radial=15, angular=15),
    # a high cutoff power gives distant neighbours more weight; it costs nothing, nor do wide radial networks, as both
    # are tabulated. Matrices for each element cost little; the cost of products is per atom, not per edge
    # (docs/distillation.md has the errors with and without them)
    "sevennet": SevenNetConfig(
        channels=(32, 32, 32),
        layers=2,
        cutoff_function="polynomial",
        cutoff_power=10,
        radial_hidden=(64, 64),
        element_linear=True,
        products=True,
    ),
    "nequix": NequixConfig(channels=(32, 32, 32), layers=2, cutoff=5.0),
}


#: options, besides `learn.final_steps`, that limit the length of a distillation; they may change when it is resumed
LIMITS = ("rounds", "tolerance", "patience", "max_minutes")


@dataclass(frozen=True)
class LearnConfig:
    """Training of the students. The numbers of steps apply if there is no budget in minutes."""

    loss: LossConfig = field(
        default_factory=lambda: LossConfig(kind="huber", delta=0.1, energy=10.0, forces=1.0, stress=10.0)
    )
    #: optimiser; without `lr`, `read_distil_config` sets the rate for the student's architecture (`fresh_rate`)
    optimizer: OptimizerConfig = field(default_factory=lambda: OptimizerConfig(name="soap", lr=3e-3))
    batch: BatchConfig = field(default_factory=lambda: BatchConfig(frames=4))
    #: batch of the final training, for instance larger ones for a GPU; empty: as `batch`
    final_batch: BatchConfig | None = None
    #: steps of each student's first training
    first_steps: Annotated[int, INTEGER_FROM_1] = 3000
    #: steps of each student in each further round
    round_steps: Annotated[int, INTEGER_FROM_1] = 1500
    #: steps of the final training
    final_steps: Annotated[int, INTEGER_FROM_1] = 30000
    #: fraction of the labelled frames for validation, which selects the best weights
    validation: Annotated[float, OPEN_FRACTION] = 0.1
    #: decay of the exponential moving average of the weights
    ema: Annotated[float, FRACTION] = 0.995
    #: steps between validations
    validate_every: Annotated[int, INTEGER_FROM_1] = 250
    #: add the Ziegler-Biersack-Littmark repulsion of nuclei, which keeps atoms apart at distances without training data
    zbl: bool = True
    #: precision of the students; energies are always summed in float64
    precision: Literal["float32", "float64"] = "float32"

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True, kw_only=True)
class DistilConfig:
    """Options of a distillation."""

    RENAMED: ClassVar[dict[str, str]] = {"pick": "select"}

    #: name or path of the potential that labels the frames, or an ASE calculator as module:Class
    teacher: str
    #: files of structures, or stores; their labels are not used
    structures: Path | tuple[Path, ...]
    #: folder of the run
    run: Path
    #: architecture and sizes; if `elements` is left out, those of the structures
    student: ModelConfig
    #: number of students in the committee, whose disagreement measures the uncertainty
    committee: Annotated[int, INTEGER_FROM_2] = 3
    start: StartConfig = field(default_factory=StartConfig)
    explore: TrajectoryConfig = field(default_factory=TrajectoryConfig)
    select: SelectionConfig = field(default_factory=SelectionConfig)
    learn: LearnConfig = field(default_factory=LearnConfig)
    #: largest number of rounds
    rounds: Annotated[int, INTEGER_FROM_1] = 8
    #: a round is an improvement if the force error is lower than the lowest before by more than this fraction of it
    tolerance: Annotated[float, FRACTION] = 0.05
    #: number of rounds without improvement after which the rounds end
    patience: Annotated[int, INTEGER_FROM_1] = 2
    #: minutes of wall time, including those before a resume, instead of the steps in `learn`; the final training has
    #: three tenths of them and what the rounds do not use
    max_minutes: Annotated[float | None, POSITIVE] = None
    #: labelled frames, for instance of the code whose labels the teacher was trained on; the errors of teacher and
    #: student on them are measured at the end
    test: Path | tuple[Path, ...] = ()
    #: names of the labels in `test`, stress convention
    reader: RecordOptions = field(default_factory=RecordOptions)
    #: seed of distortions, trajectories, random samples and initial weights
    seed: Annotated[int, INTEGER_FROM_0] = 0
    #: name of the student, for its card; empty: name of the run folder
    name: str = ""
    #: description of the student, for its card; empty: architecture and teacher
    description: str = ""
    #: licence of the student, for its card; empty: that of the teacher
    licence: str = ""
    #: exchange-correlation functional of the labels, for the card; empty: that of the teacher
    functional: str = ""

    def __post_init__(self) -> None:
        check_fields(self)
        if self.structures == ():
            raise ValueError("structures: there is no path; give a file or a store")

    def paths(self, name: Literal["structures", "test"]) -> tuple[Path, ...]:
        """Paths of an option, as a tuple."""
        value = getattr(self, name)
        return (value,) if isinstance(value, Path) else tuple(value)


def read_distil_config(
    teacher: str,
    structures: Sequence[Path | str],
    *,
    run: Path | str,
    student: str | None = None,
    path: Path | str | None = None,
    overrides: Iterable[str] = (),
) -> DistilConfig:
    """Make the configuration of a distillation.

    The YAML file `path` takes precedence over the defaults, `student` over the file, and `overrides` over all.

    Args:
        teacher: Name or path of a potential, or an ASE calculator as module:Class.
        structures: Files of structures, or stores.
        run: Folder of the run.
        student: Name of a student in `STUDENTS`; sizes in the file are kept if they are of the same architecture.
        path: YAML file of options.
        overrides: Strings `key.key=value`.

    Returns:
        The configuration; options that are not given have their defaults.

    Raises:
        ConfigError: A name or an option is not known, or a value has the wrong type or is invalid.
    """
    if student is not None and student not in STUDENTS:
        raise ConfigError(f"--student: '{student}' is not known; {suggest(student, STUDENTS)}")
    given = {} if path is None else read_yaml(path)
    if not isinstance(given, Mapping):
        raise ConfigError(f"{path}: expected a mapping of options; see gnnpot distil --help")
    mapping: dict[str, Any] = dict(given)
    mapping |= {"teacher": teacher, "structures": [str(p) for p in structures], "run": str(run)}
    inside = mapping.get("student")
    named = inside.get("architecture") if isinstance(inside, Mapping) else None
    if student is not None and named != student:
        mapping["student"] = to_mapping(STUDENTS[student])
    elif inside is None:
        mapping["student"] = to_mapping(STUDENTS["hdnnp"])
    apply_overrides(mapping, overrides)
    _set_rate(mapping)
    return from_mapping(DistilConfig, mapping, where=str(path or "options"))


def _set_rate(mapping: dict[str, Any]) -> None:
    """Set the optimiser's missing options in `mapping`: SOAP, and the learning rate for the student's architecture.

    Values of a wrong type are unchanged; `from_mapping` raises an error for them.
    """
    learn, student = mapping.get("learn", {}), mapping["student"]
    optimizer = learn.get("optimizer", {}) if isinstance(learn, Mapping) else None
    if isinstance(optimizer, Mapping) and isinstance(student, Mapping):
        name = optimizer.get("name", "soap")
        filled = {"name": name, "lr": fresh_rate(student.get("architecture", ""), name), **optimizer}
        mapping["learn"] = {**learn, "optimizer": filled}
