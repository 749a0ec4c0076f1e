"""Training of a learned functional: first SOAP on batches, then L-BFGS on all samples.

    functional = train(samples, TrainConfig(), folder)

Second-order information is essential: in 300 steps, SOAP (N. Vyas et al., arXiv:2409.11321) reaches half the loss that
Adam and 60 evaluations of L-BFGS (SciPy) reach in the same time. SOAP evaluates the network in single precision, which
changes the loss by a fraction of 1e-4; L-BFGS in double precision.

The state is saved to `folder` at regular intervals, and an interrupted run resumes from it. The history of L-BFGS is
not saved.
"""

import dataclasses
import io
import json
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from pytorch_optimizer import SOAP
from scipy.optimize import minimize
from torch import Tensor, nn

from gnnpot.compiler.memory import keep_freed_memory
from gnnpot.config import from_mapping, to_mapping
from gnnpot.domains import INTEGER_FROM_0, INTEGER_FROM_1, NOT_NEGATIVE, POSITIVE, check_fields
from gnnpot.errors import ConfigError, DataError
from gnnpot.functional.data import Sample
from gnnpot.functional.network import LearnedFunctional, NetworkConfig, build
from gnnpot.functional.training_set import Batch, LossWeights, batch_loss, make_batches
from gnnpot.runs.files import write_bytes
from gnnpot.runs.guard import check_name, check_new_run
from gnnpot.runs.identity import differences
from gnnpot.runs.lock import RunLock

#: number of evaluations after which the state is saved
SAVE_EVERY = 10
STATE = "state.npz"
#: number of warm-up steps of SOAP, at the start and after a resume
WARM_UP = 20


@dataclasses.dataclass(frozen=True)
class Stage:
    """Stage of L-BFGS, with the weights of the loss."""

    #: largest number of evaluations of the loss
    evaluations: Annotated[int, INTEGER_FROM_0] = 150
    #: weight of the squared error of the potential; the weight of the squared error of the density is 1
    potential: Annotated[float, NOT_NEGATIVE] = 0.03
    #: weight of the squared error of the kinetic energy per electron
    energy: Annotated[float, NOT_NEGATIVE] = 200.0

    def __post_init__(self) -> None:
        check_fields(self)


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """Options of a functional's training.

    During SOAP, the weights of the loss change geometrically from those of `first` to those of the first stage.
    """

    #: kind and sizes of the network
    network: NetworkConfig = dataclasses.field(default_factory=NetworkConfig)
    #: number of steps of SOAP, with one batch each; 0: L-BFGS only
    soap_steps: Annotated[int, INTEGER_FROM_0] = 1500
    #: highest learning rate of SOAP, which decays to a fiftieth along a cosine
    rate: Annotated[float, POSITIVE] = 1e-2
    #: weights of the loss at the first step of SOAP; its `evaluations` are not used
    first: Stage = dataclasses.field(default_factory=lambda: Stage(0, 0.1, 20.0))
    #: consecutive stages of L-BFGS
    stages: tuple[Stage, ...] = (Stage(60, 0.03, 300.0),)
    #: weight of a non-interacting sample; the weight of a self-consistent sample is 1
    triple_weight: Annotated[float, NOT_NEGATIVE] = 0.3
    #: number of pairs of steps and gradients in the history of L-BFGS
    history: Annotated[int, INTEGER_FROM_1] = 40

    def __post_init__(self) -> None:
        check_fields(self)
        if not self.stages:
            raise ValueError("stages: there are none; give at least one")


Progress = Callable[[str, int, int, float], None]


def train(
    samples: Sequence[Sample], config: TrainConfig, folder: Path, progress: Progress | None = None
) -> LearnedFunctional:
    """Train a functional.

    Args:
        samples: Training samples.
        config: Options of the training.
        folder: Folder of the state; an interrupted run is resumed.
        progress: Called with the name of the stage, the step, the number of steps and the loss.

    Returns:
        The trained functional.

    Raises:
        ConfigError: `folder` contains a run with another configuration or other samples.
        DataError: There are no samples, or another process trains in the folder.
    """
    keep_freed_memory()
    check_training_folder(folder)
    folder.mkdir(parents=True, exist_ok=True)
    functional = build(config.network)
    run = _Run(functional, config, folder, sorted(s.name for s in samples), progress)
    with RunLock(folder, "a training"):
        run.resume()
        if run.done[0] < config.soap_steps:
            run.soap(make_batches(samples, config.triple_weight, torch.float32))
        if any(stage.evaluations for stage in config.stages):
            batches = make_batches(samples, config.triple_weight)
            for number, stage in enumerate(config.stages):
                run.minimise(number, stage, batches)
    return functional


def check_training_folder(folder: Path) -> None:
    """Check that a training can start or resume in a folder. Raises errors like `gnnpot.runs.guard.check_new_run`."""
    if not (check_name(folder) / STATE).exists():
        check_new_run(folder, "--output")


class _Run:
    """State of a training: weights, and number of completed steps of each stage."""

    def __init__(
        self,
        functional: LearnedFunctional,
        config: TrainConfig,
        folder: Path,
        names: list[str],
        progress: Progress | None,
    ) -> None:
        self.functional, self.config, self.folder = functional, config, folder
        self.identity = json.dumps({"config": to_mapping(config), "samples": names}, sort_keys=True)
        self.progress = progress or (lambda *_: None)
        self.parameters = list(functional.parameters())
        self.done = [0] * (1 + len(config.stages))

    def resume(self) -> None:
        path = self.folder / STATE
        if not path.exists():
            # the state marks the folder as that of a training
            self.save()
            return
        try:
            with np.load(path, allow_pickle=False) as state:
                begun, vector, done = json.loads(str(state["identity"])), state["parameters"], state["done"].tolist()
        except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise DataError(f"{path}: can't be read ({error}); delete it to begin the training again") from None
        if different := differences(begun, json.loads(self.identity)):
            named = "; ".join(f"{name}: {how}" for name, how in different.items())
            raise ConfigError(f"{self.folder}: contains a training with another {named}; name another folder")
        self._set(vector)
        self.done = done

    def save(self) -> None:
        buffer = io.BytesIO()
        np.savez(buffer, identity=np.array(self.identity), parameters=self._vector(), done=np.array(self.done))
        write_bytes(self.folder / STATE, buffer.getvalue())

    def soap(self, batches: list[Batch]) -> None:
        """Run SOAP, with one batch per step; its averages are not saved and start again after a resume."""
        config = self.config
        first = self.done[0]
        optimizer = SOAP(
            self.parameters, lr=config.rate, betas=(0.95, 0.95), precondition_frequency=5, weight_decay=0.0
        )
        shares = np.array([float(batch.weights.sum()) for batch in batches])
        for step in range(first, config.soap_steps):
            part = step / config.soap_steps
            rate = config.rate * max(0.5 * (1 + np.cos(np.pi * part)), 0.02) * min(1.0, (step - first + 1) / WARM_UP)
            optimizer.param_groups[0]["lr"] = rate
            random = np.random.default_rng([config.network.seed, step])
            batch = batches[random.choice(len(batches), p=shares / shares.sum())]
            optimizer.zero_grad()
            loss = batch_loss(self.functional, batch, self._weights(part))[0] / batch.weights.sum()
            loss.backward(inputs=self.parameters)
            nn.utils.clip_grad_norm_(self.parameters, 1.0)
            optimizer.step()
            self.done[0] = step + 1
            if (step + 1) % (5 * SAVE_EVERY) == 0 or step + 1 == config.soap_steps:
                self.save()
            self.progress("SOAP", step + 1, config.soap_steps, float(loss.detach()))

    def _weights(self, part: float) -> LossWeights:
        first, last = self.config.first, self.config.stages[0]
        potential = first.potential ** (1 - part) * last.potential**part
        return LossWeights(potential=potential, energy=first.energy ** (1 - part) * last.energy**part)

    def minimise(self, number: int, stage: Stage, batches: list[Batch]) -> None:
        """Run L-BFGS with the weights of `stage` for the remaining evaluations of the stage."""
        weights = LossWeights(potential=stage.potential, energy=stage.energy)
        left = stage.evaluations - self.done[1 + number]
        if left <= 0:
            return
        best = (np.inf, self._vector())

        def evaluate(vector: np.ndarray) -> tuple[float, np.ndarray]:
            nonlocal best
            self._set(vector)
            loss, gradient = self._loss(weights, batches)
            if loss < best[0]:
                best = (loss, vector.copy())
            self.done[1 + number] += 1
            if self.done[1 + number] % SAVE_EVERY == 0:
                self._set(best[1])
                self.save()
            self.progress(
                f"L-BFGS {number + 1}", min(self.done[1 + number], stage.evaluations), stage.evaluations, loss
            )
            return loss, gradient

        options = {"maxcor": self.config.history, "maxfun": left, "maxiter": left, "ftol": 1e-12, "gtol": 1e-10}
        minimize(evaluate, self._vector(), jac=True, method="L-BFGS-B", options=options)
        self._set(best[1])
        self.done[1 + number] = max(self.done[1 + number], stage.evaluations)
        self.save()

    def _loss(self, weights: LossWeights, batches: list[Batch]) -> tuple[float, np.ndarray]:
        """Weighted mean of the loss over the samples, and its gradient."""
        total, count = 0.0, float(sum(batch.weights.sum() for batch in batches))
        for parameter in self.parameters:
            parameter.grad = None
        for batch in batches:
            loss = batch_loss(self.functional, batch, weights)[0] / count
            loss.backward(inputs=self.parameters)
            total += float(loss.detach())
        gradient = [_gradient(parameter).reshape(-1) for parameter in self.parameters]
        return total, torch.cat(gradient).numpy()

    def _vector(self) -> np.ndarray:
        return nn.utils.parameters_to_vector(self.parameters).detach().numpy().copy()

    def _set(self, vector: np.ndarray) -> None:
        with torch.no_grad():
            nn.utils.vector_to_parameters(torch.from_numpy(np.array(vector)), self.parameters)


def _gradient(parameter: Tensor) -> Tensor:
    return torch.zeros_like(parameter) if parameter.grad is None else parameter.grad


def read_train_config(mapping: dict, where: str = "train") -> TrainConfig:
    """Read a configuration from a mapping. Raises `ConfigError`."""
    return from_mapping(TrainConfig, mapping, where)
