"""Training runs, which can be stopped and resumed.

    potential = train(read_config("train.yaml"))

Contents of the run folder:

| name           | content                                                                              |
|----------------|--------------------------------------------------------------------------------------|
| run.json       | marks the folder as a run; size, time and SHA-256 of its inputs                      |
| config.yaml    | the configuration; a resumed run may only change the limits of time and steps        |
| data.json      | values derived from the data: subsets, element references, energy scale              |
| data/          | stores converted from the configured files                                           |
| chosen.json    | the chosen frames, with `data.choose` "representative"                               |
| functions.json | for an HDNNP whose symmetry functions were chosen from the data: the model with them |
| refit.json     | for a fine-tuning: how the element references were refitted                          |
| last.ckpt      | state to resume from: weights, average, best weights, optimiser, position in the data |
| metrics.csv    | the log; loggers receive the same metrics (`training.loggers`)                       |
| model/         | the trained potential (`gnnpot.load`): averaged weights, best or last (`keep`)       |
| report/        | report.html and its figures                                                          |
"""

import logging
import math
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import lightning as L
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.accelerators import MPSAccelerator
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
#: options that limit the length of a run; they may change when it is resumed
LIMITS = ("epochs", "max_steps", "max_minutes", "patience")
DIRECTORY = RunDirectory(
    what="a training",
    config="config.yaml",
    names=(RECORD, CHOSEN, FUNCTIONS, REFIT, "metrics.csv", "data", "report", *NAMES),
    resume_files=(STATE, MODEL),
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
        # its default in fine-tuning and distillation depends on max_steps
        "schedule.warmup_steps",
    ),
)


def train(config: TrainConfig, resume: bool = True, *, progress: Progress = no_progress) -> Potential:
    """Train new weights, or those of `config.start`, and write model and report.

    A run that was stopped resumes from its last state, with the same results as an uninterrupted run. With higher
    limits (epochs, steps, minutes, patience), a run is extended, even if it has ended.

    Args:
        config: The configuration; see `read_config`.
        resume: Whether to continue the run in the folder (if it has ended, its potential is returned), or to start it
            again.
        progress: Receives the progress of the training.

    Returns:
        The potential, with the averaged weights of the best or last validation.

    Raises:
        CheckpointError, DownloadError: As `gnnpot.load`, for `config.start`.
        ConfigError: The folder contains a run with other options or inputs, or with more steps than requested.
        DataError: The data can't be used, or another process trains in the folder.
        TrainingError: The loss is not finite.
        TrainingStopped: The run was stopped by Ctrl-C or SIGTERM; its state is saved.
    """
    task = FromWeights(config) if config.start else FromScratch(config)
    return fit(task, resume, progress=progress)


def fit(task: TrainingTask, resume: bool = True, *, progress: Progress = no_progress) -> Potential:
    """Train, and write model and report.

    A run that was stopped resumes from its last state, with the same results as an uninterrupted run. With higher
    limits (epochs, steps, minutes, patience), a run is extended, even if it has ended: from the step that was reached,
    it follows the schedule of the longer run.

    Args:
        task: Provides the potential to train and its data.
        resume: Whether to continue the run in the folder (if it has ended, its potential is returned), or to start it
            again.
        progress: Receives the progress of the training.

    Returns:
        The potential, with the averaged weights of the best or last validation.

    Raises:
        ConfigError: The folder contains a run with other options or inputs, or with more steps than requested.
        DataError: The data can't be used, or another process trains in the folder.
        TrainingError: The loss is not finite.
        TrainingStopped: The run was stopped by Ctrl-C or SIGTERM; its state is saved.
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
    """Potential of a run that has ended with these limits, or that has no state from which to extend it."""
    if not (config.run / MODEL).exists():
        return None
    potential, card = load_checkpoint(config.run / MODEL)
    limits = {name: getattr(config, name) for name in LIMITS}
    before = {name: card.training.get(name, limits[name]) for name in LIMITS}
    return potential if before == limits or not (config.run / STATE).exists() else None


@contextmanager
def _usable_devices() -> Iterator[None]:
    """Raise Lightning's errors about unavailable devices as `ConfigError`."""
    try:
        yield
    except (MisconfigurationException, TypeError, ValueError) as error:
        reason = " ".join(str(error).split()).partition(". ")[0]
        raise ConfigError(
            f"lightning: accelerator and devices can't be used here ({reason}); set lightning.accelerator=cpu"
        ) from None


def _accelerator(name: str) -> str:
    """Accelerator of Lightning for the option; Apple's MPS has no float64, in which energies are summed.

    Raises:
        ConfigError: MPS was requested, by its name or as the only GPU.
    """
    if name == "mps" or (name == "gpu" and MPSAccelerator.is_available()):
        raise ConfigError(f"lightning.accelerator: {name}: Apple's MPS has no float64, which training needs; set cpu")
    return "cpu" if name == "auto" and MPSAccelerator.is_available() else name


def _trainer(config: RunConfig, keeper: RunKeeper, progress: Progress) -> L.Trainer:
    check_logger(config)
    options = config.lightning
    callbacks = [MetricsLog(config.run / "metrics.csv", config), keeper]
    with _quiet_lightning(), _usable_devices():
        return L.Trainer(
            accelerator=_accelerator(options.accelerator),
            devices=options.devices,
            num_nodes=options.num_nodes,
            strategy=options.strategy,
            max_epochs=1,
            # the validation interval is in steps; the sampler handles epochs
            check_val_every_n_epoch=None,
            val_check_interval=1,
            gradient_clip_val=config.clip or None,
            num_sanity_val_steps=0,
            # forces are derivatives, which inference mode does not allow
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
    """Run the `with` block in the first process, then in the others; yields whether this is the first process.

    Processes that Lightning starts itself do not exist before `Trainer.fit`, after the block of the first process.
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
    """Train to the end, from the first step or from the state in the folder."""
    config, state = data.config, data.config.run / STATE
    stream = data.stream(trainer.world_size)
    total = stream.total_steps(config.max_steps or math.inf)
    epoch = stream.mean_steps()
    every = config.validate_every or max(round(epoch), 1)
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
    """State to resume from, if there is one. Raises `CheckpointError` if it is damaged."""
    if not path.exists():
        return None
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # noqa: BLE001 - torch raises any exception for a damaged file
        reason = " ".join(str(error).split())[:120]
        raise CheckpointError(f"{path}: can't be read ({reason}); begin the run afresh") from None


def _has_finished(state: dict, keeper: RunKeeper, module: TrainModule) -> bool:
    """Whether the run has ended and its present limits allow no further steps."""
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
    """Log the new learning rate of an extended run. Raises `ConfigError` if it has more steps than requested."""
    config, step = module.config, state["global_step"]
    before, now = state["gnnpot"]["total_steps"], module.total_steps
    if step > now:
        raise ConfigError(f"{config.run}: has done {step} steps, {now:.0f} are asked for; ask for more, or begin anew")
    if before == now or config.schedule.horizon == "time":
        return
    rates = [learning_rate(step, step / total, config.optimizer.lr, config.schedule) for total in (before, now)]
    log.warning(
        "%s: at step %d of %d the run is extended to %d; the learning rate is %.3g there, it was %.3g",
        config.run, step, before, now, rates[1], rates[0],
    )  # fmt: skip


@contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Silence Lightning's advice on its own options, which users of gnnpot do not set."""
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
