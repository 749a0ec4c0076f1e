"""One Lightning module trains every architecture."""

import copy
import math
import time
from typing import Any

import lightning as L
import torch
from torch import Tensor

from gnnpot.graphs import Graph
from gnnpot.potential import Potential
from gnnpot.training.config import TrainConfig
from gnnpot.training.loss import LABELS, compute_loss, label_error


class TrainingModule(L.LightningModule):
    """`potential` learns; `average`, an exponential moving average of its weights, is what is validated and saved.

    With decay β the average follows a ← max(0, β_t) a + (1 - β_t) θ, β_t = min(β, (1+t)/(10+t)) after t steps, which
    forgets the random start early on.
    """

    def __init__(self, potential: Potential, config: TrainConfig, total_steps: int) -> None:
        super().__init__()
        self.potential = potential
        self.average = copy.deepcopy(potential).requires_grad_(False)
        self.config, self.total_steps = config, total_steps
        self.elapsed = 0.0
        self._clock: float | None = None
        self._sums: dict[str, Tensor] = {}

    def training_step(self, batch: Graph, _index: int) -> Tensor:
        loss = compute_loss(self._predict(self.potential, batch, training=True), batch, self.config.loss)
        structures = batch.cell.shape[0]
        self.log("train_loss", loss.total, prog_bar=True, on_step=False, on_epoch=True, batch_size=structures)
        for label, count in loss.counts.items():
            self.log(f"train_labels_{label}", float(count), on_step=False, on_epoch=True, reduce_fx="sum", batch_size=1)
        return loss.total

    def _predict(self, potential: Potential, batch: Graph, training: bool) -> Any:
        weights = self.config.loss
        return potential(batch, forces=weights.forces > 0, stress=weights.stress > 0, training=training)

    def on_train_start(self) -> None:
        self._clock = time.monotonic()

    def on_train_batch_start(self, _batch: Graph, _index: int) -> int | None:
        now = time.monotonic()
        self.elapsed += now - self._clock
        self._clock = now
        limit = self.config.trainer.max_minutes
        if limit is not None and self.elapsed >= 60 * limit:
            self.trainer.should_stop = True
            return -1
        for group in self.optimizers().param_groups:
            group["lr"] = self.learning_rate(self.global_step)
        return None

    def learning_rate(self, step: int) -> float:
        """Linear warm-up, then a cosine from `learning_rate` to its `final_fraction`."""
        options = self.config.optimizer
        limit = self.config.trainer.max_minutes
        progress = step / self.total_steps if limit is None else self.elapsed / (60 * limit)
        cosine = 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))
        decayed = options.final_fraction + (1 - options.final_fraction) * cosine
        return options.learning_rate * decayed * min(1.0, (step + 1) / max(options.warmup_steps, 1))

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        super().optimizer_step(*args, **kwargs)
        # here and not in a hook after the batch, so that a state saved after the batch holds the new average
        step = self.global_step
        decay = min(self.config.optimizer.ema_decay, (1 + step) / (10 + step))
        with torch.no_grad():
            for mean, value in zip(self.average.parameters(), self.potential.parameters(), strict=True):
                mean.lerp_(value, 1 - decay)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        options = self.config.optimizer
        matrices, others = [], []
        for name, parameter in self.potential.named_parameters():
            decays = parameter.ndim >= 2 and "embedding" not in name and "biases" not in name
            (matrices if decays else others).append(parameter)
        groups = [{"params": matrices, "weight_decay": options.weight_decay}, {"params": others, "weight_decay": 0.0}]
        return torch.optim.AdamW([g for g in groups if g["params"]], lr=options.learning_rate)

    def on_validation_epoch_start(self) -> None:
        self._sums = {}

    def validation_step(self, batch: Graph, _index: int) -> None:
        with torch.enable_grad():
            prediction = self._predict(self.average, batch, training=False)
        for label in LABELS:
            if not getattr(self.config.loss, label):
                continue
            error = label_error(prediction, batch, label)
            if error is not None:
                sums = torch.stack([error.abs().sum(), (error**2).sum(), error.new_tensor(error.numel())]).double()
                self._sums[label] = self._sums.get(label, torch.zeros_like(sums)) + sums

    def on_validation_epoch_end(self) -> None:
        loss = 0.0
        for label, sums in self._sums.items():
            absolute, square, count = sums.tolist()
            if count:
                self.log(f"validation_{label}_mae", absolute / count, prog_bar=label in ("energy", "forces"))
                self.log(f"validation_{label}_rmse", math.sqrt(square / count))
                loss += getattr(self.config.loss, label) * absolute / count
        self.log("validation_loss", loss)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["elapsed"] = self.elapsed

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.elapsed = checkpoint["elapsed"]
