"""Lightning module of a training: potential, loss, optimiser, and average of the weights."""

import math
from collections.abc import Mapping
from typing import Any

import lightning as L
import torch
from torch import Tensor, nn

from gnnpot.compiler.events import working_time
from gnnpot.data.quantities import QUANTITIES
from gnnpot.errors import GnnpotError
from gnnpot.graphs import Graph
from gnnpot.potential import Potential, Prediction
from gnnpot.training.config import RunConfig, ScheduleConfig
from gnnpot.training.ema import EMA
from gnnpot.training.loss import label_errors, loss_sums, pointwise, total_loss, weights

ADAM_BETAS = (0.9, 0.999)
#: values of the experiments in the paper (Vyas et al. 2024)
SOAP_BETAS = (0.95, 0.95)
#: largest dimension of a weight matrix for which an eigenbasis is used, as its cost is cubic in the dimension
SOAP_LARGEST = 512


class TrainingError(GnnpotError):
    """The loss of a run is not finite."""


class TrainingStopped(GnnpotError):
    """A run was stopped by Ctrl-C or SIGTERM, after its state was saved."""


class TrainModule(L.LightningModule):
    """Trains the parameters of `potential` that require a gradient.

    Attributes:
        seconds: Wall time of the run, including that before it was resumed, excluding compilation of kernels.
        metrics: Metrics of the last training batch.
        validation: Metrics of the last validation.
        rate: Learning rate of the last step.

    Args:
        potential: The potential to train.
        config: Configuration of the run.
        total_steps: Number of steps of the run; infinite without a limit.
        steps_per_epoch: Mean number of steps of an epoch.
        rates: Factors of the learning rate by name of a parameter; 1 for those that are not listed.
    """

    def __init__(
        self,
        potential: Potential,
        config: RunConfig,
        total_steps: float,
        steps_per_epoch: float,
        rates: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__()
        self.potential = potential
        self.config, self.total_steps, self.steps_per_epoch = config, total_steps, steps_per_epoch
        self._rates = dict(rates or {})
        self._factors: list[float] = []
        self.ema = EMA(potential, config.ema)
        self.rate = 0.0
        self.metrics: dict[str, float] = {}
        self.validation: dict[str, float] = {}
        self._seconds = 0.0
        self._started: float | None = None
        self._sums: dict[str, Tensor] = {}

    @property
    def seconds(self) -> float:
        running = 0.0 if self._started is None else working_time() - self._started
        return self._seconds + running

    def training_step(self, batch: Graph, _index: int) -> Tensor:
        """Equation (1) of `training.loss`, over all ranks, so that it does not depend on their number."""
        errors = label_errors(self._predict(batch, training=True), batch)
        sums, counts = loss_sums(errors, self.config.loss)
        ranks = self.trainer.world_size
        total = {q: float(n) for q, n in counts.items()}
        if ranks > 1:
            # DDP averages the gradients of the ranks, hence the division
            reduced = self._sum_over_ranks(torch.tensor(list(total.values()), device=self.device)).tolist()
            total = {q: n / ranks for q, n in zip(total, reduced, strict=True)}
        loss = total_loss(sums, total, self.config.loss)
        value = loss.item()
        if not math.isfinite(value):
            raise TrainingError(
                f"{self.config.run}: the loss is not finite at step {self.global_step}; lower optimizer.lr or clip, "
                "and look for frames with enormous forces"
            )
        self.metrics = {"loss": value}
        for q, error in errors.items():
            if error.numel() and q in counts:
                self.metrics |= {f"{q}_mae": error.detach().abs().mean().item(), f"{q}_labels": counts[q]}
        return loss

    def on_train_start(self) -> None:
        self.ema.to(self.device)
        self._started = working_time()

    def on_train_batch_start(self, _batch: Graph, _index: int) -> None:
        progress = self.global_step / max(self.total_steps, 1)
        if self.config.schedule.horizon == "time" and self.config.max_minutes is not None:
            progress = self.seconds / (60 * self.config.max_minutes)
        rate = learning_rate(self.global_step, progress, self.config.optimizer.lr, self.config.schedule)
        optimizer = self.optimizers()
        if isinstance(optimizer, list):
            raise TypeError("a run has one optimizer")
        for group, factor in zip(optimizer.param_groups, self._factors, strict=True):
            group["lr"] = factor * rate
        self.rate = rate

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        super().optimizer_step(*args, **kwargs)
        # here, not in a hook after the batch, as a state saved after the batch must contain the new average
        self.ema.update(self.potential)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        options = self.config.optimizer
        groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
        for name, parameter in self.potential.named_parameters():
            if parameter.requires_grad:
                decays = parameter.ndim >= 2 and "embedding" not in name and "bias" not in name
                groups.setdefault((self._rates.get(name, 1.0), decays), []).append(parameter)
        # sorted, as a resumed optimiser identifies its groups by their position
        ordered = sorted(groups, reverse=True)
        self._factors = [factor for factor, _ in ordered]
        settings = [
            {"params": groups[key], "lr": key[0] * options.lr, "weight_decay": options.weight_decay if key[1] else 0.0}
            for key in ordered
        ]
        if options.name == "soap":
            # imported here, as its package takes a second to import
            from gnnpot.training.soap import MaskedSOAP

            betas = options.betas or SOAP_BETAS
            return MaskedSOAP(settings, lr=options.lr, betas=betas, max_precondition_dim=SOAP_LARGEST)
        cls = torch.optim.AdamW if options.name == "adamw" else torch.optim.Adam
        betas = options.betas or ADAM_BETAS
        # fused: one kernel for all parameters instead of a dozen operations for each
        return cls(settings, lr=options.lr, betas=betas, amsgrad=options.amsgrad, fused=True)

    def on_validation_start(self) -> None:
        self.ema.swap(self.potential)
        self._sums = {}

    def validation_step(self, batch: Graph, _index: int) -> None:
        errors = label_errors(self._predict(batch, training=False), batch)
        for q in weights(self.config.loss):
            x = errors.get(q)
            if x is not None:
                x = x.detach()
                sums = [x.abs().sum(), x.square().sum(), pointwise(x, self.config.loss).sum(), x.new_tensor(x.numel())]
                self._sums[q] = self._sums.get(q, 0) + torch.stack(sums)

    def on_validation_epoch_end(self) -> None:
        # here, as callbacks that save the state in on_validation_end need the weights, not the average
        self.ema.swap(self.potential)
        loss = 0.0
        found: dict[str, float] = {}
        for q, weight in weights(self.config.loss).items():
            if q not in self._sums:
                continue
            size, square, points, count = self._sum_over_ranks(self._sums[q]).tolist()
            if count:
                loss += weight * points / count
                found |= {f"{q}_mae": size / count, f"{q}_rmse": math.sqrt(square / count)}
        self.validation = {"loss": loss if found else math.nan, **found}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["gnnpot"] = {
            "ema": self.ema.state_dict(),
            "seconds": self.seconds,
            "total_steps": self.total_steps,
            "random": torch.get_rng_state(),
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        state = checkpoint["gnnpot"]
        self.ema.load_state_dict(state["ema"])
        self._seconds = state["seconds"]
        torch.set_rng_state(state["random"].cpu())

    def _predict(self, batch: Graph, training: bool) -> Prediction:
        loss = self.config.loss
        needed = {name: loss.weights[name] > 0 for name, quantity in QUANTITIES.items() if quantity.derivative}
        with torch.set_grad_enabled(training or any(needed.values())):
            return self.potential(batch, **needed, training=training)

    def _sum_over_ranks(self, values: Tensor) -> Tensor:
        return self.trainer.strategy.reduce(values, reduce_op="sum") if self.trainer.world_size > 1 else values


def learning_rate(step: int, progress: float, lr: float, schedule: ScheduleConfig) -> float:
    """Learning rate of the next step after `step` steps:

    min(1, (step + 1)/warmup) [lr_min + ½ (lr - lr_min) (1 + cos(π progress))]

    where `progress` (0 to 1) is the completed fraction of the run. With horizon "time", the warm-up ends after a tenth
    of the run at most: its factor is min(1, max((step + 1)/warmup, 10 progress)).
    """
    cosine = 0.5 * (1 + math.cos(math.pi * min(max(progress, 0.0), 1.0)))
    warm = min(1.0, (step + 1) / schedule.warmup_steps) if schedule.warmup_steps else 1.0
    if schedule.horizon == "time":
        warm = min(1.0, max(warm, 10 * progress))
    low = min(schedule.lr_min, lr)
    return warm * (low + (lr - low) * cosine)
