"""Displacements of random walks with a known diffusion coefficient."""

from dataclasses import replace

import numpy as np
from scipy.signal import lfilter

from gnnpot.properties.conductivity import Displacements

#: Å, ps
SIDE, FRAME_TIME = 20.0, 0.2


def walk(tracer: float, haven: float = 1.0, *, ions: int = 24, frames: int = 1200, seed: int = 0) -> Displacements:
    """A random walk with vibrations; D_tracer in cm²/s."""
    rng = np.random.default_rng(seed)
    common = (1 / haven - 1) / (ions - 1)
    own, shared = rng.normal(size=(frames, ions, 3)), rng.normal(size=(frames, 1, 3))
    steps = np.sqrt(2 * tracer * 1e4 * FRAME_TIME) * (np.sqrt(1 - common) * own + np.sqrt(common) * shared)
    positions = np.cumsum(steps, axis=0) + rng.uniform(0, SIDE, (ions, 3)) + 0.2 * rng.normal(size=steps.shape)
    return Displacements("Li", positions.astype(np.float32), {}, FRAME_TIME, SIDE * np.eye(3), ions)


def with_framework(moved: Displacements, share: float, *, atoms: int = 30, seed: int = 50) -> Displacements:
    """Add sulphur that vibrates, librates slowly, and diffuses at `share` of 2e-5 cm²/s; and still phosphorus."""
    frames = len(moved.ions)
    still = walk(0.0, ions=6, frames=frames, seed=seed + 1).ions
    rng = np.random.default_rng(seed + 2)
    # a correlation time of 10 ps
    slow = lfilter([np.sqrt(1 - 0.98**2)], [1, -0.98], rng.normal(size=(frames, atoms, 3)), axis=0)
    moving = walk(share * 2e-5, ions=atoms, frames=frames, seed=seed).ions + 0.3 * slow.astype(np.float32)
    return replace(moved, framework={"P": still, "S": moving}, atoms=moved.atoms + 6 + atoms)
