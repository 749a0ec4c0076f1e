"""Rules that generate sets of symmetry functions for given elements and cutoffs."""

from dataclasses import dataclass
from itertools import combinations_with_replacement
from typing import Literal

import numpy as np

from gnnpot.config import check_ranges
from gnnpot.domains import check_fields
from gnnpot.models.ranges import LENGTHS, MAX_FUNCTIONS
from gnnpot.models.symmetry_functions import (
    BehlerNarrow,
    BehlerRadial,
    BehlerWide,
    ChebyshevAngular,
    ChebyshevRadial,
    SymmetryFunction,
    WeightedAngular,
    WeightedRadial,
)

#: Å, centre of the first shifted Gaussian, unless the data have bonds that are much shorter
FIRST_SHIFT = 1.5


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightedSet:
    """Weighted Behler functions, whose number does not depend on the number of elements. See `weighted_set`."""

    kind: Literal["weighted"] = "weighted"
    radial_cutoff: float = 6.0  #: Å
    angular_cutoff: float = 4.5  #: Å
    radial: int = 16  #: number of Gaussians in the distance
    angular: int = 3  #: number of Gaussians in the distances of a triplet
    #: exponents ζ of the angular functions, at least 1; each with λ = 1 and -1
    zeta: tuple[float, ...] = (1.0, 2.0, 4.0, 16.0)

    def __post_init__(self) -> None:
        _check_counts(self)

    def functions(self, elements: tuple[str, ...], first: float = FIRST_SHIFT) -> tuple[SymmetryFunction, ...]:
        return weighted_set(self.radial_cutoff, self.angular_cutoff, self.radial, self.angular, self.zeta, first)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChebyshevSet:
    """Chebyshev polynomials of distances and angles. See `chebyshev_set`."""

    kind: Literal["chebyshev"] = "chebyshev"
    radial_cutoff: float = 6.0  #: Å
    angular_cutoff: float = 4.5  #: Å
    radial_order: int = 14  #: highest order of the polynomials in the distance
    angular_order: int = 8  #: highest order of the polynomials in the angle

    def __post_init__(self) -> None:
        check_fields(self)
        check_ranges(self, radial_cutoff=LENGTHS, angular_cutoff=LENGTHS)
        check_ranges(self, radial_order=(0, 200), angular_order=(0, 200))

    def functions(self, elements: tuple[str, ...]) -> tuple[SymmetryFunction, ...]:
        return chebyshev_set(
            self.radial_cutoff, self.angular_cutoff, self.radial_order, self.angular_order, len(elements) > 1
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class BehlerSet:
    """Behler functions for each element and each pair of elements. See `behler_set`."""

    kind: Literal["behler"] = "behler"
    radial_cutoff: float = 6.0  #: Å
    angular_cutoff: float = 5.0  #: Å
    radial: int = 10  #: number of Gaussians in the distance
    angular: int = 3  #: number of Gaussians in the distances of a triplet
    #: exponents ζ of the angular functions, at least 1; each with λ = 1 and -1
    zeta: tuple[float, ...] = (1.0, 2.0, 4.0, 16.0)
    wide: bool = False  #: whether angular functions omit the distance between the neighbours

    def __post_init__(self) -> None:
        _check_counts(self)

    def functions(self, elements: tuple[str, ...], first: float = FIRST_SHIFT) -> tuple[SymmetryFunction, ...]:
        pairs = len(elements) * (len(elements) + 1) // 2
        count = len(elements) * (len(elements) * self.radial + 2 * pairs * self.angular * len(self.zeta))
        if count > MAX_FUNCTIONS:
            raise ValueError(
                f"symmetry_set: {len(elements)} elements need {count:,} functions of kind 'behler', more than "
                f"{MAX_FUNCTIONS:,}; take fewer, or the kind 'weighted' or 'chosen'"
            )
        return behler_set(
            elements, self.radial_cutoff, self.angular_cutoff, self.radial, self.angular, self.zeta, self.wide, first
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectedBehlerSet:
    """Behler functions selected from the training frames, see `symmetry_choice`.

    Training writes the selected functions to the option `symmetry_functions` of the model, so that a trained potential
    does not depend on the frames.
    """

    kind: Literal["chosen"] = "chosen"
    radial_cutoff: float = 6.0  #: Å
    angular_cutoff: float = 5.0  #: Å
    count: int = 64  #: largest number of functions for each element
    #: "farthest" point sampling, or "cur" decomposition; see `symmetry_choice`
    method: Literal["cur", "farthest"] = "farthest"
    frames: int = 500  #: number of training frames that are used, evenly distributed over the training set

    def __post_init__(self) -> None:
        check_fields(self)
        check_ranges(self, radial_cutoff=LENGTHS, angular_cutoff=LENGTHS, count=(1, MAX_FUNCTIONS), frames=(1, 10**9))
        if self.angular_cutoff > self.radial_cutoff:
            raise ValueError(f"angular_cutoff: {self.angular_cutoff} Å is beyond the radial, {self.radial_cutoff} Å")

    def functions(self, elements: tuple[str, ...]) -> tuple[SymmetryFunction, ...]:
        raise ValueError(
            "symmetry_set: functions of kind 'chosen' follow from training frames; train with it, or give "
            "symmetry_functions"
        )


SymmetrySet = WeightedSet | ChebyshevSet | BehlerSet | SelectedBehlerSet


def _check_counts(options: WeightedSet | BehlerSet) -> None:
    check_fields(options)
    if len(options.zeta) > 100:
        raise ValueError(f"zeta: {len(options.zeta)} values are more than 100")
    check_ranges(options, radial_cutoff=LENGTHS, angular_cutoff=LENGTHS, zeta=(1, 1e4))
    check_ranges(options, radial=(0, 500), angular=(0, 100))


def weighted_set(
    radial_cutoff: float,
    angular_cutoff: float,
    radial: int = 16,
    angular: int = 3,
    zeta: tuple[float, ...] = (1.0, 2.0, 4.0, 16.0),
    first: float = FIRST_SHIFT,
) -> tuple[SymmetryFunction, ...]:
    """`WeightedRadial` and `WeightedAngular` functions on the grids of `radial_grid` and `angular_etas`, λ = ±1."""
    functions: list[SymmetryFunction] = [
        WeightedRadial(eta=eta, shift=shift, cutoff=radial_cutoff)
        for eta, shift in radial_grid(radial_cutoff, radial, first)
    ]
    functions += [
        WeightedAngular(eta=eta, zeta=z, lambda_=sign, cutoff=angular_cutoff)
        for eta in angular_etas(angular_cutoff, angular)
        for z in zeta
        for sign in (-1.0, 1.0)
    ]
    return tuple(functions)


def chebyshev_set(
    radial_cutoff: float,
    angular_cutoff: float,
    radial_order: int = 14,
    angular_order: int = 8,
    several_elements: bool = True,
) -> tuple[SymmetryFunction, ...]:
    """Chebyshev functions of orders 0 to `radial_order` and 0 to `angular_order`.

    For several elements, there is an unweighted set, which describes the structure, and a weighted set, which describes
    the composition, as in Artrith et al. 2017.
    """
    functions: list[SymmetryFunction] = []
    for weighted in (False, True) if several_elements else (False,):
        functions += [
            ChebyshevRadial(order=k, cutoff=radial_cutoff, weighted=weighted) for k in range(radial_order + 1)
        ]
        functions += [
            ChebyshevAngular(order=k, cutoff=angular_cutoff, weighted=weighted) for k in range(angular_order + 1)
        ]
    return tuple(functions)


def behler_set(
    elements: tuple[str, ...],
    radial_cutoff: float,
    angular_cutoff: float,
    radial: int = 10,
    angular: int = 3,
    zeta: tuple[float, ...] = (1.0, 2.0, 4.0, 16.0),
    wide: bool = False,
    first: float = FIRST_SHIFT,
) -> tuple[SymmetryFunction, ...]:
    """`BehlerRadial` and `BehlerNarrow` (or `BehlerWide`) functions for all elements of centres and neighbours."""
    angle = BehlerWide if wide else BehlerNarrow
    functions: list[SymmetryFunction] = []
    for centre in elements:
        functions += [
            BehlerRadial(centre=centre, neighbor=neighbor, eta=eta, shift=shift, cutoff=radial_cutoff)
            for neighbor in elements
            for eta, shift in radial_grid(radial_cutoff, radial, first)
        ]
        functions += [
            angle(centre=centre, neighbors=pair, eta=eta, zeta=z, lambda_=sign, cutoff=angular_cutoff)
            for pair in combinations_with_replacement(elements, 2)
            for eta in angular_etas(angular_cutoff, angular)
            for z in zeta
            for sign in (-1.0, 1.0)
        ]
    return tuple(functions)


def radial_grid(cutoff: float, count: int, first: float = FIRST_SHIFT) -> list[tuple[float, float]]:
    """(η, R_s) of `count` radial Gaussians: one third is centred at 0 with decreasing widths, the others are shifted.

    As in Gastegger et al. 2018, centred Gaussians have η = 1/(2 R²) with R up to R_c, and the width of shifted
    Gaussians is their spacing. Shifts start at `first` (Å): by default at 1.5 Å, because few pairs of atoms are closer
    in crystals, and for molecules at the length of their bonds, see `symmetry_choice.first_shift`.
    """
    centred = max(count // 3, 1)
    widths = np.geomspace(cutoff, max(cutoff / 4, 1.0), centred)
    grid = [(float(0.5 / w**2), 0.0) for w in widths]
    shifts = np.linspace(first, cutoff - 0.5, max(count - centred, 0))
    spacing = (cutoff - (0.5 + first)) / max(len(shifts) - 1, 1)
    if len(shifts) and spacing == 0:
        raise ValueError(
            f"radial_cutoff: with {cutoff} Å, all shifted Gaussians would be centred at {first} Å and have no width; "
            "choose another radial_cutoff"
        )
    return grid + [(float(0.5 / spacing**2), float(s)) for s in shifts]


def angular_etas(cutoff: float, count: int) -> list[float]:
    """η of `count` Gaussians in the distances of a triplet, with widths from 2 R_c (nearly constant) to R_c/3."""
    if count == 1:
        return [float(0.5 / cutoff**2)]
    return [float(0.5 / w**2) for w in np.geomspace(2 * cutoff, cutoff / 3, count)]
