"""What a fine-tuning is for, and the optimiser that serves it.

    aim = choose_aim(None, given)                      # "this-system", unless the options keep what was known
    aim_options(aim, "sevennet", 200, given)           # optimizer and strategy, as a mapping

- `this-system`: the potential will be asked about systems like the frames only. All layers move alike, by SOAP, at a
  rate that was measured for the architecture. It wins most of the new system in the same time, and forgets most of the
  others.
- `general`: it will be asked about other systems too. AdamW with small steps, those far from the energy smaller, and a
  quarter of each batch are earlier frames. It keeps what was known, and wins less.

The rates are those of `docs/fine-tuning.md`. Architectures without a measured rate are trained by AdamW in both cases.
For a SevenNet and `MANY_FRAMES` or more, steps are larger and forces weigh more: on mlearn's silicon and nickel that
lowers the errors of the validation frames by a tenth to a third in the same time (`scripts/studies/mlearn/recipes.py`).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from gnnpot.errors import CheckpointError, ConfigError, suggest
from gnnpot.hub.card import read_card
from gnnpot.hub.locating import RUN_MODEL
from gnnpot.hub.registry import is_known, resolve
from gnnpot.hub.shipped import name_of, shipped
from gnnpot.workflows.finetune.strategies import AllWeights

Aim = Literal["this-system", "general"]
AIMS: tuple[Aim, ...] = ("this-system", "general")
#: learning rates of SOAP by architecture, with equal rates in all layers
SOAP_RATES = {"sevennet": 5e-3, "nequix": 2e-3}
#: options that go over those of a few frames, by architecture
WITH_MANY_FRAMES: dict[str, dict[str, Any]] = {
    "sevennet": {"optimizer": {"lr": 1.5e-2}, "loss": {"forces": 4.0}, "ema": 0.998}
}
#: frames that train and validate
MANY_FRAMES = 60
#: of AdamW
CAREFUL_RATE = 1e-3
WEIGHT_DECAY = 1e-5


def choose_aim(aim: str | None, given: Mapping[str, Any]) -> Aim:
    """The aim of a fine-tuning with the options `given`.

    Raises:
        ConfigError: for an aim that is not known, or one that the options contradict.
    """
    kind = _options(given, "strategy").get("kind", AllWeights.kind)
    moves_all = kind == AllWeights.kind and not _options(given, "replay").get("share")
    if aim is None:
        return "this-system" if moves_all else "general"
    if aim not in AIMS:
        raise ConfigError(f"--for {aim}: is no aim; {suggest(aim, AIMS)}")
    if aim == "this-system" and not moves_all:
        raise ConfigError(
            f"--for this-system: moves every weight and replays nothing, the strategy '{kind}' or its replay does not; "
            "leave one of the two out"
        )
    return aim


def aim_options(aim: Aim, architecture: str | None, frames: int, given: Mapping[str, Any]) -> dict[str, Any]:
    """Optimiser, strategy and weights for an aim, as a mapping of options.

    Args:
        aim: what the potential is for.
        architecture: of the start; None: not known.
        frames: that train and validate.
        given: options of the user; an optimiser among them has its own rate.

    Returns:
        Options that those of the user go over.
    """
    rate = SOAP_RATES.get(architecture or "")
    named = _options(given, "optimizer").get("name", "soap")
    if aim == "this-system" and rate is not None and named == "soap":
        optimizer: dict[str, Any] = {"name": "soap", "lr": rate, "weight_decay": WEIGHT_DECAY}
        options: dict[str, Any] = {"optimizer": optimizer, "strategy": {"kind": AllWeights.kind, "decay": 1.0}}
        many = WITH_MANY_FRAMES.get(architecture or "", {}) if frames >= MANY_FRAMES else {}
        return options | many | {"optimizer": optimizer | many.get("optimizer", {})}
    return {
        "optimizer": {"lr": CAREFUL_RATE, "weight_decay": WEIGHT_DECAY},
        "strategy": {"kind": AllWeights.kind},
    }


def architecture_of(start: str) -> str | None:
    """The architecture of a potential by its card or its registered family; None: neither is there yet."""
    for folder in (Path(start), Path(start) / RUN_MODEL, shipped().get(name_of(start))):
        if folder is not None:
            try:
                return read_card(folder)["model"]["architecture"]
            except (CheckpointError, KeyError):
                continue
    return resolve(name_of(start))[0].family if is_known(name_of(start)) else None


def _options(given: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A mapping among the options; what is none is refused when the options are read."""
    value = given.get(name)
    return value if isinstance(value, Mapping) else {}
