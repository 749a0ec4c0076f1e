"""List of the kernels that the first call of a model compiles, `first_call.json`, so that they compile in parallel.

    with compiled_together(lambda: first_call(model)):      # in several processes, if kernels are not cached
        model.energies_and_gradient(graph)

The argument types of the kernels follow from the architecture, the precision, and the use (prediction or training). The
list only saves time: a missing kernel is compiled when it is called, and a superfluous one is compiled in vain.
`scripts/fixtures/make_first_call.py` makes the list, and a test compares it with the kernels that are called.
"""

import functools
import json
from importlib import resources
from typing import Any

import torch

from gnnpot.compiler.overloads import Overload

PREDICTION, TRAINING = "prediction", "training"


def first_call(model: torch.nn.Module, use: str = PREDICTION, dtype: torch.dtype | None = None) -> list[Overload]:
    """Return the kernel overloads that a model and its graph need on the CPU.

    Args:
        model: A model of `gnnpot.models`.
        use: `PREDICTION` or `TRAINING`.
        dtype: Precision; `None`: that of the model.

    Returns:
        The overloads; an empty list for models without kernels, for architectures of other packages, and for other
        devices.
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
    """Name of a precision and use in `first_call.json`."""
    return f"{str(dtype).removeprefix('torch.')} {use}"


@functools.cache
def _rows() -> dict[str, list[dict[str, Any]]]:
    file = resources.files("gnnpot.models.fast") / "first_call.json"
    found: dict[str, list[dict[str, Any]]] = json.loads(file.read_text(encoding="utf-8"))
    return found
