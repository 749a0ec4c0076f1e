"""Learned functionals with exact constraints: T = T_vW + ∫ tau_TF F, where F is a neural network of the density.

    functional = FieldNetwork(NetworkConfig())
    energy, potential = kinetic(functional, density, space)

F = softplus(z - z_0 + r + ln(e - 1)), where z is a neural network with dimensionless inputs and z_0 its value in the
uniform gas. The constraints are:

- F >= 0, thus T >= T_vW; F = 1 in the uniform gas;
- lengths are in units of 1/k_F0, where k_F0 = ∫ rho k_F(rho) / N is the local Fermi wave vector averaged over the
  electrons, so that T[rho_s] = s² T[rho] for rho_s(r) = s³ rho(s r). k_F0 does not change with the number of cells,
  nor, unlike N/V, with added vacuum;
- r = x_0 (c * x_0) gives the linear response of the uniform gas: c(n) = (K_Lindhard(n) - K_z(n)) / (9/5 (1 - 1/e) a²),
  where K_z is the response of the network without r, which is known exactly (`perceptron.Response`), and a that of
  x_0 = u^(1/3) - 1.

The inputs at each point are, with rho_0 = k_F0³/(3 pi²), u = (rho/rho_0 + f)/(1 + f), n = |G|/(2 k_F0), and rho~ the
density filtered with exp(-(n/n_c)^4):

    x_1 = u_1^(1/3) - 1,   x_2 = p/(1 + p),   x_3 = q/√(1 + q²),
    p = |∇rho~|²/(4 k_F0² rho_0² u^(8/3)),   q = ∇²rho~/(4 k_F0² rho_0 u^(5/3))

With `smooth_floor` f~ above 0, u is replaced by u~ = (rho~/rho_0 + f~)/(1 + f~) in p and q. Ratios of a filtered and an
unfiltered density vary rapidly where the density is low: 5 to 10 % of their spectrum is above 6/bohr, and energies
depend on the grid and the positions of its points by a few meV/atom; with n_c = 1.3 and f~ = 0.1, it is 1 to 3 %.

u_1 is u, or, with `first_filter` n_1 above 0, u of the density filtered with exp(-(n/n_1)^4). Without this filter, the
network can respond to density waves of any length, but the training data have few short ones: one of two long trainings
ended with energy minima that have waves of 5 to 9/bohr. With it, only the von Weizsäcker part and r respond above n_1.

The small f keeps inputs and potential finite where the density vanishes. Kernels are sums of Gaussians in n up to n_k;
they are even functions of n, as a slope at n = 0 would make them long-ranged. Above n_k, only the von Weizsäcker part
responds.

`FieldNetwork`: h = P_0(x); h += P_l(h, w_l * h) for each layer; z = P(h, x). Without layers, it is semi-local: F
depends on rho, |∇rho| and ∇²rho at the same point. `KernelNetwork`: z = P(x, w_1 * x, w_2 * x, …) with fixed kernels of
the uniform gas.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

import torch
from torch import Tensor, nn

from gnnpot.domains import (
    INTEGER_FROM_0,
    INTEGER_FROM_1,
    INTEGER_FROM_2,
    NOT_NEGATIVE,
    OPEN_FRACTION,
    POSITIVE,
    check_fields,
)
from gnnpot.functional.fixed import Blocks, pauli_sum
from gnnpot.functional.functionals import Functional, thomas_fermi, von_weizsacker
from gnnpot.functional.interpolation import interpolate_table
from gnnpot.functional.lindhard import pauli_response
from gnnpot.functional.perceptron import Perceptron, Response
from gnnpot.functional.radial import GaussianKernels, ResponseKernel
from gnnpot.functional.space import FourierSpace, Space, integral

#: step and end (in n) of the table of the network's linear response
RESPONSE_STEP, RESPONSE_END = 0.03, 4.8
LOG_E_1 = math.log(math.e - 1)
#: d softplus/dz where F = 1
SLOPE = 1 - 1 / math.e


@dataclass(frozen=True)
class NetworkConfig:
    """Options of a learned functional; for the symbols, see the module's docstring."""

    #: "field": learned kernels between perceptrons (`FieldNetwork`); "kernel": fixed kernels (`KernelNetwork`)
    kind: str = "field"
    #: number of fields at each grid point between the layers, for kind "field"
    channels: Annotated[int, INTEGER_FROM_1] = 12
    #: width of the hidden layers of the perceptrons
    hidden: Annotated[int, INTEGER_FROM_1] = 32
    #: number of convolutions with learned kernels, each followed by a perceptron, for kind "field"; 0: semi-local
    layers: Annotated[int, INTEGER_FROM_0] = 2
    #: number of Gaussians of each learned kernel, evenly spaced from n = 0 to `reach`
    gaussians: Annotated[int, INTEGER_FROM_2] = 10
    #: n_k, centre of the last Gaussian of a learned kernel, in n = |G|/(2 k_F0)
    reach: Annotated[float, POSITIVE] = 2.2
    #: n_c, in n = |G|/(2 k_F0): the density is filtered with exp(-(n/n_c)^4) before it is differentiated
    filter: Annotated[float, POSITIVE] = 1.7
    #: n_1, in n: cut-off of the same filter for the density in the first input; 0: no filter
    first_filter: Annotated[float, NOT_NEGATIVE] = 0.0
    #: f, fraction of the reference density that is added to the density to keep inputs finite
    floor: Annotated[float, OPEN_FRACTION] = 0.02
    #: f~, the same for a filtered density by which the derivatives are divided; 0: they are divided by that with f
    smooth_floor: Annotated[float, NOT_NEGATIVE] = 0.0
    #: make the linear response of the uniform gas exact
    response: bool = True
    #: scales s of the fixed kernels w(s n), for kind "kernel"
    scales: Annotated[tuple[float, ...], POSITIVE] = (0.5, 0.7, 1.0, 1.4, 2.0)
    #: seed of the initial weights and of the order of batches
    seed: Annotated[int, INTEGER_FROM_0] = 0

    def __post_init__(self) -> None:
        check_fields(self)
        if self.kind not in ("field", "kernel"):
            raise ValueError(f"kind: '{self.kind}' is neither field nor kernel")


class LearnedFunctional(Functional):
    """Base class of learned functionals, with inputs and constraints. Subclasses implement `network`."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config

    def network(self, x: Any, convolve: Callable[[Any, Callable[[Tensor], Tensor]], Any]) -> Any:
        """Network z.

        Args:
            x: Inputs, fields `[B, C, n]` or a `Response`.
            convolve: `convolve(h, kernels)` convolves h with kernels, which are a function of n.
        """
        raise NotImplementedError

    def energy_density(self, density: Tensor, space: Space) -> Tensor:
        return von_weizsacker(density, space) + thomas_fermi(density) * self.enhancement(density, space)

    def enhancement(self, density: Tensor, space: Space) -> Tensor:
        """Enhancement factor F `[B, n]`; z is evaluated in the precision `space.inner`."""
        x, eta = self.inputs(density, space)

        def convolve(h: Tensor, kernels: Callable[[Tensor], Tensor]) -> Tensor:
            return space.convolve(h, kernels(eta).to(h.dtype))

        z = self.network(x[:, 1:].to(space.inner), convolve)[:, 0].to(x.dtype)
        uniform, table = self.uniform_response()
        z = z - uniform
        if self.config.response:
            kernel = self._correction(table)(eta)
            z = z + x[:, 0] * space.convolve(x[:, :1], kernel)[:, 0]
        return nn.functional.softplus(z + LOG_E_1)

    def uniform_response(self) -> tuple[Tensor, Tensor]:
        """z_0, and a table of K_z, the response of ∫ tau_TF F without the correction r, with step `RESPONSE_STEP`."""
        f = self.config.floor
        eta = torch.arange(0.0, RESPONSE_END, RESPONSE_STEP, dtype=torch.float64)
        smooth = _low_pass(eta, self.config.filter)
        zero, a = torch.zeros_like(eta), 1 / (3 * (1 + f))
        one = _low_pass(eta, self.config.first_filter) if self.config.first_filter else torch.ones_like(eta)
        first = torch.stack([a * one, zero, -smooth * eta**2], dim=1)
        mean = -a / 3 - (a * one) ** 2 / 2
        # response of u (or u~) in q to the density
        follows = smooth / (1 + self.config.smooth_floor) if self.config.smooth_floor else 1 / (1 + f)
        bend = (5 / 6) * follows * smooth * eta**2
        second = torch.stack([mean, 0.5 * (smooth * eta) ** 2, bend], dim=1)
        x = Response(torch.zeros(3, dtype=torch.float64), first, second)

        def convolve(h: Response, kernels: Callable[[Tensor], Tensor]) -> Response:
            at_zero = kernels(torch.zeros(1, 1, dtype=torch.float64))[0, :, 0]
            return Response(h.zero * at_zero, h.first * kernels(eta[None])[0].T, h.second * at_zero)

        z = self.network(x, convolve)
        enhancement = SLOPE * z.second[:, 0] + 0.25 * SLOPE * (1 - SLOPE) * z.first[:, 0] ** 2
        return z.zero[0], 1 + 3 * SLOPE * z.first[:, 0] + 3.6 * enhancement

    def response(self, eta: Tensor) -> Tensor:
        """Inverse linear response of T at n = `eta`, in units of that of the Thomas-Fermi functional."""
        table = self.uniform_response()[1]
        pauli = interpolate_table(table, eta, RESPONSE_STEP)
        return 3 * eta**2 + (pauli_response(eta) if self.config.response else pauli)

    def _correction(self, table: Tensor) -> ResponseKernel:
        return ResponseKernel(table, RESPONSE_STEP, 1.8 * SLOPE / (3 * (1 + self.config.floor)) ** 2)

    def inputs(self, density: Tensor, space: Space) -> tuple[Tensor, Tensor]:
        """Inputs x_0, x_1, x_2, x_3 `[B, 4, n]`, and n of each mode `[B, m]`."""
        f = self.config.floor
        fermi = reference_fermi(density, space)
        eta = space.g / (2 * fermi[:, None])
        reference = (fermi**3 / (3 * torch.pi**2))[:, None]
        relative = density / reference
        u = (relative.clamp(min=0) + f) / (1 + f)
        kernel = _low_pass(eta, self.config.filter)
        kernels = [kernel, -4 * eta**2 * kernel]
        if self.config.first_filter:
            kernels.append(_low_pass(eta, self.config.first_filter))
        smooth, laplacian, *less = space.convolve(relative[:, None], torch.stack(kernels, dim=1)).unbind(dim=1)
        length = 2 * fermi[:, None]
        square = space.gradient(smooth).square().sum(dim=1) / length**2
        scale = u
        if self.config.smooth_floor:
            scale = (smooth.clamp(min=0) + self.config.smooth_floor) / (1 + self.config.smooth_floor)
        p_scale, q = scale ** (8 / 3), 0.25 * laplacian / scale ** (5 / 3)
        x_0 = u ** (1 / 3) - 1
        x_1 = ((less[0].clamp(min=0) + f) / (1 + f)) ** (1 / 3) - 1 if less else x_0
        return torch.stack([x_0, x_1, square / (p_scale + square), q / (1 + q**2).sqrt()], dim=1), eta


class FieldNetwork(LearnedFunctional):
    """Network of pointwise perceptrons and convolutions with learned isotropic kernels."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__(config)
        self.name = "field network" if config.layers else "semi-local network"
        self._kept: tuple[tuple, Blocks] | None = None
        generator = torch.Generator().manual_seed(config.seed)
        c, h = config.channels, config.hidden
        self.first = Perceptron([3, h, h, c], generator)
        self.mixing = nn.ModuleList(Perceptron([2 * c, h, h, c], generator, last=0.3) for _ in range(config.layers))
        size = (config.layers, c, config.gaussians)
        start = 0.5 * torch.randn(size, generator=generator, dtype=torch.float64)
        self.kernels = nn.Parameter(start)
        self.last = Perceptron([c + 3, h, h, 1], generator, last=0.1)

    def energy(self, density: Tensor, space: Space) -> Tensor:
        if not isinstance(space, FourierSpace) or any(parameter.requires_grad for parameter in self.parameters()):
            return super().energy(density, space)
        x, eta = self.inputs(density, space)
        pauli = pauli_sum(self._blocks(space.inner), space, x, eta, thomas_fermi(density))
        return integral(space, von_weizsacker(density, space)) + space.weights[:, 0] * pauli

    def _blocks(self, dtype: torch.dtype) -> Blocks:
        """Parts of the network with present weights; cached until these change."""
        state = (dtype, *((parameter.data_ptr(), parameter._version) for parameter in self.parameters()))
        if self._kept is not None and self._kept[0] == state:
            return self._kept[1]
        uniform, table = self.uniform_response()
        blocks = Blocks(
            first=self.first.layers(dtype),
            mixing=[mixing.layers(dtype) for mixing in self.mixing if isinstance(mixing, Perceptron)],
            kernels=[self._kernels(weights) for weights in self.kernels],
            last=self.last.layers(dtype),
            response=self._correction(table) if self.config.response else None,
            shift=LOG_E_1 - uniform,
        )
        self._kept = (state, blocks)
        return blocks

    def network(self, x: Any, convolve: Callable[[Any, Callable[[Tensor], Tensor]], Any]) -> Any:
        h = self.first(x)
        for mixing, weights in zip(self.mixing, self.kernels, strict=True):
            h = h + mixing(h, convolve(h, self._kernels(weights)))
        return self.last(h, x)

    def _kernels(self, weights: Tensor) -> GaussianKernels:
        return GaussianKernels(weights, self.config.reach / (self.config.gaussians - 1))


class KernelNetwork(LearnedFunctional):
    """Perceptron of the inputs and their convolutions with fixed kernels w(s n), those of Wang-Teter."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__(config)
        self.name = "fixed-kernel network"
        generator = torch.Generator().manual_seed(config.seed)
        h = config.hidden
        self.last = Perceptron([3 * (1 + len(config.scales)), h, h, h, 1], generator, last=0.1)

    def network(self, x: Any, convolve: Callable[[Any, Callable[[Tensor], Tensor]], Any]) -> Any:
        return self.last(x, *(convolve(x, partial(self._kernel, scale=s)) for s in self.config.scales))

    def _kernel(self, eta: Tensor, scale: float) -> Tensor:
        """Deviation of the Pauli response from its limit at large n, so that the kernel vanishes there."""
        return (pauli_response(scale * eta) + 0.6)[:, None].expand(-1, 3, -1)


def reference_fermi(density: Tensor, space: Space) -> Tensor:
    """Reference wave vector k_F0 = (3 pi²)^(1/3) ∫ rho^(4/3) / ∫ rho, `[B]`."""
    positive = density.clamp(min=0)
    return (3 * torch.pi**2) ** (1 / 3) * integral(space, positive ** (4 / 3)) / integral(space, positive)


def _low_pass(eta: Tensor, end: float) -> Tensor:
    return torch.exp(-((eta / end) ** 4))


def build(config: NetworkConfig) -> LearnedFunctional:
    """Build the functional of a configuration."""
    return FieldNetwork(config) if config.kind == "field" else KernelNetwork(config)
