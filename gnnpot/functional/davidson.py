"""Block Davidson algorithm for the lowest eigenvectors of a Hermitian operator.

    values, vectors, residuals = lowest(apply, kinetic, start, tolerance=1e-6)

Vectors are rows. The subspace is extended by the preconditioned residuals of the vectors that have not converged (M. P.
Teter, M. C. Payne and D. C. Allan, Phys. Rev. B 40, 12255 (1989)), and restarted at four times the number of vectors.
"""

from collections.abc import Callable

import numpy as np
from scipy.linalg import eigh

RESTART = 4


def lowest(
    apply: Callable[[np.ndarray], np.ndarray],
    kinetic: np.ndarray,
    start: np.ndarray,
    tolerance: float,
    wanted: int | None = None,
    steps: int = 60,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Calculate the b lowest eigenvectors.

    Args:
        apply: Applies the operator to rows `[m, n]`.
        kinetic: `[n]` kinetic energies of the plane waves, for the preconditioner.
        start: `[b, n]` initial vectors, linearly independent.
        tolerance: Largest norm of the residuals of the first `wanted` vectors at convergence.
        wanted: Number of vectors that must converge; by default, all.
        steps: Largest number of extensions of the subspace.

    Returns:
        Eigenvalues `[b]`, eigenvectors `[b, n]` and norms of the residuals `[b]`.
    """
    count = len(start)
    wanted = count if wanted is None else min(wanted, count)
    basis = _orthonormal(start)
    images = apply(basis)
    for step in range(steps + 1):
        matrix = basis.conj() @ images.T
        values, rotation = eigh(0.5 * (matrix + matrix.conj().T), subset_by_index=(0, count - 1))
        vectors, applied = rotation.T @ basis, rotation.T @ images
        residual = applied - values[:, None] * vectors
        norms = np.linalg.norm(residual, axis=1)
        if norms[:wanted].max() < tolerance or step == steps:
            break
        if len(basis) + count > RESTART * count:
            basis, images = vectors, applied
        open_ones = norms > 0.3 * tolerance
        more = _precondition(residual[open_ones], vectors[open_ones], kinetic)
        more = _orthonormal(more, basis)
        basis, images = np.concatenate([basis, more]), np.concatenate([images, apply(more)])
    return values, vectors, norms


def _precondition(residual: np.ndarray, vectors: np.ndarray, kinetic: np.ndarray) -> np.ndarray:
    energy = (np.abs(vectors) ** 2) @ kinetic
    x = kinetic[None, :] / np.maximum(1.5 * energy, 1e-3)[:, None]
    smooth = 27 + x * (18 + x * (12 + 8 * x))
    return residual * (smooth / (smooth + 16 * x**4))


def _orthonormal(rows: np.ndarray, against: np.ndarray | None = None) -> np.ndarray:
    rows = rows / np.linalg.norm(rows, axis=1)[:, None]
    for _ in range(2):
        if against is not None:
            rows = rows - (rows @ against.conj().T) @ against
        rows = np.linalg.qr(rows.T)[0].T
    return rows
