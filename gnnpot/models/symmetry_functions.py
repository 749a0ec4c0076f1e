"""Atom-centred symmetry functions: a dataclass for each kind, with its parameters and its formula in PyTorch.

An atom i is described by sums over its neighbours j (radial functions) and over its unordered pairs of different
neighbours j < k (angular functions). Symbols in the equations:

| symbol           | variable                                        | unit    |
|------------------|-------------------------------------------------|---------|
| R_ij, R_ik, R_jk | distances of the three atoms                    | Å       |
| θ                | the angle at i between j and k                  | rad     |
| R_c, f_c         | `cutoff`, `cutoff_function` with `inner_cutoff` | Å       |
| η, R_s           | `eta`, `shift`                                  | Å^-2, Å |
| λ, ζ, α          | `lambda_`, `zeta`, `order`                      |         |
| Z_j              | atomic number of j                              |         |

All lengths are in Å. The formulas here are the reference implementation: they can be differentiated any number of
times, on any device. `gnnpot.models.symmetry_kernels` calculates the same functions faster.

Functions of θ itself (not of cos θ) are not differentiable at straight triplets: θ = π - δ with an angle δ >= 0 from
the line, so that the force of a single such triplet changes sign across the line and vanishes on it by symmetry. To
ensure this in finite precision, θ is replaced by arccos((1 - `STRAIGHT`) cos θ), which differs from θ by at most
1.4e-7 rad (by 1e-14 rad away from 0 and π), is a smooth function of the positions, and has zero slope on the line.
"""

import math
import operator
from dataclasses import dataclass
from functools import reduce
from typing import Literal

import torch
from torch import Tensor

from gnnpot.config import check_ranges
from gnnpot.domains import check_fields
from gnnpot.models.ranges import LENGTHS

#: 1 - |argument of arccos| at straight triplets
STRAIGHT = 1e-14

#: names of the cutoff functions; the index is n2p2's `cutoff_type`
CUTOFF_FUNCTIONS = ("hard", "cosine", "tanh_unnormalised", "tanh", "exp", "poly1", "poly2", "poly3", "poly4")
CutoffFunction = Literal["hard", "cosine", "tanh_unnormalised", "tanh", "exp", "poly1", "poly2", "poly3", "poly4"]


@dataclass(frozen=True, slots=True)
class Triplets:
    """T pairs of neighbours of centres: distances (Å), cos θ, and the atomic numbers of j and k."""

    r_ij: Tensor  #: [T]
    r_ik: Tensor  #: [T]
    r_jk: Tensor  #: [T]
    cos_theta: Tensor  #: [T]
    z_j: Tensor  #: [T]
    z_k: Tensor  #: [T]

    def __getitem__(self, mask: Tensor) -> "Triplets":
        """Select the triplets where `mask` [T] is true."""
        return Triplets(*(getattr(self, name)[mask] for name in self.__slots__))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Function:
    """Options of all symmetry functions."""

    cutoff: float  #: R_c, Å
    cutoff_function: CutoffFunction = "cosine"  #: f_c; see `symmetry_functions.cutoff_function` for the equations
    inner_cutoff: float = 0.0  #: f_c = 1 below this fraction of R_c (not for the tanh functions)

    def __post_init__(self) -> None:
        check_fields(self)
        check_ranges(self, cutoff=LENGTHS)
        if not 0 <= self.inner_cutoff < 1:
            raise ValueError(f"inner_cutoff: {self.inner_cutoff} is not a fraction of the cutoff in [0, 1)")
        ranges = {"eta": (0.0, 1e6), "shift": (-100.0, 100.0), "zeta": (0.0, 1e4), "lambda_": (-1.0, 1.0)}
        check_ranges(
            self, **{name: bounds for name, bounds in (ranges | {"order": (0, 500)}).items() if hasattr(self, name)}
        )
        zeta = getattr(self, "zeta", 1.0)
        if zeta < 1:
            raise ValueError(f"zeta: {zeta} is below 1, where the forces of straight triplets diverge")

    def fc(self, r: Tensor) -> Tensor:
        """f_c(r)."""
        return cutoff_function(self.cutoff_function, r, self.cutoff, self.inner_cutoff)


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightedRadial(_Function):
    """G_i = Σ_j Z_j exp(-η (R_ij - R_s)²) f_c(R_ij). Gastegger et al. 2018 (wACSF)."""

    kind: Literal["weighted_radial"] = "weighted_radial"
    eta: float  #: η, Å^-2
    shift: float = 0.0  #: R_s, Å

    def terms(self, r: Tensor, z: Tensor) -> Tensor:
        return z * torch.exp(-self.eta * (r - self.shift) ** 2) * self.fc(r)


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightedAngular(_Function):
    """G_i = 2^(1-ζ) Σ_{j<k} sqrt(Z_j Z_k) (1 + λ cos θ)^ζ exp(-η Σ (R - R_s)²) f_c(R_ij) f_c(R_ik) f_c(R_jk).

    The inner sum goes over R_ij, R_ik and R_jk. Gastegger et al. 2018 (wACSF), with the weight h = sqrt(Z_j Z_k).
    """

    kind: Literal["weighted_angular"] = "weighted_angular"
    eta: float  #: η, Å^-2
    zeta: float  #: ζ, at least 1; larger ones are narrower in the angle
    lambda_: float  #: λ: 1 is largest at 0°, -1 at 180°
    shift: float = 0.0  #: R_s, Å

    def terms(self, t: Triplets) -> Tensor:
        weight = torch.sqrt(t.z_j * t.z_k)
        return weight * _behler_angle(self, t) * _gauss(self, t.r_ij, t.r_ik, t.r_jk)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChebyshevRadial(_Function):
    """c_α = Σ_j w_j T_α(2 R_ij/R_c - 1) f_c(R_ij), w_j = Z_j, or 1 without `weighted`. Artrith et al. 2017."""

    kind: Literal["chebyshev_radial"] = "chebyshev_radial"
    order: int  #: α, order of the polynomial
    weighted: bool = True  #: weights w_j = Z_j; otherwise 1

    def terms(self, r: Tensor, z: Tensor) -> Tensor:
        weight = z if self.weighted else 1.0
        return weight * chebyshev(2 * r / self.cutoff - 1, self.order) * self.fc(r)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChebyshevAngular(_Function):
    """c_α = Σ_{j<k} w_jk T_α(2θ/π - 1) f_c(R_ij) f_c(R_ik), w_jk = sqrt(Z_j Z_k), or 1 without `weighted`.

    Artrith et al. 2017, with the angle scaled to the domain [-1, 1] of the polynomials.
    """

    kind: Literal["chebyshev_angular"] = "chebyshev_angular"
    order: int  #: α, order of the polynomial
    weighted: bool = True  #: weights w_jk = sqrt(Z_j Z_k); otherwise 1

    def terms(self, t: Triplets) -> Tensor:
        weight = torch.sqrt(t.z_j * t.z_k) if self.weighted else 1.0
        theta = torch.acos((1 - STRAIGHT) * t.cos_theta)
        return weight * chebyshev(2 * theta / math.pi - 1, self.order) * self.fc(t.r_ij) * self.fc(t.r_ik)


@dataclass(frozen=True, slots=True, kw_only=True)
class BehlerRadial(_Function):
    """G2_i = Σ_{j of element `neighbor`} exp(-η (R_ij - R_s)²) f_c(R_ij), for centres of one element.

    Behler 2011, eq. 6; type 2 of RuNNer and n2p2.
    """

    kind: Literal["behler_radial"] = "behler_radial"
    centre: str  #: element of the centre i
    neighbor: str  #: element of the neighbours j
    eta: float  #: η, Å^-2
    shift: float = 0.0  #: R_s, Å

    def terms(self, r: Tensor, z: Tensor) -> Tensor:
        return torch.exp(-self.eta * (r - self.shift) ** 2) * self.fc(r)


@dataclass(frozen=True, slots=True, kw_only=True)
class BehlerNarrow(_Function):
    """G3_i = 2^(1-ζ) Σ_{j<k} (1 + λ cos θ)^ζ exp(-η Σ (R - R_s)²) f_c(R_ij) f_c(R_ik) f_c(R_jk).

    The inner sum goes over R_ij, R_ik and R_jk; j and k are of the elements `neighbors`, in any order. Behler 2011,
    eq. 8 (there G4, without R_s); type 3 of RuNNer and n2p2.
    """

    kind: Literal["behler_narrow"] = "behler_narrow"
    centre: str  #: element of the centre i
    neighbors: tuple[str, str]  #: elements of j and k, in any order
    eta: float  #: η, Å^-2
    zeta: float  #: ζ, at least 1; larger ones are narrower in the angle
    lambda_: float  #: λ: 1 is largest at 0°, -1 at 180°
    shift: float = 0.0  #: R_s, Å

    def terms(self, t: Triplets) -> Tensor:
        return _behler_angle(self, t) * _gauss(self, t.r_ij, t.r_ik, t.r_jk)


@dataclass(frozen=True, slots=True, kw_only=True)
class BehlerWide(_Function):
    """G9_i = 2^(1-ζ) Σ_{j<k} (1 + λ cos θ)^ζ exp(-η [(R_ij - R_s)² + (R_ik - R_s)²]) f_c(R_ij) f_c(R_ik).

    Behler 2011, eq. 9 (there G5, without R_s); type 9 of RuNNer and n2p2.
    """

    kind: Literal["behler_wide"] = "behler_wide"
    centre: str  #: element of the centre i
    neighbors: tuple[str, str]  #: elements of j and k, in any order
    eta: float  #: η, Å^-2
    zeta: float  #: ζ, at least 1; larger ones are narrower in the angle
    lambda_: float  #: λ: 1 is largest at 0°, -1 at 180°
    shift: float = 0.0  #: R_s, Å

    def terms(self, t: Triplets) -> Tensor:
        return _behler_angle(self, t) * _gauss(self, t.r_ij, t.r_ik)


Radial = WeightedRadial | ChebyshevRadial | BehlerRadial
Angular = WeightedAngular | ChebyshevAngular | BehlerNarrow | BehlerWide
SymmetryFunction = Radial | Angular


def is_radial(function: SymmetryFunction) -> bool:
    """Whether a function is a sum over neighbours (not over pairs of neighbours)."""
    return isinstance(function, Radial)


def functions_of(functions: tuple[SymmetryFunction, ...], centre: str) -> list[SymmetryFunction]:
    """Return the functions for atoms of the element `centre`, in order, including functions for any centre."""
    return [f for f in functions if getattr(f, "centre", centre) == centre]


def check_functions(functions: tuple[SymmetryFunction, ...], elements: tuple[str, ...]) -> None:
    """Raise `ValueError` if a function names an unknown element or is listed twice, or an element has no function."""
    for f in functions:
        named = [getattr(f, "centre", elements[0]), getattr(f, "neighbor", elements[0])]
        unknown = [e for e in (*named, *getattr(f, "neighbors", ())) if e not in elements]
        if unknown:
            raise ValueError(f"symmetry_functions: {f} is for '{unknown[0]}', which is not among the elements")
    if len(set(functions)) != len(functions):
        raise ValueError("symmetry_functions: a function is listed twice")
    for e in elements:
        if not functions_of(functions, e):
            raise ValueError(f"symmetry_functions: none describes {e}")


def cutoff_function(kind: str, r: Tensor, cutoff: float, inner: float = 0.0) -> Tensor:
    """Cutoff function f_c(r), 0 at and beyond R_c.

    With x = (r - aR_c)/(R_c - aR_c) and a = `inner`, f_c = 1 where x < 0. Otherwise:

    - hard: 1
    - cosine: ½(cos πx + 1)
    - tanh_unnormalised: tanh³(1 - r/R_c); tanh: the same, divided by tanh³(1)
    - exp: exp(1 - 1/(1 - x²))
    - poly1 to poly4: polynomials with 1 to 4 vanishing derivatives at both ends

    These are n2p2's `cutoff_type` 0 to 8 (Singraber et al. 2019).
    """
    inside = r < cutoff
    # beyond the cutoff, evaluate at a distance where no formula diverges
    r = torch.where(inside, r, 0.5 * cutoff)
    x = ((r - inner * cutoff) / (cutoff - inner * cutoff)).clamp(min=0)
    if kind == "hard":
        f = torch.ones_like(r)
    elif kind == "cosine":
        f = 0.5 * (torch.cos(math.pi * x) + 1)
    elif kind in ("tanh", "tanh_unnormalised"):
        f = torch.tanh(1 - r / cutoff) ** 3 / (math.tanh(1) ** 3 if kind == "tanh" else 1)
    elif kind == "exp":
        f = torch.exp(1 - 1 / (1 - x**2))
    elif kind == "poly1":
        f = 1 + x**2 * (2 * x - 3)
    elif kind == "poly2":
        f = 1 + x**3 * ((15 - 6 * x) * x - 10)
    elif kind == "poly3":
        f = 1 + x**4 * (x * (x * (20 * x - 70) + 84) - 35)
    elif kind == "poly4":
        f = 1 + x**5 * (x * (x * ((315 - 70 * x) * x - 540) + 420) - 126)
    else:
        raise ValueError(f"cutoff_function: '{kind}' is not one of {', '.join(CUTOFF_FUNCTIONS)}")
    return torch.where(inside, f, 0.0)


def chebyshev(x: Tensor, order: int) -> Tensor:
    """T_α(x), from the recurrence T_(n+1) = 2x T_n - T_(n-1)."""
    last, value = x, torch.ones_like(x)
    for _ in range(order):
        last, value = value, 2 * x * value - last
    return value


def _behler_angle(f: WeightedAngular | BehlerNarrow | BehlerWide, t: Triplets) -> Tensor:
    """2^(1-ζ) (1 + λ cos θ)^ζ = 2 [½ (1 + λ cos θ)]^ζ."""
    return 2 * (0.5 * (1 + f.lambda_ * t.cos_theta)).clamp(min=0) ** f.zeta


def _gauss(f: WeightedAngular | BehlerNarrow | BehlerWide, *distances: Tensor) -> Tensor:
    """Π_R exp(-η (R - R_s)²) f_c(R)."""
    exponent = reduce(operator.add, ((r - f.shift) ** 2 for r in distances))
    return torch.exp(-f.eta * exponent) * math.prod(f.fc(r) for r in distances)
