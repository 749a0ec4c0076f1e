"""What a loss of energies, forces and stress needs of a model, on the processor: one derivative, in two passes.

A model says m_i of each atom (energies) and g = d Σ_i m_i/dr, with respect to the edge vectors r, [E, 3].
For a loss L(m, g), with w_i = ∂L/∂m_i and v = ∂L/∂g, its derivative with respect to the parameters θ is that of

    S(θ) = Σ_i w_i m_i + v · g = Σ_i (w_i m_i + ṁ_i),      ẋ = dx(r + t v)/dt at t = 0                           (1)

since v · g is the tangent of Σ_i m_i along v. So nothing that is a derivative already is differentiated:

1. m and g by the compiled backend, as everywhere, and L of them;
2. values and tangents together (JVP, arrays [2, …]) from the edge vectors to the energies, and the derivative of S
   with respect to θ. What stands before the first parameter is not differentiated at all.
"""

from typing import Any, Protocol

import torch
from torch import Tensor

from gnnpot.graphs import Graph


class TrainingBackend(Protocol):
    """The two passes of a model, with its parameters as they are now."""

    def energies_and_gradient(self, graph: Graph) -> tuple[Tensor, Tensor | None, Tensor]:
        """m [N], magnetic moments [N] if the model knows them, and g [E, 3]."""

    def jvp(self, graph: Graph, tangents: Tensor) -> tuple[Tensor, Tensor | None]:
        """(m, ṁ) [2, N] with the tangents v [E, 3] of the edge vectors, and magnetic moments [N] if the model
        knows them; differentiable once with respect to the parameters."""


class TwoPasses(torch.autograd.Function):
    """(m, magnetic moments, g) of a graph by a backend, as a function of the `parameters` that are trained."""

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
