"""Isolation from PyTorch modes and defaults set by the user; conversion of devices and dtypes.

with default_modes():
    ...                              # as in a new process: no inference mode, no autocast, tensors on the CPU

as_device("cuda"), as_dtype("float64")           # or ConfigError
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch

from gnnpot.errors import ConfigError

#: dtypes of models, by name
DTYPES = {"float32": torch.float32, "float64": torch.float64}


def default_modes() -> contextlib.AbstractContextManager[None]:
    """Context manager without inference mode and autocast, in which new tensors are on the CPU.

    In inference mode, PyTorch computes no derivatives, even if they are requested explicitly.
    """
    return _NOTHING if has_default_modes() else _without_modes()


_NOTHING = contextlib.nullcontext()


@contextlib.contextmanager
def _without_modes() -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        if torch.is_inference_mode_enabled():
            stack.enter_context(torch.inference_mode(mode=False))
        if torch.empty(0).device.type != "cpu":
            stack.enter_context(torch.device("cpu"))
        for device in ("cpu", "cuda"):
            if torch.is_autocast_enabled(device):
                stack.enter_context(torch.autocast(device, enabled=False))
        yield


def has_default_modes() -> bool:
    """Whether the modes and the default device are those of `default_modes` already."""
    return not (
        torch.is_inference_mode_enabled()
        # ten times faster than torch.get_default_device; called at each step of dynamics
        or torch.empty(0).device.type != "cpu"
        or torch.is_autocast_enabled("cpu")
        or torch.is_autocast_enabled("cuda")
    )


def as_device(device: Any) -> torch.device | None:
    """Convert a name, an index or a device to a `torch.device`; `None` is returned unchanged.

    Raises:
        ConfigError: The device does not exist, can't be used on this machine, or has no float64.
    """
    if device is None:
        return None
    try:
        chosen = torch.device(device)
        if chosen.type == "meta":
            raise RuntimeError("it has no numbers")
        # energies are sums in float64, which Apple's MPS does not have
        torch.zeros(1, dtype=torch.float64, device=chosen)
    except (RuntimeError, AssertionError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"device {device}: can't be used here ({reason}); leave it out to use the CPU") from None
    return chosen


def as_dtype(dtype: Any) -> torch.dtype | None:
    """Convert a name or a PyTorch dtype to a `torch.dtype`; `None` is returned unchanged.

    Raises:
        ConfigError: Models do not support the dtype.
    """
    if dtype is None or dtype in DTYPES.values():
        return dtype
    name = str(dtype).removeprefix("torch.") if isinstance(dtype, str | torch.dtype) else None
    if name not in DTYPES:
        raise ConfigError(f"dtype {dtype!r}: models calculate in float32 or float64; give one of them, or its name")
    return DTYPES[name]
