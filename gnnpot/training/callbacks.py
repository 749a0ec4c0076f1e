"""Callbacks of a training: checkpoints to resume from, best weights, stopping, log, progress.

For Lightning, a run is one long epoch with a validation at a fixed interval of steps; the sampler handles epochs. The
state is saved after a step (unless a validation follows) and after a validation.
"""

import csv
import math
import signal
import threading
from pathlib import Path
from typing import Any, cast

import lightning as L
import torch
from lightning.fabric.plugins import CheckpointIO
from lightning.pytorch.callbacks import Callback

from gnnpot.data.quantities import QUANTITIES
from gnnpot.runs.files import appending, replaced_file
from gnnpot.runs.progress import Progress
from gnnpot.training.config import RunConfig
from gnnpot.training.module import TrainingStopped, TrainModule


class DurableIO(CheckpointIO):
    """Write checkpoints atomically; they contain only tensors and plain values."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Path | str, storage_options: Any = None) -> None:
        with appending(Path(path)), replaced_file(Path(path)) as file:
            torch.save(checkpoint, file)

    def load_checkpoint(self, path: Path | str, map_location: Any = "cpu", weights_only: bool | None = True) -> dict:
        checkpoint = torch.load(path, map_location=map_location, weights_only=True)
        # so that a run that ended with its last batch can be extended
        progress = checkpoint.get("loops", {}).get("fit_loop", {}).get("epoch_loop.batch_progress", {})
        if "is_last_batch" in progress:
            progress["is_last_batch"] = False
        return checkpoint

    def remove_checkpoint(self, path: Path | str) -> None:
        Path(path).unlink(missing_ok=True)


class RunKeeper(Callback):
    """Saves the state, stops the training, and keeps the best or the last weights.

    Attributes:
        best: Score, step and weights of the best or the last validation, as set by `keep`.
        waited: Number of validations since the weights in `best`.
        finished: Whether the training has ended.
    """

    def __init__(self, config: RunConfig, state: Path, validate_every: int) -> None:
        self.config, self.state, self.validate_every = config, state, validate_every
        self.best: dict[str, Any] = {}
        self.waited = 0
        self.finished = False
        self._asked: int | None = None
        self._handlers: dict[int, Any] = {}

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        if threading.current_thread() is threading.main_thread():
            self._handlers = {s: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)}

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        for number in self._handlers:
            signal.signal(number, self._ask)

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers = {}

    def _ask(self, number: int, _frame: Any) -> None:
        """Request a stop after this step, and restore the previous handler for a second signal."""
        self._asked = number
        signal.signal(number, self._handlers[number] if callable(self._handlers[number]) else signal.SIG_DFL)

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any) -> None:
        module = cast(TrainModule, pl_module)
        step = trainer.global_step
        minutes = self.config.max_minutes
        out_of_time = minutes is not None and module.seconds >= 60 * minutes
        if step >= module.total_steps or _any_rank(trainer, out_of_time):
            trainer.should_stop = True
        if trainer.should_stop or step % self.validate_every == 0:
            return
        asked = _any_rank(trainer, self._asked is not None)
        if asked or step % self.config.checkpoint_every == 0:
            self._save(trainer)
        if asked:
            self._stop(step)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        module = cast(TrainModule, pl_module)
        score, step = module.validation["loss"], trainer.global_step
        # the first score can be NaN while the weights are still poor; any other score is better
        if self.config.keep == "last" or not self.best or score < self.best["score"] or math.isnan(self.best["score"]):
            with module.ema.applied(module.potential):
                weights = {name: t.detach().cpu().clone() for name, t in module.potential.state_dict().items()}
            self.best = {"score": score, "step": step, "weights": weights}
            self.waited = 0
        else:
            self.waited += 1
        if self.config.patience is not None and self.waited >= self.config.patience:
            trainer.should_stop = True
        self.finished = trainer.should_stop
        self._save(trainer)
        if not self.finished and _any_rank(trainer, self._asked is not None):
            self._stop(step)

    def _save(self, trainer: L.Trainer) -> None:
        trainer.save_checkpoint(self.state)

    def _stop(self, step: int) -> None:
        raise TrainingStopped(
            f"{self.config.run}: stopped after step {step}, as asked; run the same command again to resume"
        )

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "waited": self.waited, "finished": self.finished}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.best, self.waited, self.finished = state["best"], state["waited"], state["finished"]


def _any_rank(trainer: L.Trainer, yes: bool) -> bool:
    return trainer.strategy.reduce_boolean_decision(yes, all=False) if trainer.world_size > 1 else yes


def metrics_columns() -> list[str]:
    """Columns of `metrics.csv`; errors are in the units of `gnnpot.units`, energies per atom."""
    columns = ["step", "epoch", "minutes", "lr"]
    for part, kinds in (("train", ("mae", "labels")), ("validation", ("mae", "rmse"))):
        columns += [f"{part}_loss", *(f"{part}_{name}_{kind}" for kind in kinds for name in QUANTITIES)]
    return columns


class MetricsLog(Callback):
    """Writes metrics to `metrics.csv` and to Lightning's loggers. A resumed run drops the lines after its state."""

    def __init__(self, path: Path, config: RunConfig) -> None:
        self.path, self.config = path, config

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        kept = []
        if self.path.exists():
            with self.path.open(encoding="utf-8", newline="") as file:
                kept = [row for row in csv.DictReader(file) if _step_of(row) <= trainer.global_step]
        partial = self.path.with_suffix(".partial")
        with appending(self.path):
            with partial.open("w", encoding="utf-8", newline="") as file:
                writer = csv.DictWriter(file, metrics_columns())
                writer.writeheader()
                writer.writerows(kept)
            partial.replace(self.path)

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any) -> None:
        module = cast(TrainModule, pl_module)
        if trainer.global_step % self.config.log_every == 0:
            self._write(trainer, module, "train", module.metrics)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        module = cast(TrainModule, pl_module)
        self._write(trainer, module, "validation", module.validation)

    def _write(self, trainer: L.Trainer, module: TrainModule, part: str, metrics: dict[str, float]) -> None:
        if not trainer.is_global_zero:
            return
        step = trainer.global_step
        epoch = step / max(module.steps_per_epoch, 1.0)
        row = {"step": step, "epoch": f"{epoch:.3f}", "minutes": f"{module.seconds / 60:.3f}", "lr": module.rate}
        row |= {f"{part}_{name}": value for name, value in metrics.items()}
        with appending(self.path), self.path.open("a", encoding="utf-8", newline="") as file:
            shown = {k: f"{v:.6g}" if type(v) is float else v for k, v in row.items()}
            csv.DictWriter(file, metrics_columns()).writerow(shown)
        for logger in trainer.loggers:
            logger.log_metrics({f"{part}/{name}": value for name, value in metrics.items()}, step=step)
            logger.log_metrics({"lr": module.rate}, step=step)


def _step_of(row: dict[str, str]) -> int:
    """Step of a line; for a truncated line, a number larger than any step."""
    complete = row.get(metrics_columns()[-1]) is not None and (row.get("step") or "").isdigit()
    return int(row["step"]) if complete else 2**62


class ReportProgress(Callback):
    """Reports the completed fraction, the step, and the errors of the last validation."""

    def __init__(self, config: RunConfig, progress: Progress) -> None:
        self.config, self.progress = config, progress
        self._errors = ""

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any) -> None:
        module = cast(TrainModule, pl_module)
        self._report(trainer, module)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        module = cast(TrainModule, pl_module)
        found, errors = module.validation, []
        for name, unit, factor in (("energy", "meV/atom", 1e3), ("forces", "eV/Å", 1.0)):
            if f"{name}_mae" in found:
                errors.append(f"{factor * found[f'{name}_mae']:.3g} {unit}")
        self._errors = "MAE " + ", ".join(errors) if errors else ""
        self._report(trainer, module)

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        if trainer.is_global_zero:
            self.progress("training", 1.0, 1.0)

    def _report(self, trainer: L.Trainer, module: TrainModule) -> None:
        if not trainer.is_global_zero:
            return
        done = trainer.global_step / max(module.total_steps, 1)
        if self.config.max_minutes is not None:
            done = max(done, module.seconds / (60 * self.config.max_minutes))
        words = [self._errors, f"step {trainer.global_step}"]
        self.progress("training", min(done, 0.999), 1.0, ", ".join(filter(None, words)))
