"""SOAP (Vyas et al. 2024), which leaves alone what the data say nothing of.

    optimizer = KeepingSOAP(groups, lr=3e-3, betas=(0.95, 0.95), max_precondition_dim=512)

It rotates a gradient into a basis, divides by its own size there, and rotates back. What has no gradient at all, such
as the embeddings of elements that are not in the data, comes back as rounding noise, and would be moved by it:
fine-tuning on one element would spoil all others.
"""

from collections.abc import Callable

import torch
from pytorch_optimizer import SOAP


class KeepingSOAP(SOAP):
    """SOAP, but slices of a parameter along its first axis whose gradient is exactly zero keep their values."""

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        kept = []
        for parameter in (p for group in self.param_groups for p in group["params"]):
            if parameter.ndim > 1 and parameter.grad is not None:
                still = ~parameter.grad.flatten(1).any(dim=1)
                if still.any():
                    kept.append((parameter, still, parameter[still].clone()))
        super().step()
        for parameter, still, values in kept:
            parameter[still] = values
        return loss
