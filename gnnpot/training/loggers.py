"""Lightning's loggers, which receive the metrics of a run in addition to `metrics.csv`; selected by `logger`.

    gnnpot train train.yaml --set logger=wandb

| logger      | writes to                                                                                | extra    |
|-------------|------------------------------------------------------------------------------------------|----------|
| tensorboard | tensorboard/ in the run's folder                                                         | `train`  |
| csv         | metrics.csv only                                                                         | `train`  |
| wandb       | Weights & Biases, project `WANDB_PROJECT` or gnnpot; wandb/ with `WANDB_MODE=offline`    | `wandb`  |
| mlflow      | the MLflow of `MLFLOW_TRACKING_URI`, or mlflow.db in the run's folder; experiment gnnpot | `mlflow` |

A resumed run continues the same run of Weights & Biases or MLflow, whose identifier is stored in logger.json. The name
and options are logged once, at the beginning.
"""

import importlib
import json
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger, MLFlowLogger, TensorBoardLogger, WandbLogger

from gnnpot.config import to_mapping
from gnnpot.errors import ConfigError, DataError
from gnnpot.extras import needs_extra
from gnnpot.runs.files import write_text
from gnnpot.training.config import RunConfig

#: files and folders of loggers in the folder of a run
NAMES = ("tensorboard", "wandb", "mlflow.db", "mlruns", "logger.json")
_PROJECT = "gnnpot"


def check_logger(config: RunConfig) -> None:
    """Raise `MissingExtraError` if the package of the logger is not installed."""
    if config.logger != "csv":
        with needs_extra(f"logger={config.logger}"):
            importlib.import_module(config.logger)


@contextmanager
def run_logger(config: RunConfig, *, is_first: bool) -> Iterator[Logger | None]:
    """Context manager for the logger of a run while it trains; `None` for logger "csv".

    Args:
        config: Configuration of the run; its folder must exist.
        is_first: Whether this is the process that writes.

    Raises:
        ConfigError: Weights & Biases or MLflow can't be reached, or deny access.
    """
    if config.logger == "csv":
        yield None
    elif config.logger == "tensorboard":
        yield TensorBoardLogger(config.run, "tensorboard", version="")
    else:
        known = _known(config)
        logger = _wandb(config, known) if config.logger == "wandb" else _mlflow(config, known)
        if is_first:
            _begin(logger, config, known)
        try:
            yield logger
        finally:
            if is_first and isinstance(logger, WandbLogger):
                # otherwise, a further training in this process would continue this run
                logger.experiment.finish()


def _wandb(config: RunConfig, known: str | None) -> WandbLogger:
    return WandbLogger(
        name=config.name or config.run.name,
        save_dir=config.run,
        project=os.environ.get("WANDB_PROJECT", _PROJECT),
        id=known or uuid.uuid4().hex[:12],
    )


def _mlflow(config: RunConfig, known: str | None) -> MLFlowLogger:
    uri = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{(config.run / 'mlflow.db').absolute()}"
    return MLFlowLogger(
        experiment_name=os.environ.get("MLFLOW_EXPERIMENT_NAME", _PROJECT),
        run_name=config.name or config.run.name,
        tracking_uri=uri,
        run_id=known,
    )


def _begin(logger: WandbLogger | MLFlowLogger, config: RunConfig, known: str | None) -> None:
    """Open the run of the logging service; for a new one, log the options and store its identifier."""
    try:
        number = logger.experiment.id if isinstance(logger, WandbLogger) else logger.run_id
        if known is None:
            logger.log_hyperparams(to_mapping(config))
    except Exception as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise ConfigError(
            f"logger={config.logger}: can't begin a run there ({reason}); log in, mend its settings, or set logger=csv"
        ) from error
    if known is None:
        write_text(_file(config), json.dumps({config.logger: number}) + "\n")


def _known(config: RunConfig) -> str | None:
    """Identifier of the run of the logging service, if there is one. Raises `DataError`."""
    path = _file(config)
    if not path.exists():
        return None
    try:
        numbers: Any = json.loads(path.read_text(encoding="utf-8"))
        found = numbers.get(config.logger)
    except (OSError, ValueError, AttributeError) as error:
        raise DataError(f"{path}: can't be read ({error}); remove it to begin a new run of the logger") from None
    return None if found is None else str(found)


def _file(config: RunConfig) -> Path:
    return config.run / "logger.json"
