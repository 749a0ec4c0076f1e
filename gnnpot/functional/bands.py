"""Bloch states of a potential on a grid: eigenvalues, occupations, density, kinetic potential.

    bands = Bands(grid, kpoints, weights, cutoff, electrons, smearing)
    occupation = bands.solve(potential, residual=1e-6)
    density = bands.density(occupation)

Each state holds two electrons. States are kept between calls, as initial guesses.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import scipy.fft
from scipy.optimize import brentq
from scipy.special import erfc

from gnnpot.errors import SimulationError
from gnnpot.functional.davidson import lowest
from gnnpot.functional.grid import Grid

#: number of electrons above which a state counts as occupied: it must be converged, and not be in the last band
OCCUPIED = 1e-8


@dataclass(frozen=True)
class Occupation:
    """Occupations f of states with eigenvalues e."""

    fermi_level: float  #: Ha
    electrons: np.ndarray  #: `[k, b]` electrons of each state, f
    energy: float  #: Σ f e, Ha per cell
    entropy: float  #: -TS, Ha per cell


class Bands:
    """Bloch states in a plane-wave basis.

    Args:
        grid: Grid of potential and density.
        kpoints: `[k, 3]` fractional k-points.
        weights: `[k]` weights of the k-points, with sum 1.
        cutoff: Largest kinetic energy of the plane waves, Ha.
        electrons: Number of electrons per cell.
        smearing: Width of the Gaussian smearing, Ha.

    Raises:
        SimulationError: The cut-off gives fewer plane waves than states.
    """

    def __init__(
        self,
        grid: Grid,
        kpoints: np.ndarray,
        weights: np.ndarray,
        cutoff: float,
        electrons: float,
        smearing: float,
    ) -> None:
        self.grid, self.weights, self.electrons, self.smearing = grid, weights, electrons, smearing
        axes = [np.fft.fftfreq(n, 1 / n) for n in grid.shape]
        miller = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
        self.index, self.kinetic, self.vectors = [], [], []
        for kpoint in kpoints:
            vectors = (miller + kpoint) @ grid.reciprocal
            kinetic = 0.5 * (vectors**2).sum(axis=1)
            inside = np.flatnonzero(kinetic < cutoff)
            self.index.append(inside)
            self.kinetic.append(kinetic[inside])
            self.vectors.append(vectors[inside])
        filled = int(np.ceil(electrons / 2))
        self.count = filled + max(2, filled // 4)
        if self.count > min(len(k) for k in self.kinetic):
            raise SimulationError(f"the cut-off of {cutoff:g} Ha leaves too few plane waves; raise it")
        self.states = [_start(kinetic, self.count, seed) for seed, kinetic in enumerate(self.kinetic)]
        self.values = np.zeros((len(kpoints), self.count))

    def solve(self, potential: np.ndarray, residual: float) -> Occupation:
        """Diagonalise at each k-point and occupy the states; bands are added as long as the last one is occupied.

        Args:
            potential: Potential on the grid, Ha.
            residual: Largest norm of the residual of occupied states.

        Raises:
            SimulationError: The eigenvectors have not converged.
        """
        wanted = int(np.ceil(self.electrons / 2))
        while True:
            for k in range(len(self.states)):
                self._diagonalise(k, potential, residual, wanted)
            occupation = self._fill()
            highest = int(np.flatnonzero((occupation.electrons > OCCUPIED).any(axis=0)).max()) + 1
            if highest <= min(wanted, self.count - 1):
                return occupation
            wanted = highest
            if highest >= self.count:
                self._add_bands(2)
                wanted = self.count - 1

    def density(self, occupation: Occupation) -> np.ndarray:
        """Density Σ f |psi|² (1/bohr³), not yet symmetrised."""
        result = np.zeros(self.grid.shape)
        for k, electrons in enumerate(occupation.electrons):
            for psi, f in self._occupied(k, electrons):
                result += f * np.abs(self._to_real(k, psi)) ** 2
        return result / self.grid.volume

    def orbital_potential(self, occupation: Occupation) -> np.ndarray:
        """rho dT/drho, the density times the derivative of the kinetic energy, not yet symmetrised:

        rho dT/drho = Σ f Re psi* (-1/2 nabla² psi) + Σ f (mu - e) |psi|²

        (R. A. King and N. C. Handy, Phys. Chem. Chem. Phys. 2, 5049 (2000)). For a local potential v, it equals
        rho (mu - v).
        """
        result = np.zeros(self.grid.shape)
        for k, electrons in enumerate(occupation.electrons):
            for band, (psi, f) in enumerate(self._occupied(k, electrons)):
                wave = self._to_real(k, psi)
                bent = self._to_real(k, psi * self.kinetic[k])
                shift = occupation.fermi_level - self.values[k, band]
                result += f * ((wave.conj() * bent).real + shift * np.abs(wave) ** 2)
        return result / self.grid.volume

    def _occupied(self, k: int, electrons: np.ndarray) -> Iterator[tuple[np.ndarray, np.floating]]:
        return ((psi, self.weights[k] * f) for psi, f in zip(self.states[k], electrons, strict=True) if f > 1e-14)

    def _to_real(self, k: int, coefficients: np.ndarray) -> np.ndarray:
        box = np.zeros((*coefficients.shape[:-1], self.grid.size), dtype=complex)
        box[..., self.index[k]] = coefficients
        box = box.reshape(*coefficients.shape[:-1], *self.grid.shape)
        return scipy.fft.ifftn(box, axes=(-3, -2, -1), norm="forward", overwrite_x=True)

    def _diagonalise(self, k: int, potential: np.ndarray, residual: float, wanted: int) -> None:
        def apply(rows: np.ndarray) -> np.ndarray:
            waves = self._to_real(k, rows)
            waves *= potential
            back = scipy.fft.fftn(waves, axes=(-3, -2, -1), norm="forward", overwrite_x=True)
            return back.reshape(len(rows), -1)[:, self.index[k]] + self.kinetic[k] * rows

        values, states, norms = lowest(apply, self.kinetic[k], self.states[k], residual, wanted)
        if norms[:wanted].max() > 100 * residual:
            raise SimulationError(f"eigenvectors have not converged (residual {norms[:wanted].max():.1e})")
        self.values[k], self.states[k] = values, states

    def _fill(self) -> Occupation:
        def missing(level: float) -> float:
            return float((self.weights @ erfc((self.values - level) / self.smearing)).sum() - self.electrons)

        margin = 10 * self.smearing
        level = _middle_root(missing, self.values.min() - margin, self.values.max() + margin)
        x = (self.values - level) / self.smearing
        electrons = erfc(x)
        energy = float((self.weights @ (electrons * self.values)).sum())
        entropy = -self.smearing / np.sqrt(np.pi) * float((self.weights @ np.exp(-(x**2))).sum())
        return Occupation(level, electrons, energy, entropy)

    def _add_bands(self, more: int) -> None:
        self.count += more
        for k, states in enumerate(self.states):
            extra = _start(self.kinetic[k], more, 1000 + k)
            self.states[k] = np.concatenate([states, extra])
        self.values = np.zeros((len(self.states), self.count))


def _middle_root(missing: Callable[[float], float], low: float, high: float) -> float:
    """Fermi level with the right number of electrons; in a gap, the middle of all such levels."""
    below = brentq(lambda level: missing(level) + 1e-11, low, high, xtol=1e-13)
    above = brentq(lambda level: missing(level) - 1e-11, low, high, xtol=1e-13)
    return 0.5 * (below + above)


def _start(kinetic: np.ndarray, count: int, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    rows = random.normal(size=(count, len(kinetic))) + 1j * random.normal(size=(count, len(kinetic)))
    return rows / (1 + kinetic / 0.5) ** 2
