"""A training run from start to end, and again from wherever it was stopped.

    potential = train(read_config("train.yaml"))

The run's folder holds

| name           | what                                                                                 |
|----------------|--------------------------------------------------------------------------------------|
| config.yaml    | the configuration; a run goes on only with the same                                  |
| data.json      | what was taken from the data: parts, element references, energy scale                |
| data/          | stores made of the configured files                                                  |
| chosen.json    | the frames, if representative ones are chosen                                        |
| functions.json | of an HDNNP with chosen symmetry functions: the model with them                      |
| refit.json     | of a fine-tuning: how its element references were refitted                           |
| last.ckpt      | what going on needs: weights, average, best weights, optimiser, place in the data    |
| metrics.csv    | the log; the same numbers for TensorBoard in tensorboard/                            |
| model/         | the trained potential (`gnnpot.load`): averaged weights, best or last, as `keep` says  |
| report/        | report.html and its pictures                                                         |
"""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import lightning as L
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.plugins.environments import LightningEnvironment

from gnnpot.config import to_mapping
from gnnpot.errors import CheckpointError
from gnnpot.hub.checkpoint import load_checkpoint, save_checkpoint
from gnnpot.hub.opening import RUN_MODEL as MODEL
from gnnpot.potential import Potential
from gnnpot.runs.directory import RunDirectory
from gnnpot.training.callbacks import DurableIO, MetricsLog, ProgressBar, RunKeeper
from gnnpot.training.config import RunConfig, TrainConfig
from gnnpot.training.datamodule import GraphData
from gnnpot.training.module import TrainModule
from gnnpot.training.prepare import CHOSEN, FUNCTIONS
from gnnpot.training.recipe import FromScratch, FromWeights, Recipe
from gnnpot.training.report import write_report

log = logging.getLogger(__name__)

STATE, REFIT = "last.ckpt", "refit.json"
FOLDER = RunDirectory(
    what="a run",
    config="config.yaml",
    names=("data.json", CHOSEN, FUNCTIONS, REFIT, "metrics.csv", "data", "report", "tensorboard"),
    kept=(STATE, MODEL),
    free=("lightning", "log_every", "checkpoint_every", "name", "description", "licence", "functional"),
)


def train(config: TrainConfig, resume: bool = True, *, progress: bool = False) -> Potential:
    """Train fresh weights, or those of `config.start`; see `carry_out`."""
    recipe = FromWeights(config) if config.start else FromScratch(config)
    return carry_out(recipe, resume, progress=progress)


def carry_out(recipe: Recipe, resume: bool = True, *, progress: bool = False) -> Potential:
    """Train, write model and report, return the potential (averaged weights, at the best validation or the last).

    With `resume`, a run that was stopped goes on from its last state, to the same numbers as one that was not, and one
    that has ended is returned as it is; without, it begins again. `progress` shows a bar on the terminal.

    Raises `ConfigError` if the folder holds a run with another configuration, `DataError` for data that can't be used,
    `TrainingError` if the loss is no longer finite, `TrainingStopped` after Ctrl-C or SIGTERM, once the state is saved.
    """
    config = recipe.config
    keeper = RunKeeper(config, config.run / STATE, 1)
    trainer = _trainer(config, keeper, progress)
    with _first_before_others(trainer) as is_first:
        if is_first:
            FOLDER.claim(config, resume)
        if resume and (config.run / MODEL).exists():
            return load_checkpoint(config.run / MODEL)[0]
        prepared = recipe.prepare(write=is_first)
    potential = recipe.build(prepared)
    _fit(trainer, keeper, recipe, potential, GraphData(config, prepared, potential))
    potential.load_state_dict(keeper.best["weights"])
    potential = recipe.finished(potential).cpu().eval().requires_grad_(True)
    if is_first:
        outcome = recipe.outcome(prepared, potential, keeper.best["step"])
        title = f"{outcome.card.name}: {potential.model.config.architecture}"
        log_csv, mapping = config.run / "metrics.csv", to_mapping(config)
        write_report(config.run / "report", title, outcome.evaluations, log_csv, mapping, outcome.sections)
        save_checkpoint(config.run / MODEL, potential, outcome.card, overwrite=True)
        log.info("the potential is in %s", config.run / MODEL)
    return potential


def _trainer(config: RunConfig, keeper: RunKeeper, progress: bool) -> L.Trainer:
    options = config.lightning
    callbacks = [MetricsLog(config.run / "metrics.csv", config), keeper]
    with _quiet_lightning():
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
            logger=TensorBoardLogger(config.run, "tensorboard", version=""),
            callbacks=callbacks + ([ProgressBar(config)] if progress else []),
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


def _fit(trainer: L.Trainer, keeper: RunKeeper, recipe: Recipe, potential: Potential, data: GraphData) -> None:
    """Train to the end, or on from the state in the folder."""
    config, state = data.config, data.config.run / STATE
    total = data.stream(trainer.world_size).total_steps()
    every = config.validate_every or max(round(total / config.epochs), 1)
    if config.max_steps is not None:
        total = min(total, config.max_steps)
    keeper.validate_every = trainer.val_check_interval = every
    module = TrainModule(potential, config, total, recipe.rates(potential))
    previous = _previous(state)
    if previous is not None and _has_finished(previous):
        keeper.load_state_dict(previous["callbacks"][keeper.state_key])
        return
    with _quiet_lightning():
        trainer.fit(module, datamodule=data, ckpt_path=state if previous is not None else None, weights_only=True)


def _previous(path: Path) -> dict | None:
    """The state to go on from, if there is one. Raises `CheckpointError` if it is damaged."""
    if not path.exists():
        return None
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # noqa: BLE001 - torch raises whatever a damaged file leads it to
        reason = " ".join(str(error).split())[:120]
        raise CheckpointError(f"{path}: can't be read ({reason}); begin the run afresh") from None


def _has_finished(state: dict) -> bool:
    return any(s.get("finished", False) for s in state["callbacks"].values())


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
