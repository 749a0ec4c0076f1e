"""SOAP optimiser (Vyas et al. 2024) that leaves weights with zero gradient unchanged.

    optimizer = MaskedSOAP(groups, lr=3e-3, betas=(0.95, 0.95), max_precondition_dim=512)

SOAP rotates a gradient into an eigenbasis, normalises it there, and rotates it back. A gradient of exactly zero, such
as that of the embeddings of elements that are not in the data, becomes rounding noise in this way. Weights would follow
the noise: fine-tuning on one element would change the embeddings of all others.
"""

from collections.abc import Callable

import torch
from pytorch_optimizer import SOAP


class MaskedSOAP(SOAP):
    """SOAP; slices of a parameter along its first axis whose gradient is exactly zero keep their values."""

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
