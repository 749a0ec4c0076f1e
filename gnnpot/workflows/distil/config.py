"""What a distillation is: a strict dataclass, and its defaults for a student and a budget.

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
from gnnpot.domains import INNER_SHARE, POSITIVE, SHARE, WHOLE_FROM_0, WHOLE_FROM_1, WHOLE_FROM_2, check_fields
from gnnpot.errors import ConfigError, suggest
from gnnpot.models import CHGNetConfig, HDNNPConfig, M3GNetConfig, ModelConfig, NequixConfig, SevenNetConfig
from gnnpot.models.symmetry_sets import ChosenSet
from gnnpot.sampling.config import StartConfig
from gnnpot.sampling.selection import SelectionConfig
from gnnpot.sampling.trajectories import TrajectoryConfig
from gnnpot.training.config import BatchConfig, LossConfig, OptimizerConfig, fresh_rate

#: what `--student` names: small members of each architecture; any size can be given as the option `student`
STUDENTS: dict[str, ModelConfig] = {
    "hdnnp": HDNNPConfig(symmetry_set=ChosenSet(radial_cutoff=6.0, angular_cutoff=4.5), hidden=(40, 40)),
    "m3gnet": M3GNetConfig(units=32, blocks=2),
    "chgnet": CHGNetConfig(units=32, convolutions=2, radial=15, angular=15),
    # a high power lets far neighbours count for more; it costs nothing, nor do wide radial networks: both run as
    # tables. Matrices of each element cost little, products an atom's time, not an edge's (docs/distillation.md has the
    # errors with and without them)
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


#: options that say how long a distillation lasts, beside `learn.final_steps`; it can be extended
LIMITS = ("rounds", "tolerance", "patience", "max_minutes")


@dataclass(frozen=True)
class LearnConfig:
    """How students are trained; steps where no budget in minutes is given."""

    loss: LossConfig = field(
        default_factory=lambda: LossConfig(kind="huber", delta=0.1, energy=10.0, forces=1.0, stress=10.0)
    )
    #: `read_distil_config` takes the rate of the student's architecture, `fresh_rate`, where it is given none
    optimizer: OptimizerConfig = field(default_factory=lambda: OptimizerConfig(name="soap", lr=3e-3))
    batch: BatchConfig = field(default_factory=lambda: BatchConfig(frames=4))
    #: of the final training, as a GPU takes dozens of frames in the time of one; empty: as `batch`
    final_batch: BatchConfig | None = None
    #: steps of each student's first training
    first_steps: Annotated[int, WHOLE_FROM_1] = 3000
    #: steps of each student in each further round
    round_steps: Annotated[int, WHOLE_FROM_1] = 1500
    #: steps of the final training
    final_steps: Annotated[int, WHOLE_FROM_1] = 30000
    #: share of the labelled frames that choose the best weights
    validation: Annotated[float, INNER_SHARE] = 0.1
    #: decay of the moving average of weights
    ema: Annotated[float, SHARE] = 0.995
    #: steps between validations
    validate_every: Annotated[int, WHOLE_FROM_1] = 250
    #: add Ziegler, Biersack & Littmark's repulsion of nuclei, which holds atoms apart where there are no frames
    zbl: bool = True
    #: in which students calculate; energies are summed in float64 in any case
    precision: Literal["float32", "float64"] = "float32"

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True, kw_only=True)
class DistilConfig:
    """All of a distillation."""

    RENAMED: ClassVar[dict[str, str]] = {"pick": "select"}

    #: what labels: a name or path of a potential, or an ASE calculator as module:Class
    teacher: str
    #: files of structures, or stores; labels that they have are not used
    structures: Path | tuple[Path, ...]
    #: folder of the run
    run: Path
    #: architecture and sizes; `elements` may be left out: those of the structures
    student: ModelConfig
    #: students that learn side by side; where they disagree, something is to be learnt
    committee: Annotated[int, WHOLE_FROM_2] = 3
    start: StartConfig = field(default_factory=StartConfig)
    explore: TrajectoryConfig = field(default_factory=TrajectoryConfig)
    select: SelectionConfig = field(default_factory=SelectionConfig)
    learn: LearnConfig = field(default_factory=LearnConfig)
    #: rounds at most
    rounds: Annotated[int, WHOLE_FROM_1] = 8
    #: a round counts as better if the force error fell by this share of the best one before
    tolerance: Annotated[float, SHARE] = 0.05
    #: rounds without a better one after which to stop
    patience: Annotated[int, WHOLE_FROM_1] = 2
    #: wall time of the whole, resumed runs included, in place of the steps in `learn`: three tenths, and what the
    #: rounds leave, are for the final training
    max_minutes: Annotated[float | None, POSITIVE] = None
    #: labelled frames, as of the code that the teacher stands for: the teacher's and the student's errors on them are
    #: measured at the end
    test: Path | tuple[Path, ...] = ()
    #: names of the labels in `test`, stress convention
    reader: RecordOptions = field(default_factory=RecordOptions)
    #: of distortions, trajectories, random samples and the students' initial weights
    seed: Annotated[int, WHOLE_FROM_0] = 0
    #: for the card; empty: the name of the run's folder, and what the teacher's card says
    name: str = ""
    #: of the student in words, for its card
    description: str = ""
    #: under which the student may be passed on, for its card
    licence: str = ""
    #: functional of the labels, for its card; empty: what the teacher's card says
    functional: str = ""

    def __post_init__(self) -> None:
        check_fields(self)
        if self.structures == ():
            raise ValueError("structures: there is no path; give a file or a store")

    def paths(self, name: Literal["structures", "test"]) -> tuple[Path, ...]:
        """The paths of an option, as a tuple."""
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
    """The configuration of a distillation.

    Later ones win: defaults, the YAML file `path`, the short name of a `student`, `overrides`.

    Args:
        teacher: Name or path of a potential, or an ASE calculator as module:Class.
        structures: Files of structures, or stores.
        run: Folder of the run.
        student: Short name of a student, of `STUDENTS`; sizes that the file gives for the same architecture stay.
        path: YAML file of options.
        overrides: `key.key=value`, each.

    Returns:
        The options; those that are given nowhere have their defaults.

    Raises:
        ConfigError: A name or an option is not known, or a value is of the wrong type or impossible.
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
    """Give the options of `mapping` what they leave open of the optimiser: SOAP, at the rate of their student.

    What is no mapping is left for `from_mapping` to refuse.
    """
    learn, student = mapping.get("learn", {}), mapping["student"]
    optimizer = learn.get("optimizer", {}) if isinstance(learn, Mapping) else None
    if isinstance(optimizer, Mapping) and isinstance(student, Mapping):
        name = optimizer.get("name", "soap")
        filled = {"name": name, "lr": fresh_rate(student.get("architecture", ""), name), **optimizer}
        mapping["learn"] = {**learn, "optimizer": filled}
