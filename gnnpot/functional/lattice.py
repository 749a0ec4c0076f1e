"""Structure factors of atoms on a grid, and gradients of fields at the atoms.

    factor = StructureFactor(fractional, shape)
    coefficients = factor.sum(charges)              # Σ_a q_a exp(-iG·R_a), half of the wave vectors
    slopes = factor.gradients(coefficients_of_v)    # ∂v/∂(fractional) at the atoms

exp(-iG·R) is the product of three factors, one for each axis, so that a sum over atoms is a matrix product for each
plane of wave vectors. This is exact, without interpolation of charges, and fast enough for thousands of atoms.
"""

import numpy as np


class StructureFactor:
    """Phases of atoms at `fractional` `[n, 3]` on a grid of `shape`."""

    def __init__(self, fractional: np.ndarray, shape: tuple[int, int, int]) -> None:
        self.shape = shape
        axes = [np.fft.fftfreq(n, 1 / n) for n in shape]
        axes[2] = np.arange(shape[2] // 2 + 1, dtype=float)
        self.axes = axes
        self.phases = [np.exp(-2j * np.pi * np.outer(fractional[:, i], axis)) for i, axis in enumerate(axes)]

    def sum(self, weights: np.ndarray) -> np.ndarray:
        """Σ_a w_a exp(-iG·R_a) `[n1, n2, n3 // 2 + 1]`."""
        first, second, third = self.phases
        result = np.empty((self.shape[0], self.shape[1], third.shape[1]), dtype=complex)
        for i in range(self.shape[0]):
            result[i] = (weights[:, None] * first[:, i : i + 1] * second).T @ third
        return result

    def gradients(self, coefficients: np.ndarray) -> np.ndarray:
        """`[n, 3]` derivatives of Σ_G f(G) exp(iG·R) with respect to the fractional coordinates.

        `coefficients` are half of those of a real field. In even grids, the plane of the largest m3 is left out, as the
        sign of its wave vectors is not defined.
        """
        first, second, third = (phase.conj() for phase in self.phases)
        weights = np.full(third.shape[1], 2.0)
        weights[0] = 1.0
        if self.shape[2] % 2 == 0:
            weights[-1] = 0.0
        value = weights * third
        slope = value * self.axes[2]
        result = np.zeros((len(first), 3))
        for i in range(self.shape[0]):
            plane = coefficients[i]
            left, left_slope = second @ plane, (second * self.axes[1]) @ plane
            phase = 2j * np.pi * first[:, i]
            result[:, 0] += (phase * self.axes[0][i] * np.einsum("aj,aj->a", left, value)).real
            result[:, 1] += (phase * np.einsum("aj,aj->a", left_slope, value)).real
            result[:, 2] += (phase * np.einsum("aj,aj->a", left, slope)).real
        return result
