"""Training on energies, forces and stress on the CPU: gradient of the loss in two passes without second derivatives.

A model predicts an energy m_i of each atom and g = d Σ_i m_i/dr [E, 3], the gradient with respect to the edge vectors
r. Let L(m, g) be the loss, w_i = ∂L/∂m_i and v = ∂L/∂g. The derivative of L with respect to the parameters θ is that of

    S(θ) = Σ_i w_i m_i + v · g = Σ_i (w_i m_i + ṁ_i),      ẋ = dx(r + t v)/dt at t = 0                           (1)

with constant w and v, because v · g is the tangent of Σ_i m_i along v. Therefore no derivative is differentiated again:

1. The compiled backend computes m and g, from which L follows.
2. Values and tangents (JVP, arrays [2, …]) are propagated together from the edge vectors to the energies; the result S
   is differentiated with respect to θ. Operations before the first parameter are not differentiated.
"""

from typing import Any, Protocol

import torch
from torch import Tensor

from gnnpot.graphs import Graph


class TrainingBackend(Protocol):
    """The two passes of a model, with its current parameters."""

    def energies_and_gradient(self, graph: Graph) -> tuple[Tensor, Tensor | None, Tensor]:
        """Return m [N], magnetic moments [N] if the model predicts them, and g [E, 3]."""

    def jvp(self, graph: Graph, tangents: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return (m, ṁ) [2, N] for the tangents v [E, 3] of the edge vectors, and magnetic moments [N] if predicted.

        The results are differentiable once with respect to the parameters.
        """


class TwoPasses(torch.autograd.Function):
    """(m, magnetic moments, g) of a graph, as a function of the trainable `parameters` of the model."""

    @staticmethod
    def forward(ctx: Any, backend: TrainingBackend, graph: Graph, *parameters: Tensor) -> tuple[Tensor | None, ...]:
        ctx.backend, ctx.graph, ctx.parameters = backend, graph, parameters
        return backend.energies_and_gradient(graph)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(
        ctx: Any, g_energies: Tensor, g_magmoms: Tensor | None, g_gradient: Tensor
    ) -> tuple[Tensor | None, ...]:
        with torch.enable_grad():
            (energies, tangents), magmoms = ctx.backend.jvp(ctx.graph, g_gradient)
            total = torch.dot(g_energies, energies) + tangents.sum()
            if magmoms is not None and g_magmoms is not None:
                total = total + torch.dot(g_magmoms, magmoms)
        return None, None, *torch.autograd.grad(total, ctx.parameters, allow_unused=True)
