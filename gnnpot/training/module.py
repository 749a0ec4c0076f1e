"""The Lightning module: a potential, its loss, its optimiser, the average of its weights."""

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
#: of the paper's experiments
SOAP_BETAS = (0.95, 0.95)
#: a side of a weight matrix that is longer is left in its own basis: an eigenbasis costs its cube
SOAP_LARGEST = 512


class TrainingError(GnnpotError):
    """A run that has left the numbers: its loss is not finite."""


class TrainingStopped(GnnpotError):
    """A run that was asked to stop (Ctrl-C, SIGTERM), and has saved where it was."""


class TrainModule(L.LightningModule):
    """Trains the parameters of `potential` that require a gradient.

    Attributes:
        rates: factors of the learning rate by name of a parameter, 1 if not there.
        seconds: wall time of the run, also before it resumed, without that of compiling kernels.
        metrics: those of the last training batch.
        validation: those of the last validation.
        rate: the learning rate.
    """

    def __init__(
        self,
        potential: Potential,
        config: RunConfig,
        total_steps: int,
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
        """Equation (1) of `training.loss`; over all ranks together, so that their number does not matter."""
        errors = label_errors(self._predict(batch, training=True), batch)
        sums, counts = loss_sums(errors, self.config.loss)
        ranks = self.trainer.world_size
        total = {q: float(n) for q, n in counts.items()}
        if ranks > 1:
            # ranks' gradients are averaged later, hence the factor
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
        # here, not in a hook after the batch: a state saved after the batch must hold the new average
        self.ema.update(self.potential)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        options = self.config.optimizer
        groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
        for name, parameter in self.potential.named_parameters():
            if parameter.requires_grad:
                decays = parameter.ndim >= 2 and "embedding" not in name and "bias" not in name
                groups.setdefault((self._rates.get(name, 1.0), decays), []).append(parameter)
        # the same order in every process: a resumed optimiser knows its groups by their place
        ordered = sorted(groups, reverse=True)
        self._factors = [factor for factor, _ in ordered]
        settings = [
            {"params": groups[key], "lr": key[0] * options.lr, "weight_decay": options.weight_decay if key[1] else 0.0}
            for key in ordered
        ]
        if options.name == "soap":
            # here: its package, with a hundred others, takes a second to import, which all of training would wait for
            from gnnpot.training.soap import KeepingSOAP

            betas = options.betas or SOAP_BETAS
            return KeepingSOAP(settings, lr=options.lr, betas=betas, max_precondition_dim=SOAP_LARGEST)
        cls = torch.optim.AdamW if options.name == "adamw" else torch.optim.Adam
        betas = options.betas or ADAM_BETAS
        # one kernel for all parameters, not a dozen operations for each
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
        # here, not after validation: callbacks that save at its end must find the weights themselves
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
    """Rate of the step after `step` steps, `progress` (0 to 1) into the run:

    min(1, (step + 1)/warmup) [lr_min + ½ (lr - lr_min) (1 + cos(π progress))]

    By the clock, a tenth of the time is warm-up enough: min(1, max((step + 1)/warmup, 10 progress)).
    """
    cosine = 0.5 * (1 + math.cos(math.pi * min(max(progress, 0.0), 1.0)))
    warm = min(1.0, (step + 1) / schedule.warmup_steps) if schedule.warmup_steps else 1.0
    if schedule.horizon == "time":
        warm = min(1.0, max(warm, 10 * progress))
    low = min(schedule.lr_min, lr)
    return warm * (low + (lr - low) * cosine)
