"""What a fine-tuning is: a strict dataclass, and the defaults that a number of frames asks for.

    read_finetune_config("7net-0", ["frames.extxyz.gz"], run="runs/mine")
    read_finetune_config("7net-0", ["frames.extxyz.gz"], run="runs/mine", path="mine.yaml",
                         overrides=["strategy.kind=lora", "epochs=20"])
    read_finetune_config("7net-0", ["frames.extxyz.gz"], run="runs/mine", aim="general")

What neither the file nor the overrides say follows from the number of frames, a few frames are seen often in small
batches, many frames seldom in larger ones; and from the aim, see `aims.py`.
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
from gnnpot.domains import INNER_SHARE, NOT_NEGATIVE, SHARE, WHOLE_FROM_2, check_fields
from gnnpot.errors import ConfigError, DataError, counted, suggest
from gnnpot.training.config import DataConfig, RunConfig
from gnnpot.training.stores import read_labelled
from gnnpot.workflows.finetune.aims import Aim, aim_options, architecture_of, choose_aim
from gnnpot.workflows.finetune.strategies import AllWeights, Strategy

#: short names for `--strategy`
SHORT: dict[str, dict[str, Any]] = {
    "all": {"strategy": {"kind": "all"}},
    "head": {"strategy": {"kind": "head"}},
    "frozen": {"strategy": {"kind": "frozen"}},
    "lora": {"strategy": {"kind": "lora"}},
    "replay": {"strategy": {"kind": "all"}, "replay": {"share": 0.25}},
}
#: epochs of a run that its budget ends
UNLIMITED = 100_000
#: fewer are seen often, and the last weights are kept
FEW_FRAMES = 60
#: materials from which on parts are split by material
MANY_MATERIALS = 20


@dataclass(frozen=True)
class RefitConfig:
    """How the element references are refitted before the first step; see `refit.py`."""

    #: False: they are unchanged
    enabled: bool = True
    #: pull towards no change, in units of the number of frames; decides only what the frames leave open
    ridge: Annotated[float, NOT_NEGATIVE] = 1e-6

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True)
class ReplayConfig:
    """Earlier frames: those that are replayed, and those that only tell at the end what was forgotten."""

    #: of each batch; 0: none is replayed
    share: Annotated[float, SHARE] = 0.0
    #: labelled frames that the starting model was trained on, or like them: files or stores
    frames: Path | tuple[Path, ...] = ()
    #: structures that the starting model labels, where `frames` is empty; `bundled:NAME` as in `data.train`
    structures: Path | tuple[Path, ...] = Path("bundled:gpaw-pbe")
    #: element references for the energies of `frames`, which may have another zero than the starting model's: refitted
    #: to them, or those of the starting model
    references: Literal["refit", "start"] = "refit"
    #: fraction that is kept aside to tell what was forgotten
    held_out: Annotated[float, INNER_SHARE] = 0.2
    #: at most so many frames are used, evenly spread
    max_frames: Annotated[int, WHOLE_FROM_2] = 1000
    #: names of the labels in `frames`, stress convention
    reader: RecordOptions = field(default_factory=RecordOptions)

    def __post_init__(self) -> None:
        check_fields(self)

    def paths(self) -> tuple[Path, ...]:
        """Those of `frames`, or else of `structures`."""
        value = self.frames or self.structures
        return (value,) if isinstance(value, Path) else tuple(value)


@dataclass(frozen=True, kw_only=True)
class FineTuneConfig(RunConfig):
    """All of a fine-tuning."""

    #: the potential to start from: a name or a path, as `gnnpot.load` takes it
    start: str
    #: which parameters are trained, and how fast
    strategy: Strategy = field(default_factory=AllWeights)
    refit: RefitConfig = field(default_factory=RefitConfig)
    replay: ReplayConfig = field(default_factory=ReplayConfig)
    #: elements whose equations of state and dimers are compared with the starting model's; empty: five that it knows
    probe_elements: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.data.sources:
            raise ValueError("data.sources: a fine-tuning has one source; name earlier frames with replay.frames")


@dataclass(frozen=True)
class DatasetSize:
    """What the defaults depend on."""

    frames: int  #: in `data.train`
    materials: int
    used: int  #: those that train and validate


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
    """The configuration of a fine-tuning of `start` on the frames `train`.

    Later ones win: defaults for the number of frames, those of the aim, the YAML file `path`, the strategy's short
    name, `overrides` (key.key=value).

    Args:
        start: name or path of the potential to start from.
        train: labelled frames, files or stores.
        run: folder of the run.
        path: YAML file of options.
        overrides: `key.key=value`, each.
        short: short name of a strategy.
        aim: what the potential is for; by default this system, unless the strategy is one that keeps what was known.

    Returns:
        The options, each of which is set.

    Raises:
        ConfigError: for what is not known, or an aim and a strategy that contradict each other.
        DataError: for frames that can't be read.
    """
    if short is not None and short not in SHORT:
        raise ConfigError(f"strategy: '{short}' is not known; {suggest(short, SHORT)}")
    given: Any = {} if path is None else read_yaml(path)
    if not isinstance(given, dict):
        raise ConfigError(f"{path}: expected a mapping of options; see gnnpot finetune --help")
    if short is not None:
        given = _merged(given, SHORT[short])
    given = _merged(given, {"start": start, "run": str(run), "data": {"train": [str(p) for p in train]}})
    apply_overrides(given, overrides)
    where = str(path or "options")
    # the data options alone first: they say how to read what is counted
    data = from_mapping(DataConfig, given["data"], where=f"{where}: data")
    dataset_size = count(data)
    budget = [name for name in ("max_minutes", "max_steps") if given.get(name) is not None]
    chosen = choose_aim(aim, given)
    of_aim = aim_options(chosen, architecture_of(start), dataset_size.used, given)
    defaults = _merged(default_options(dataset_size, data, budget), of_aim)
    strategy = given.get("strategy")
    # an option of the default strategy, as its decay, is no other strategy
    if aim == "general" and not (isinstance(strategy, Mapping) and strategy.get("kind")):
        defaults = _merged(defaults, SHORT["replay"])
    return from_mapping(FineTuneConfig, _merged(defaults, given), where=where)


def count(data: DataConfig) -> DatasetSize:
    """How many frames and materials `data.train` holds. Raises `DataError` if there are none."""
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


def default_options(dataset_size: DatasetSize, data: DataConfig, budget: Sequence[str] = ()) -> dict[str, Any]:
    """Options for a number of frames, as a mapping; every one of them can be set otherwise.

    20 frames are seen 100 times in batches of 2, 200 frames 40 times in batches of 4, 2000 frames 15 times in batches
    of 8; with a `budget` ("max_minutes" or "max_steps") as often as it allows. A tenth of the steps, or 200, warm up.
    Without a test file, a part is kept aside for the comparison at the end. Of a few frames only one to seven validate:
    so few can't tell good weights from better ones, and the last ones are kept.
    """
    few, some = dataset_size.used < FEW_FRAMES, dataset_size.used < 600
    epochs, batch, ema = (100, 2, 0.99) if few else (40, 4, 0.995) if some else (15, 8, 0.999)
    # of the whole set, so that fewer frames to train on are tested on the same
    held = 0.15 if dataset_size.frames < FEW_FRAMES else 0.1 if dataset_size.frames < 600 else 0.05
    by = "material" if dataset_size.materials >= MANY_MATERIALS and dataset_size.frames >= FEW_FRAMES else "count"
    # two frames train and validate, which is the least that is taken
    test = 0.0 if data.paths("test") or dataset_size.frames < 3 else held
    # a twentieth of a few materials, each drawn for itself, is often none
    validation = 0.05 if few and by == "count" else held
    once = max(1, round(dataset_size.used * (1 - validation) / batch))
    schedule: dict[str, Any] = {"warmup_steps": min(200, max(1, once * epochs // 10)), "lr_min": 1e-6}
    if "max_minutes" in budget:
        schedule["horizon"] = "time"
    return {
        "data": {
            "split": {"validation": validation, "test": test, "by": by},
        },
        "loss": {"kind": "huber", "delta": 0.02, "energy": 20.0, "forces": 1.0, "stress": 10.0},
        "schedule": schedule,
        "batch": {"frames": batch},
        "epochs": UNLIMITED if budget else epochs,
        "validate_every": max(10, min(once * epochs // 30, 100)),
        "checkpoint_every": 100,
        "keep": "last" if few else "best",
        "ema": ema,
        "clip": 10.0,
    }  # fmt: skip


def with_short(config: FineTuneConfig, short: str, run: Path) -> FineTuneConfig:
    """The same fine-tuning by another strategy, in another folder; options of its own strategy's kind are kept."""
    options = from_mapping(_Short, SHORT[short], where=short)
    replay = config.replay if config.replay.share and options.replay.share else None
    return replace(
        config,
        strategy=config.strategy if config.strategy.kind == options.strategy.kind else options.strategy,
        replay=replay or replace(config.replay, share=options.replay.share),
        run=run,
    )


@dataclass(frozen=True)
class _Short:
    strategy: Strategy
    replay: ReplayConfig = field(default_factory=ReplayConfig)


def _merged(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`over` laid upon `under`, mapping by mapping; batches and strategies of another kind are replaced whole.

    Shares no mapping with either: what is set in it later must not change them.
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
