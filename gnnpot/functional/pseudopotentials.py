"""Bulk-derived local pseudopotentials (BLPS) of nine elements, in reciprocal space.

    silicon = load("Si")
    silicon(q)                      # v(q) in Ha bohr³, q in 1/bohr

Source: C. Huang and E. A. Carter, Phys. Chem. Chem. Phys. 10, 7109 (2008), and the BLPS library of the Carter group
(Princeton University). The files in `blps/` are those of the library, unchanged except for compression, under its
licence (CC BY-ND 4.0, `blps/LICENSE.md`). A file contains the largest q in its header, and v(q) in eV Å³ on equidistant
points from q = 0 to it; the first value is the limit of v(q) + 4 pi Z/q² at q = 0.
"""

import functools
import gzip
import hashlib
import importlib.resources
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from ase.data import atomic_numbers, chemical_symbols
from scipy.interpolate import CubicSpline

from gnnpot.errors import DataError, UnknownElementError
from gnnpot.units import BOHR, HARTREE

#: sha256 of the files published by the library
SHA256 = {
    "Al": "c2fd4300aa39aa2466149a315e1c7cd87aac6615032db5ded8f237e9c40df803",
    "As": "771950d6e638c3fcacabe5c1448f37563a2aaadbce950b2f008de6ef293c8e3a",
    "Ga": "04cc36df7163313cb582379287e5a6eaca6e5930014aa551d4da444a24d8d9c3",
    "In": "0b908b1b72e493c1f2cd47ad07b11db20c83b3e4e36a19120a286e4f2ef5f484",
    "Li": "0acfb560a8afbeefbc26faf694b5663c8baf6ebfb6c4262ed978394dfe7565f9",
    "Mg": "ba2828392892d0959d8e2570653e7eff68ffc79f13cc89d63ae2843538b3264a",
    "P": "0313b5901afe670e63bc5d090b4412b5f45b52e21008ed7185327f0cf0169494",
    "Sb": "6eff236b079dc2106bb4104aff0238a30a56d28c1d4464aaf811df89d0a306ae",
    "Si": "9ff34bdeb5fbce1c0a1231c2f7dd3fddefaace6499366501eea11ac7add98b50",
}  # fmt: skip
ELEMENTS = tuple(sorted(SHA256))


@dataclass(frozen=True)
class Pseudopotential:
    """Local pseudopotential v(q) of an element.

    q² v(q) is interpolated by a cubic spline; v = 0 beyond the last q.
    """

    symbol: str
    charge: int  #: number of valence electrons, Z
    q: np.ndarray = field(repr=False)  #: 1/bohr
    q2v: np.ndarray = field(repr=False)  #: q² v(q), Ha bohr
    limit: float  #: v(q) + 4 pi Z/q² at q = 0, Ha bohr³

    @functools.cached_property
    def _spline(self) -> CubicSpline:
        return CubicSpline(self.q, self.q2v)

    def __call__(self, q: np.ndarray) -> np.ndarray:
        """v(q) in Ha bohr³; at q = 0, `limit`, as the Coulomb part cancels in a neutral crystal."""
        safe = np.where(q > 0, q, 1.0)
        value = np.where(q <= self.q[-1], self._spline(safe) / safe**2, 0.0)
        return np.where(q > 0, value, self.limit)

    def derivative(self, q: np.ndarray) -> np.ndarray:
        """dv/dq; 0 at q = 0."""
        safe = np.where(q > 0, q, 1.0)
        value = self._spline(safe, 1) / safe**2 - 2 * self._spline(safe) / safe**3
        return np.where((q > 0) & (q <= self.q[-1]), value, 0.0)


@functools.cache
def load(symbol: str) -> Pseudopotential:
    """Load the BLPS (LDA) of an element.

    Raises:
        UnknownElementError: The element has no pseudopotential.
        DataError: The file is damaged.
    """
    if symbol not in SHA256:
        raise UnknownElementError(
            f"{symbol}: there is no local pseudopotential of this element; there are those of {', '.join(ELEMENTS)}"
        )
    name = f"{symbol.lower()}.lda.recpot"
    try:
        data = gzip.decompress((importlib.resources.files(__package__) / "blps" / f"{name}.gz").read_bytes())
    except (OSError, EOFError) as error:
        raise DataError(f"{name}: can't be read ({error}); install gnnpot again") from None
    if hashlib.sha256(data).hexdigest() != SHA256[symbol]:
        raise DataError(f"{name}: is not the published file (its sha256 differs); install gnnpot again")
    return parse_recpot(data.decode(), symbol)


def for_numbers(numbers: Sequence[int] | np.ndarray) -> dict[int, Pseudopotential]:
    """Load pseudopotentials by atomic number. Raises `UnknownElementError`, which names all unknown elements."""
    symbols = {chemical_symbols[number] for number in numbers}
    unknown = sorted(symbols - set(ELEMENTS))
    if unknown:
        which = "this element" if len(unknown) == 1 else "these elements"
        known = ", ".join(ELEMENTS)
        raise UnknownElementError(
            f"{', '.join(unknown)}: there is no local pseudopotential of {which}; there are those of {known}"
        )
    return {atomic_numbers[symbol]: load(symbol) for symbol in sorted(symbols)}


def parse_recpot(text: str, symbol: str) -> Pseudopotential:
    """Read CASTEP's recpot format (eV Å³, 1/Å). Raises `DataError`."""
    try:
        lines = text.splitlines()
        start = next(i for i, line in enumerate(lines) if "END COMMENT" in line)
        largest = float(lines[start + 2])
        end = next(i for i in range(start + 3, len(lines)) if lines[i].strip() == "1000")
        values = np.array(" ".join(lines[start + 3 : end]).split(), dtype=float)
    except (StopIteration, ValueError, IndexError):
        raise DataError(f"{symbol}: is not a recpot file (a header, values, and 1000 at the end)") from None
    values = values / (HARTREE * BOHR**3)
    q = np.linspace(0.0, largest * BOHR, len(values))
    charge = round((values[0] - values[1]) * q[1] ** 2 / (4 * np.pi))
    q2v = q**2 * values
    q2v[0] = -4 * np.pi * charge
    return Pseudopotential(symbol, charge, q, q2v, float(values[0]))


def from_radial(symbol: str, charge: int, r: np.ndarray, v: np.ndarray, largest: float = 24.0) -> Pseudopotential:
    """Make a pseudopotential from v(r) (Ha) on equidistant points r (bohr) from 0; v = -Z/r beyond the last point.

    Integrals are calculated by Simpson's rule; `largest` is the largest q, 1/bohr.
    """
    from scipy.integrate import simpson
    from scipy.special import erf

    short = r * v + charge * erf(r)
    q = np.linspace(0.0, largest, 2401)
    values = np.array([simpson(short * np.sin(k * r), x=r) * 4 * np.pi / k for k in q[1:]])
    q2v = np.concatenate([[-4 * np.pi * charge], q[1:] ** 2 * values - 4 * np.pi * charge * np.exp(-(q[1:] ** 2) / 4)])
    limit = 4 * np.pi * simpson(r * (r * v + charge), x=r)
    return Pseudopotential(symbol, charge, q, q2v, float(limit))
