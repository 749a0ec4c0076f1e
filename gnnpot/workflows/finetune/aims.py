"""What a fine-tuning is for, and the optimiser that serves it.

    aim = choose_aim(None, given)                      # "this-system", unless the options keep what was known
    aim_options(aim, "sevennet", given)                # optimizer and strategy, as a mapping

- `this-system`: the potential will be asked about systems like the frames only. All layers move alike, by SOAP, at a
  rate that was measured for the architecture. It wins most of the new system in the same time, and forgets most of the
  others.
- `general`: it will be asked about other systems too. AdamW with small steps, those far from the energy smaller, and a
  quarter of each batch are earlier frames. It keeps what was known, and wins less.

The rates are those of `docs/fine-tuning.md`. Architectures without a measured rate are trained by AdamW in both cases.
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


def aim_options(aim: Aim, architecture: str | None, given: Mapping[str, Any]) -> dict[str, Any]:
    """Optimiser and strategy for an aim, as a mapping of options; an optimiser that is `given` has its own rate."""
    rate = SOAP_RATES.get(architecture or "")
    named = _options(given, "optimizer").get("name", "soap")
    if aim == "this-system" and rate is not None and named == "soap":
        optimizer: dict[str, Any] = {"name": "soap", "lr": rate, "weight_decay": WEIGHT_DECAY}
        return {"optimizer": optimizer, "strategy": {"kind": AllWeights.kind, "decay": 1.0}}
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
