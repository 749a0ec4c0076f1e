"""A training run from start to end, and again from wherever it was stopped.

    potential = train(read_config("train.yaml"))

The run's folder holds

| name           | what                                                                                 |
|----------------|--------------------------------------------------------------------------------------|
| run.json       | marks the folder as a run; size, time and SHA-256 of its inputs                      |
| config.yaml    | the configuration; a run resumes only with the same, less limits of time and steps   |
| data.json      | what was taken from the data: subsets, element references, energy scale                |
| data/          | stores made of the configured files                                                  |
| chosen.json    | the frames, if representative ones are chosen                                        |
| functions.json | of an HDNNP with chosen symmetry functions: the model with them                      |
| refit.json     | of a fine-tuning: how its element references were refitted                           |
| last.ckpt      | what a resumed run needs: weights, average, best weights, optimiser, place in the data    |
| metrics.csv    | the log; what `logger` chooses gets the same numbers (`training.loggers`)            |
| model/         | the trained potential (`gnnpot.load`): averaged weights, best or last, as `keep` says  |
| report/        | report.html and its pictures                                                         |
"""

import logging
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import lightning as L
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.plugins.environments import LightningEnvironment

from gnnpot.config import to_mapping
from gnnpot.errors import CheckpointError, ConfigError
from gnnpot.hub.checkpoint import load_checkpoint, save_checkpoint
from gnnpot.hub.locating import RUN_MODEL as MODEL
from gnnpot.potential import Potential
from gnnpot.runs.directory import RunDirectory
from gnnpot.runs.progress import Progress, no_progress
from gnnpot.training.callbacks import DurableIO, MetricsLog, ReportProgress, RunKeeper
from gnnpot.training.config import RunConfig, TrainConfig
from gnnpot.training.datamodule import GraphData
from gnnpot.training.loggers import NAMES, check_logger, run_logger
from gnnpot.training.module import TrainModule, learning_rate
from gnnpot.training.prepare import CHOSEN, FUNCTIONS, RECORD
from gnnpot.training.report import write_report
from gnnpot.training.task import FromScratch, FromWeights, TrainingTask

log = logging.getLogger(__name__)

STATE, REFIT = "last.ckpt", "refit.json"
#: options that say how long a run lasts; a run can be extended
LIMITS = ("epochs", "max_steps", "max_minutes", "patience")
DIRECTORY = RunDirectory(
    what="a training",
    config="config.yaml",
    names=(RECORD, CHOSEN, FUNCTIONS, REFIT, "metrics.csv", "data", "report", *NAMES),
    kept=(STATE, MODEL),
    free=(
        *LIMITS,
        "lightning",
        "logger",
        "log_every",
        "checkpoint_every",
        "name",
        "description",
        "licence",
        "functional",
    ),
)


def train(config: TrainConfig, resume: bool = True, *, progress: Progress = no_progress) -> Potential:
    """Train fresh weights, or those of `config.start`; write model and report.

    A run that was stopped resumes from its last state, to the same numbers as one that was not. With higher limits
    (epochs, steps, minutes, patience) it is extended, also if it has ended.

    Args:
        config: The options; `read_config` reads them.
        resume: Continue the run in the folder; an ended one is returned unchanged. Otherwise it begins again.
        progress: Of the training.

    Returns:
        The potential: averaged weights, at the best validation or the last.

    Raises:
        CheckpointError, DownloadError: As `gnnpot.load`, for `config.start`.
        ConfigError: The folder contains a run with other options or inputs, or of more steps than are asked for.
        DataError: Data can't be used, or another process trains in the folder.
        TrainingError: The loss is no longer finite.
        TrainingStopped: After Ctrl-C or SIGTERM, once the state is saved.
    """
    task = FromWeights(config) if config.start else FromScratch(config)
    return fit(task, resume, progress=progress)


def fit(task: TrainingTask, resume: bool = True, *, progress: Progress = no_progress) -> Potential:
    """Train, write model and report.

    A run that was stopped resumes from its last state, to the same numbers as one that was not. With higher limits
    (epochs, steps, minutes, patience) it is extended, also if it has ended: the schedule is that of the longer run,
    from the step that was reached.

    Args:
        task: what is trained, and on what.
        resume: continue the run in the folder; an ended one is returned unchanged. Otherwise it begins again.
        progress: of the training.

    Returns:
        The potential: averaged weights, at the best validation or the last.

    Raises:
        ConfigError: if the folder contains a run with other options or inputs, or of more steps than are asked for.
        DataError: for data that can't be used, or if another process trains in the folder.
        TrainingError: if the loss is no longer finite.
        TrainingStopped: after Ctrl-C or SIGTERM, once the state is saved.
    """
    config = task.config
    keeper = RunKeeper(config, config.run / STATE, 1)
    trainer = _trainer(config, keeper, progress)
    with ExitStack() as until_written:
        with _first_before_others(trainer) as is_first:
            if is_first:
                until_written.enter_context(DIRECTORY.open(config, resume, task.inputs()))
            if resume and (ended := ended_run(config)) is not None:
                return ended
            if is_first and resume and (config.run / RECORD).exists() and not (config.run / STATE).exists():
                log.warning("%s: was stopped before its first checkpoint; begins at step 0", config.run)
            prepared = task.prepare(write=is_first)
        potential = task.build(prepared)
        _fit_weights(trainer, keeper, task, potential, GraphData(config, prepared, potential))
        potential.load_state_dict(keeper.best["weights"])
        potential = task.finished(potential).cpu().eval().requires_grad_(True)
        if is_first:
            outcome = task.outcome(prepared, potential, keeper.best["step"])
            title = f"{outcome.card.name}: {potential.model.config.architecture}"
            log_csv, mapping = config.run / "metrics.csv", to_mapping(config)
            write_report(config.run / "report", title, outcome.evaluations, log_csv, mapping, outcome.sections)
            save_checkpoint(config.run / MODEL, potential, outcome.card, overwrite=True)
            log.info("the potential is in %s", config.run / MODEL)
    return potential


def ended_run(config: RunConfig) -> Potential | None:
    """The potential of a run that has ended with these limits, or where there is nothing to extend it from."""
    if not (config.run / MODEL).exists():
        return None
    potential, card = load_checkpoint(config.run / MODEL)
    limits = {name: getattr(config, name) for name in LIMITS}
    before = {name: card.training.get(name, limits[name]) for name in LIMITS}
    return potential if before == limits or not (config.run / STATE).exists() else None


@contextmanager
def _usable_devices() -> Iterator[None]:
    """Lightning's error for devices that are not there as a `ConfigError`."""
    try:
        yield
    except (MisconfigurationException, TypeError, ValueError) as error:
        reason = " ".join(str(error).split()).partition(". ")[0]
        raise ConfigError(
            f"lightning: accelerator and devices can't be used here ({reason}); set lightning.accelerator=cpu"
        ) from None


def _trainer(config: RunConfig, keeper: RunKeeper, progress: Progress) -> L.Trainer:
    check_logger(config)
    options = config.lightning
    callbacks = [MetricsLog(config.run / "metrics.csv", config), keeper]
    with _quiet_lightning(), _usable_devices():
        return L.Trainer(
            accelerator=options.accelerator,
            devices=options.devices,
            num_nodes=options.num_nodes,
            strategy=options.strategy,
            max_epochs=1,
            # validation counts steps; epochs are the sampler's affair
            check_val_every_n_epoch=None,
            val_check_interval=1,
            gradient_clip_val=config.clip or None,
            num_sanity_val_steps=0,
            # forces are derivatives, which inference mode forbids
            inference_mode=False,
            use_distributed_sampler=False,
            plugins=[DurableIO()],
            logger=False,
            callbacks=[*callbacks, ReportProgress(config, progress)],
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            log_every_n_steps=config.log_every,
            default_root_dir=config.run,
        )


@contextmanager
def _first_before_others(trainer: L.Trainer) -> Iterator[bool]:
    """The block runs on the first process, then on all others; says whether this is the first.

    Processes that Lightning starts itself do not exist before `fit`: by then the first has been here.
    """
    strategy, is_first = trainer.strategy, trainer.is_global_zero
    environment = getattr(strategy, "cluster_environment", None)
    is_started_with_others = (
        environment is not None
        and environment.creates_processes_externally
        and not isinstance(environment, LightningEnvironment)
    )
    if is_started_with_others:
        strategy.setup_environment()
    if not is_first:
        strategy.barrier()
    yield is_first
    if is_first:
        strategy.barrier()


def _fit_weights(
    trainer: L.Trainer, keeper: RunKeeper, task: TrainingTask, potential: Potential, data: GraphData
) -> None:
    """Train to the end, from the beginning or from the state in the folder."""
    config, state = data.config, data.config.run / STATE
    total = data.stream(trainer.world_size).total_steps()
    epoch = total / config.epochs
    every = config.validate_every or max(round(epoch), 1)
    if config.max_steps is not None:
        total = min(total, config.max_steps)
    keeper.validate_every = trainer.val_check_interval = every
    module = TrainModule(potential, config, total, epoch, task.rates(potential))
    previous = _previous(state)
    if previous is not None:
        _plan_extension(previous, module)
        if _has_finished(previous, keeper, module):
            keeper.load_state_dict(previous["callbacks"][keeper.state_key])
            return
    with run_logger(config, is_first=trainer.is_global_zero) as logger, _quiet_lightning():
        trainer.loggers = [] if logger is None else [logger]
        trainer.fit(module, datamodule=data, ckpt_path=state if previous is not None else None, weights_only=True)


def _previous(path: Path) -> dict | None:
    """The state to resume from, if there is one. Raises `CheckpointError` if it is damaged."""
    if not path.exists():
        return None
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # noqa: BLE001 - torch raises any exception for a damaged file
        reason = " ".join(str(error).split())[:120]
        raise CheckpointError(f"{path}: can't be read ({reason}); begin the run afresh") from None


def _has_finished(state: dict, keeper: RunKeeper, module: TrainModule) -> bool:
    """Whether the run has ended, and has nothing left to do within its limits of today."""
    kept, config = state["callbacks"][keeper.state_key], module.config
    if not kept["finished"]:
        return False
    minutes, patience = config.max_minutes, config.patience
    return (
        state["global_step"] >= module.total_steps
        or (minutes is not None and state["gnnpot"]["seconds"] >= 60 * minutes)
        or (patience is not None and kept["waited"] >= patience)
    )


def _plan_extension(state: dict, module: TrainModule) -> None:
    """Log how the schedule of a longer run differs. Raises `ConfigError` if the run has more steps than asked for."""
    config, step = module.config, state["global_step"]
    before, now = state["gnnpot"]["total_steps"], module.total_steps
    if step > now:
        raise ConfigError(f"{config.run}: has done {step} steps, {now} are asked for; ask for more, or begin anew")
    if before == now or config.schedule.horizon == "time":
        return
    rates = [learning_rate(step, step / total, config.optimizer.lr, config.schedule) for total in (before, now)]
    log.warning(
        "%s: at step %d of %d the run is extended to %d; the learning rate is %.3g there, it was %.3g",
        config.run, step, before, now, rates[1], rates[0],
    )  # fmt: skip


@contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Lightning's advice concerns its own options, which users of gnnpot do not see."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"lightning\..*")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
