"""Configuration of a fine-tuning, and its defaults for a number of frames and an aim.

    read_finetune_config("7net-0", ["frames.extxyz.gz"], run="runs/mine")
    read_finetune_config("7net-0", ["frames.extxyz.gz"], run="runs/mine", path="mine.yaml",
                         overrides=["strategy.kind=lora", "epochs=20"])
    read_finetune_config("7net-0", ["frames.extxyz.gz"], run="runs/mine", aim="general")

Options that neither the file nor the overrides set depend on the number of frames (few frames: many epochs with small
batches; many frames: few epochs with larger ones) and on the aim (`aims.py`).
"""

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from gnnpot.config import apply_overrides, from_mapping, read_yaml
from gnnpot.data.bundled import resolve_path
from gnnpot.data.readers import RecordOptions
from gnnpot.data.store import FrameStore
from gnnpot.domains import FRACTION, INTEGER_FROM_2, NOT_NEGATIVE, OPEN_FRACTION, check_fields
from gnnpot.errors import ConfigError, DataError, counted, suggest
from gnnpot.training.config import DataConfig, RunConfig
from gnnpot.training.stores import read_labelled
from gnnpot.workflows.finetune.aims import Aim, aim_options, architecture_of, choose_aim
from gnnpot.workflows.finetune.strategies import AllWeights, Strategy

#: options by name of the strategy, for `--strategy`
STRATEGIES: dict[str, dict[str, Any]] = {
    "all": {"strategy": {"kind": "all"}},
    "head": {"strategy": {"kind": "head"}},
    "frozen": {"strategy": {"kind": "frozen"}},
    "lora": {"strategy": {"kind": "lora"}},
    "replay": {"strategy": {"kind": "all"}, "replay": {"share": 0.25}},
}
#: number of frames below which there are many epochs and the last weights are kept
FEW_FRAMES = 60
#: number of materials from which the frames are split by material
MANY_MATERIALS = 20


@dataclass(frozen=True)
class RefitConfig:
    """Refit of the element references before the training; see `refit.py`."""

    #: refit the references; if false, they are unchanged
    enabled: bool = True
    #: regularisation of the shifts, per frame; it only determines what the frames leave open
    ridge: Annotated[float, NOT_NEGATIVE] = 1e-6

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True)
class ReplayConfig:
    """Earlier frames, for replay in the training and for the errors of the potential on earlier systems."""

    #: fraction of each batch that is replayed; 0: no replay
    share: Annotated[float, FRACTION] = 0.0
    #: labelled frames that the starting model was trained on, or similar ones: files or stores
    frames: Path | tuple[Path, ...] = ()
    #: structures that the starting model labels if `frames` is empty; `bundled:NAME` as in `data.train`
    structures: Path | tuple[Path, ...] = Path("bundled:gpaw-pbe")
    #: element references for the energies of `frames`: "refit" fits them to `frames`, whose zero of energy may differ
    #: from that of the starting model; "start" takes those of the starting model
    references: Literal["refit", "start"] = "refit"
    #: fraction of the earlier frames that is held out to measure errors at the end
    held_out: Annotated[float, OPEN_FRACTION] = 0.2
    #: largest number of earlier frames, evenly spaced
    max_frames: Annotated[int, INTEGER_FROM_2] = 1000
    #: names of the labels in `frames`, stress convention
    reader: RecordOptions = field(default_factory=RecordOptions)

    def __post_init__(self) -> None:
        check_fields(self)

    def paths(self) -> tuple[Path, ...]:
        """Paths of `frames`, or, without them, of `structures`."""
        value = self.frames or self.structures
        return (value,) if isinstance(value, Path) else tuple(value)


@dataclass(frozen=True, kw_only=True)
class FineTuneConfig(RunConfig):
    """Options of a fine-tuning."""

    #: potential to start from: a name or path, as in `gnnpot.load`
    start: str
    #: parameters to train, and their learning rates
    strategy: Strategy = field(default_factory=AllWeights)
    refit: RefitConfig = field(default_factory=RefitConfig)
    replay: ReplayConfig = field(default_factory=ReplayConfig)
    #: elements whose equations of state and dimers are compared with the starting model's; empty: five of its elements
    probe_elements: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.data.sources:
            raise ValueError("data.sources: a fine-tuning has one source; name earlier frames with replay.frames")


@dataclass(frozen=True)
class DatasetSize:
    """Size of a data set, which determines the defaults."""

    frames: int  #: number of frames in `data.train`
    materials: int  #: number of materials in `data.train`
    used: int  #: number of frames, limited by `data.frames`


def read_finetune_config(
    start: str,
    train: Sequence[Path | str],
    *,
    run: Path | str,
    path: Path | str | None = None,
    overrides: Iterable[str] = (),
    short: str | None = None,
    aim: Aim | None = None,
) -> FineTuneConfig:
    """Make the configuration of a fine-tuning of `start` on the frames `train`.

    In order of increasing precedence, options come from: defaults for the number of frames, defaults for the aim, the
    YAML file `path`, the strategy `short`, `overrides`.

    Args:
        start: Name or path of the potential to start from.
        train: Files or stores of labelled frames.
        run: Folder of the run.
        path: YAML file of options.
        overrides: Strings `key.key=value`.
        short: Short name of a strategy.
        aim: Systems that the potential is for; by default "this-system", or "general" with a strategy or replay that
            preserves earlier knowledge.

    Returns:
        The configuration, with all options set.

    Raises:
        ConfigError: A name or an option is not known, or aim and strategy contradict each other.
        DataError: The frames can't be read.
    """
    if short is not None and short not in STRATEGIES:
        raise ConfigError(f"strategy: '{short}' is not known; {suggest(short, STRATEGIES)}")
    given: Any = {} if path is None else read_yaml(path)
    if not isinstance(given, dict):
        raise ConfigError(f"{path}: expected a mapping of options; see gnnpot finetune --help")
    if short is not None:
        given = _merged(given, STRATEGIES[short])
    given = _merged(given, {"start": start, "run": str(run), "data": {"train": [str(p) for p in train]}})
    apply_overrides(given, overrides)
    where = str(path or "options")
    # the data options first, as they are needed to read and count the frames
    data = from_mapping(DataConfig, given["data"], where=f"{where}: data")
    dataset_size = count(data)
    chosen = choose_aim(aim, given)
    of_aim = aim_options(chosen, architecture_of(start), dataset_size.used, given)
    defaults = _merged(default_options(dataset_size, data, given), of_aim)
    strategy = given.get("strategy")
    # options of the default strategy, such as its decay, do not select another strategy
    if aim == "general" and not (isinstance(strategy, Mapping) and strategy.get("kind")):
        defaults = _merged(defaults, STRATEGIES["replay"])
    return from_mapping(FineTuneConfig, _merged(defaults, given), where=where)


def count(data: DataConfig) -> DatasetSize:
    """Count the frames and materials in `data.train`. Raises `DataError` for fewer than two frames."""
    paths = [resolve_path(p) for p in data.paths("train")]
    if len(paths) == 1 and paths[0].is_dir():
        index = FrameStore(paths[0]).index()
        frames, materials = len(index), len(index.materials)
    else:
        frames, names = 0, set()
        for frame in read_labelled(data.paths("train"), data):
            frames += 1
            names.add(frame.provenance.material_id)
        materials = len(names)
    if frames < 2:
        where = ", ".join(map(str, data.paths("train")))
        few = counted(frames, "frame") if frames else "no frames"
        raise DataError(f"{where}: {few} can't be trained on and held out; give at least 2")
    return DatasetSize(frames, materials, frames if data.frames is None else min(frames, data.frames))


def default_options(dataset_size: DatasetSize, data: DataConfig, given: Mapping[str, Any]) -> dict[str, Any]:
    """Default options for a number of frames, as a mapping.

    For instance, 20 frames are trained for 100 epochs with batches of 2, 200 frames for 40 epochs with batches of 4,
    and 2000 frames for 15 epochs with batches of 8; if `given` has "max_minutes" or "max_steps", they alone limit the
    run. The warm-up is a tenth of the steps, 200 at most. Without a test file, a part of the frames is held out for the
    comparison at the end. For few frames, only one to seven are validation frames, too few to select weights, and the
    last weights are kept.
    """
    few, some = dataset_size.used < FEW_FRAMES, dataset_size.used < 600
    epochs, batch, ema = (100, 2, 0.99) if few else (40, 4, 0.995) if some else (15, 8, 0.999)
    # a fraction of the whole set, so that the test frames do not depend on data.frames
    held = 0.15 if dataset_size.frames < FEW_FRAMES else 0.1 if dataset_size.frames < 600 else 0.05
    by = "material" if dataset_size.materials >= MANY_MATERIALS and dataset_size.frames >= FEW_FRAMES else "count"
    # two frames, the least number, are needed for training and validation
    test = 0.0 if data.paths("test") or dataset_size.frames < 3 else held
    # with a split by material, a twentieth of few materials is often none
    validation = 0.05 if few and by == "count" else held
    once = max(1, round(dataset_size.used * (1 - validation) / batch))
    steps = once * epochs
    by_time, max_steps = given.get("max_minutes") is not None, given.get("max_steps")
    # a wrong type is reported when all options are read
    planned = max_steps if isinstance(max_steps, int) else steps
    schedule: dict[str, Any] = {"warmup_steps": min(200, max(1, planned // 10)), "lr_min": 1e-6}
    if by_time:
        schedule["horizon"] = "time"
    return {
        "data": {
            "split": {"validation": validation, "test": test, "by": by},
        },
        "loss": {"kind": "huber", "delta": 0.02, "energy": 20.0, "forces": 1.0, "stress": 10.0},
        "schedule": schedule,
        "batch": {"frames": batch},
        "epochs": None if by_time or max_steps is not None else epochs,
        "validate_every": max(10, min(steps // 30, 100)),
        "checkpoint_every": 100,
        "keep": "last" if few else "best",
        "ema": ema,
        "clip": 10.0,
    }  # fmt: skip


def with_strategy(config: FineTuneConfig, short: str, run: Path) -> FineTuneConfig:
    """Configuration with another strategy and folder; options of a strategy of the same kind are kept."""
    options = from_mapping(_StrategyOptions, STRATEGIES[short], where=short)
    replay = config.replay if config.replay.share and options.replay.share else None
    return replace(
        config,
        strategy=config.strategy if config.strategy.kind == options.strategy.kind else options.strategy,
        replay=replay or replace(config.replay, share=options.replay.share),
        run=run,
    )


@dataclass(frozen=True)
class _StrategyOptions:
    strategy: Strategy
    replay: ReplayConfig = field(default_factory=ReplayConfig)


def _merged(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Merge the options `over` into `under`, recursively; batches, and strategies of another kind, are replaced.

    The result is a deep copy, so that changing it does not change the arguments.
    """
    result = dict(copy.deepcopy(under))
    for key, value in copy.deepcopy(over).items():
        below = result.get(key)
        if isinstance(below, Mapping) and isinstance(value, Mapping):
            another = key == "strategy" and value.get("kind") not in (None, below.get("kind"))
            result[key] = value if another or key == "batch" else _merged(below, value)
        else:
            result[key] = value
    return result
