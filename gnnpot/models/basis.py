"""Basis functions of distances and angles. Functions of distances are zero at and beyond their cutoff."""

import math

import numpy as np
import torch
from scipy.optimize import brentq
from scipy.special import spherical_jn
from torch import Tensor, nn

#: cos θ is multiplied by 1 - `STRAIGHT`, because the derivative of arccos diverges where three atoms are in line
STRAIGHT = 1e-6


def polynomial_cutoff(distances: Tensor, cutoff: float, power: int = 3) -> Tensor:
    """f_c = 1 - (p+1)(p+2)/2 x^p + p(p+2) x^(p+1) - p(p+1)/2 x^(p+2), x = r/r_c; 0 beyond r_c.

    f_c, f_c' and f_c'' vanish at r_c. Source: Gasteiger et al. 2020 (DimeNet), eq. 8; p = 3: Chen & Ong 2022, eq. 4.
    """
    x, p = distances / cutoff, power
    f = 1 - x**p * ((p + 1) * (p + 2) / 2 - x * (p * (p + 2) - x * (p * (p + 1) / 2)))
    return torch.where(x < 1, f, 0.0)


def bessel_zeros(max_l: int, max_n: int) -> np.ndarray:
    """z_ln, the n-th positive zero of the spherical Bessel function j_l; [max_l, max_n].

    The zeros of j_0 are nπ. Between two zeros of j_(l-1) there is one zero of j_l, which Brent's method finds.
    """
    zeros = np.pi * np.arange(1, max_n + max_l)
    rows = [zeros[:max_n]]
    for l in range(1, max_l):
        zeros = np.array(
            [brentq(lambda x, l=l: spherical_jn(l, x), a, b) for a, b in zip(zeros, zeros[1:], strict=False)]
        )
        rows.append(zeros[:max_n])
    return np.stack(rows)


def spherical_bessel(x: Tensor, max_l: int) -> Tensor:
    """j_l(x_ln) for l < max_l, x [E, max_l, n] -> [E, max_l, n]; differentiable, also for small x.

    The upward recurrence j_(l+1) = (2l+1)/x j_l - j_(l-1) loses digits as x -> 0. For x < 0.5, the first terms of the
    series j_l = x^l/(2l+1)!! (1 - y/(2l+3) (1 - y/(2 (2l+5)) (1 - …))), y = x²/2, are used instead.
    """
    small = x < 0.5
    safe = torch.where(small, 1.0, x)
    j = [torch.sin(safe) / safe]
    if max_l > 1:
        j.append((j[0] - torch.cos(safe)) / safe)
    for l in range(1, max_l - 1):
        j.append((2 * l + 1) / safe * j[l] - j[l - 1])
    # the recurrence gives all orders at all arguments; select the order l that belongs to each argument
    large = torch.stack([j[l][:, l] for l in range(max_l)], dim=1)
    z = torch.where(small, x, 0.0)
    y, orders = z * z / 2, torch.arange(max_l, dtype=x.dtype, device=x.device)[:, None]
    series = torch.ones_like(z)
    for k in range(5, 0, -1):
        series = 1 - y / (k * (2 * orders + 2 * k + 1)) * series
    powers = torch.stack([z[:, l] ** l / math.prod(range(1, 2 * l + 2, 2)) for l in range(max_l)], dim=1)
    return torch.where(small, powers * series, large)


class SphericalBesselBasis(nn.Module):
    """R_ln(r) = sqrt(2/r_c³) / |j_(l+1)(z_ln)| j_l(z_ln r/r_c), l < max_l, n < max_n.

    [E] distances -> [E, max_l * max_n], where n runs fastest. The functions are zero at r_c, but their slopes are not.
    Source: Chen & Ong 2022, eq. 3.
    """

    zeros: Tensor
    norm: Tensor

    def __init__(self, max_l: int, max_n: int, cutoff: float) -> None:
        super().__init__()
        self.max_l, self.max_n, self.cutoff = max_l, max_n, cutoff
        zeros = bessel_zeros(max_l, max_n)
        norm = np.stack([np.sqrt(2 / cutoff**3) / np.abs(spherical_jn(l + 1, zeros[l])) for l in range(max_l)])
        self.register_buffer("zeros", torch.tensor(zeros), persistent=False)
        self.register_buffer("norm", torch.tensor(norm), persistent=False)

    def forward(self, distances: Tensor) -> Tensor:
        # the functions oscillate beyond the cutoff; clamp the argument, and set them to zero below
        inside = (distances < self.cutoff)[:, None]
        x = torch.where(inside, distances[:, None] / self.cutoff, 1.0)[:, :, None] * self.zeros.to(distances.dtype)
        columns = self.norm.to(x.dtype) * spherical_bessel(x, self.max_l)
        return torch.where(inside, columns.flatten(1), 0.0)


class SmoothBesselBasis(nn.Module):
    """h_n(r), n < max_n: orthogonal combinations of sinc functions whose value, slope and curvature vanish at r_c.

    With f_n(r) = (-1)^n sqrt(2) π/r_c^(3/2) (n+1)(n+2)/sqrt((n+1)²+(n+2)²) [sinc((n+1)πr/r_c) + sinc((n+2)πr/r_c)]
    (sinc x = sin x / x), e_n = n²(n+2)²/(4(n+1)⁴+1), d_0 = 1, d_n = 1 - e_n/d_(n-1):

        h_0 = f_0,   h_n = [f_n + sqrt(e_n/d_(n-1)) h_(n-1)] / sqrt(d_n)

    [E] distances -> [E, max_n]. Source: Kocer, Mason & Erturk 2019, eqs. 10-13; Chen & Ong 2022, eq. 2.
    """

    def __init__(self, max_n: int, cutoff: float) -> None:
        super().__init__()
        self.max_n, self.cutoff = max_n, cutoff

    def forward(self, distances: Tensor) -> Tensor:
        x = torch.where(distances < self.cutoff, distances / self.cutoff, 1.0)
        h: list[Tensor] = []
        d_last = 1.0
        for n in range(self.max_n):
            e = n**2 * (n + 2) ** 2 / (4 * (n + 1) ** 4 + 1)
            d = 1 - e / d_last if n else 1.0
            scale = (-1) ** n * math.sqrt(2) * math.pi / self.cutoff**1.5
            scale *= (n + 1) * (n + 2) / math.sqrt((n + 1) ** 2 + (n + 2) ** 2)
            f = scale * (torch.sinc((n + 1) * x) + torch.sinc((n + 2) * x))
            h.append((f + math.sqrt(e / d_last) * h[-1]) / math.sqrt(d) if n else f)
            d_last = d
        return torch.where((distances < self.cutoff)[:, None], torch.stack(h, -1), 0.0)


def legendre(x: Tensor, max_l: int) -> list[Tensor]:
    """P_l(x), l < max_l, from Bonnet's recurrence (l+1) P_(l+1) = (2l+1) x P_l - l P_(l-1)."""
    p = [torch.ones_like(x), x]
    for l in range(1, max_l - 1):
        p.append(((2 * l + 1) * x * p[l] - l * p[l - 1]) / (l + 1))
    return p[:max_l]


def zonal_harmonics(cos_theta: Tensor, max_l: int) -> Tensor:
    """Y_l0(θ) = sqrt((2l+1)/4π) P_l(cos θ), l < max_l; [T] -> [T, max_l]."""
    return torch.stack(
        [math.sqrt((2 * l + 1) / (4 * math.pi)) * p for l, p in enumerate(legendre(cos_theta, max_l))], -1
    )


def bond_angles(vectors: Tensor, distances: Tensor, angle_edges: tuple[Tensor, Tensor]) -> Tensor:
    """Angles θ_jik [T] between pairs of edges, in rad.

    Args:
        vectors: Edge vectors, [E, 3].
        distances: Their lengths, [E].
        angle_edges: Indices of the edges i -> j and i -> k, [T] each.
    """
    ij, ik = angle_edges
    directions = vectors / distances[:, None]
    cosine = (directions.index_select(0, ij) * directions.index_select(0, ik)).sum(-1)
    return torch.acos(cosine * (1 - STRAIGHT))
