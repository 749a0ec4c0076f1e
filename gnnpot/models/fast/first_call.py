"""What a model's first call compiles, known before it is called: `first_call.json`.

    with compiled_together(lambda: first_call(model)):      # in several processes, where nothing is kept
        model.energies_and_gradient(graph)

The types of a kernel's arguments follow from the architecture, the precision, and whether it trains. A list of them
saves time and decides nothing else: what is missing in it is compiled when it is called, what is too much is compiled
in vain. `scripts/fixtures/make_first_call.py` makes it, and a test compares it with what is called.
"""

import functools
import json
from importlib import resources
from typing import Any

import torch

from gnnpot.compiler.overloads import Overload

PREDICTION, TRAINING = "prediction", "training"


def first_call(model: torch.nn.Module, use: str = PREDICTION, dtype: torch.dtype | None = None) -> list[Overload]:
    """The overloads that a model needs on the processor, with those of its graph; none of a model without kernels, of
    an architecture that is not gnnpot's own, nor on another device.

    Args:
        model: of `gnnpot.models`.
        use: `PREDICTION` or `TRAINING`.
        dtype: precision; `None`: the one in which the model calculates.
    """
    parameter = next(model.parameters(), None)
    if parameter is None or parameter.device.type != "cpu" or not getattr(model, "has_kernels", False):
        return []
    architecture = getattr(getattr(model, "config", None), "architecture", "")
    fast_dtype = getattr(model, "fast_dtype", None) if use == PREDICTION else None
    wanted = use_name(dtype or fast_dtype or parameter.dtype, use)
    rows = _rows().get(architecture, ())
    return [Overload(row["kernel"], row["types"], row["seconds"]) for row in rows if wanted in row["uses"]]


def use_name(dtype: torch.dtype, use: str) -> str:
    """What `first_call.json` calls a use in a precision."""
    return f"{str(dtype).removeprefix('torch.')} {use}"


@functools.cache
def _rows() -> dict[str, list[dict[str, Any]]]:
    file = resources.files("gnnpot.models.fast") / "first_call.json"
    found: dict[str, list[dict[str, Any]]] = json.loads(file.read_text(encoding="utf-8"))
    return found
