"""Aim of a fine-tuning, and the default optimiser and strategy for it.

    aim = choose_aim(None, given)                      # "this-system", unless the options preserve earlier knowledge
    aim_options(aim, "sevennet", 200, given)           # optimizer and strategy, as a mapping

- `this-system`: the potential is for systems like the frames only. All layers have the same learning rate, measured
  for the architecture, and the optimiser is SOAP. In a given time, this lowers the errors on the new system most, and
  raises those on other systems most.
- `general`: the potential is for other systems, too. It is trained with AdamW and a small learning rate, which is
  smaller for layers farther from the energy, and a quarter of each batch are earlier frames. This preserves the
  accuracy on other systems, and lowers the errors on the new system less.

The rates are those of `docs/fine-tuning.md`. Architectures without a measured rate are trained with AdamW in both
cases. For a SevenNet and at least `MANY_FRAMES` frames, the learning rate is higher and forces have a larger weight: on
the silicon and nickel sets of mlearn, this lowers the errors on validation frames by a tenth to a third in the same
time (`scripts/studies/mlearn/recipes.py`).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from gnnpot.errors import CheckpointError, ConfigError, suggest
from gnnpot.hub.card import read_card
from gnnpot.hub.locating import RUN_MODEL
from gnnpot.hub.registry import is_known, resolve
from gnnpot.hub.shipped import resolve_alias, shipped
from gnnpot.workflows.finetune.strategies import AllWeights

Aim = Literal["this-system", "general"]
AIMS: tuple[Aim, ...] = ("this-system", "general")
#: learning rates of SOAP by architecture, with equal rates in all layers
SOAP_RATES = {"sevennet": 5e-3, "nequix": 2e-3}
#: options for at least `MANY_FRAMES` frames, by architecture
WITH_MANY_FRAMES: dict[str, dict[str, Any]] = {
    "sevennet": {"optimizer": {"lr": 1.5e-2}, "loss": {"forces": 4.0}, "ema": 0.998}
}
#: number of training and validation frames from which `WITH_MANY_FRAMES` applies
MANY_FRAMES = 60
#: learning rate of AdamW
ADAMW_RATE = 1e-3
WEIGHT_DECAY = 1e-5


def choose_aim(aim: str | None, given: Mapping[str, Any]) -> Aim:
    """Check the aim of a fine-tuning with the options `given`, or choose it if `aim` is `None`.

    Raises:
        ConfigError: The aim is not known, or the options contradict it.
    """
    kind = _options(given, "strategy").get("kind", AllWeights.kind)
    moves_all = kind == AllWeights.kind and not _options(given, "replay").get("share")
    if aim is None:
        return "this-system" if moves_all else "general"
    if aim not in AIMS:
        raise ConfigError(f"--for {aim}: is no aim; {suggest(aim, AIMS)}")
    if aim == "this-system" and not moves_all:
        raise ConfigError(
            f"--for this-system: trains all weights without replay, which the strategy '{kind}' or its replay "
            "contradicts; leave one of the two out"
        )
    return aim


def aim_options(aim: Aim, architecture: str | None, frames: int, given: Mapping[str, Any]) -> dict[str, Any]:
    """Default options for an aim: optimiser, strategy, and, for many frames, loss weights and moving average.

    Args:
        aim: Systems that the potential is for.
        architecture: Architecture of the starting potential; `None` if it is not known.
        frames: Number of training and validation frames.
        given: Options of the user; another optimiser than SOAP gets the rate of AdamW.

    Returns:
        Mapping of options; those of the user take precedence.
    """
    rate = SOAP_RATES.get(architecture or "")
    named = _options(given, "optimizer").get("name", "soap")
    if aim == "this-system" and rate is not None and named == "soap":
        optimizer: dict[str, Any] = {"name": "soap", "lr": rate, "weight_decay": WEIGHT_DECAY}
        options: dict[str, Any] = {"optimizer": optimizer, "strategy": {"kind": AllWeights.kind, "decay": 1.0}}
        many = WITH_MANY_FRAMES.get(architecture or "", {}) if frames >= MANY_FRAMES else {}
        return options | many | {"optimizer": optimizer | many.get("optimizer", {})}
    return {
        "optimizer": {"lr": ADAMW_RATE, "weight_decay": WEIGHT_DECAY},
        "strategy": {"kind": AllWeights.kind},
    }


def architecture_of(start: str) -> str | None:
    """Architecture of a potential, from its card or its registered family; `None` if neither exists."""
    for folder in (Path(start), Path(start) / RUN_MODEL, shipped().get(resolve_alias(start))):
        if folder is not None:
            try:
                return read_card(folder)["model"]["architecture"]
            except (CheckpointError, KeyError):
                continue
    return resolve(resolve_alias(start))[0].family if is_known(resolve_alias(start)) else None


def _options(given: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Mapping `name` of the options; an empty one for other values, which raise an error when the options are read."""
    value = given.get(name)
    return value if isinstance(value, Mapping) else {}
