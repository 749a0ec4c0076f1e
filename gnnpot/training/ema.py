"""Exponential moving average of a model's weights (Polyak & Juditsky 1992).

    θ̄_n = d_n θ̄_(n-1) + (1 - d_n) θ_n,   d_n = min(decay, (1 + n)/(10 + n))

As d_n rises with n, the initial weights lose their influence on the average within the first steps.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn


class EMA:
    """Average of the parameters of `module`. With a `decay` of 0, it equals the parameters."""

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self.updates = 0
        self.weights = {name: p.detach().clone() for name, p in module.named_parameters()}

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """Update the average with the present parameters of `module`."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        now = dict(module.named_parameters())
        torch._foreach_lerp_(list(self.weights.values()), [now[name] for name in self.weights], 1 - decay)

    @torch.no_grad()
    def swap(self, module: nn.Module) -> None:
        """Exchange the parameters of `module` and the average; a second call undoes the first."""
        for name, parameter in module.named_parameters():
            kept = parameter.detach().clone()
            parameter.copy_(self.weights[name])
            self.weights[name] = kept

    @contextmanager
    def applied(self, module: nn.Module) -> Iterator[nn.Module]:
        """Give `module` the averaged weights within a `with` block."""
        self.swap(module)
        try:
            yield module
        finally:
            self.swap(module)

    def to(self, device: torch.device) -> None:
        """Move the average to a device."""
        self.weights = {name: w.to(device) for name, w in self.weights.items()}

    def state_dict(self) -> dict[str, Any]:
        return {"updates": self.updates, "weights": dict(self.weights)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.updates = state["updates"]
        self.weights = {
            name: state["weights"][name].to(device=w.device, dtype=w.dtype).clone() for name, w in self.weights.items()
        }
