"""Energy against volume: equilibrium volume and bulk modulus of a crystal that is scaled as a whole.

    volumes = atoms.get_volume() * np.linspace(0.94, 1.06, 7)
    state = fit_birch_murnaghan(volumes, scaled_energies(potential, atoms, volumes))
    state.volume, state.bulk_modulus / GPA

The equation of Birch and Murnaghan of third order is a cubic in x = V^(-2/3),

    E(V) = E0 + 9/16 V0 B0 { (q - 1)³ B1 + (q - 1)² (6 - 4 q) },   q = (V0 / V)^(2/3)                          (1)

so that it is fitted by linear least squares, E = c0 + c1 x + c2 x² + c3 x³. The minimum is where dE/dx = 0 with
d²E/dx² > 0, and there

    B0 = V d²E/dV² = (4/9) V^(-7/3) d²E/dx²,                                                                  (2)
    B1 = dB/dP = 4 + 2/3 V0^(-2/3) d³E/dx³ / (d²E/dx²),                                                       (3)

(3) by comparing c3 (x - x0)³ with what (1) has of the third order in q - 1, 9/16 V0 B0 (B1 - 4) (q - 1)³.

Source: Birch, Phys. Rev. 71, 809 (1947); fitted as by Lejaeghere et al., Crit. Rev. Solid State 39, 1 (2014).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from torch_geometric.data import Batch

from gnnpot.potential import Potential


@dataclass(frozen=True, slots=True)
class EquationOfState:
    """A crystal at its minimum."""

    energy: float  #: eV, of the cell
    volume: float  #: Å³, of the cell
    bulk_modulus: float  #: eV/Å³
    derivative: float  #: dB/dP
    residual: float  #: eV, root mean square of what the fit leaves


def fit_birch_murnaghan(volumes: np.ndarray, energies: np.ndarray) -> EquationOfState | None:
    """Equation (1) fitted to volumes (Å³, at least four) and energies (eV); None if it has no minimum.

    The minimum may lie beyond the volumes: then it is extrapolated, and the caller's to judge.
    """
    volumes, energies = np.asarray(volumes, dtype=float), np.asarray(energies, dtype=float)
    if not np.isfinite(energies).all():
        return None
    x = volumes ** (-2 / 3)
    centre, width = x.mean(), np.ptp(x)
    t = (x - centre) / width
    c0, c1, c2, c3 = np.polynomial.polynomial.polyfit(t, energies, 3)
    discriminant = c2**2 - 3 * c1 * c3
    if not discriminant > 0 or (c2 < 0 and c3 == 0):
        return None
    # of the two roots of dE/dt = c1 + 2 c2 t + 3 c3 t² that with d²E/dt² > 0; a cubic term near zero does it no harm
    root = np.sqrt(discriminant)
    place = -c1 / (c2 + root) if c2 >= 0 else (root - c2) / (3 * c3)
    if centre + width * place <= 0:
        return None
    volume = float((centre + width * place) ** -1.5)
    second, third = 2 * root / width**2, 6 * c3 / width**3
    misfit = c0 + c1 * t + c2 * t**2 + c3 * t**3 - energies
    return EquationOfState(
        energy=float(c0 + c1 * place + c2 * place**2 + c3 * place**3),
        volume=volume,
        bulk_modulus=float(4 / 9 * volume ** (-7 / 3) * second),
        derivative=float(4 + 2 / 3 * volume ** (-2 / 3) * third / second),
        residual=float(np.sqrt(np.mean(misfit**2))),
    )


def scaled_to(atoms: Atoms, volume: float) -> Atoms:
    """A copy of a crystal, scaled to a volume (Å³) with its shape and fractional coordinates kept."""
    scaled = atoms.copy()
    scaled.set_cell(atoms.cell * (volume / atoms.get_volume()) ** (1 / 3), scale_atoms=True)
    return scaled


def scaled_energies(potential: Potential, atoms: Atoms, volumes: Sequence[float]) -> np.ndarray:
    """Energies without references, eV, of a crystal scaled to `volumes` (Å³), [M]. Raises `UnknownElementError`."""
    batch = Batch.from_data_list([potential.graph(scaled_to(atoms, v)) for v in volumes]).to(potential.device)
    energies = potential(batch, stress=False).energies.detach() - potential.reference_energies[batch.numbers]
    total = energies.new_zeros(len(volumes)).index_add(0, batch.batch, energies)
    return total.cpu().numpy()


def equation_of_state(
    potential: Potential, atoms: Atoms, volumes: np.ndarray, *, moves: int = 8
) -> tuple[EquationOfState | None, int]:
    """The potential's equation of state of a crystal, fitted over `volumes` (Å³), and how often they were moved.

    Where the minimum lies beyond them, all are scaled by one factor towards it, at most `moves` times; None: there is
    none near. Raises `UnknownElementError`.
    """
    volumes = np.asarray(volumes, dtype=float)
    for moved in range(moves + 1):
        energies = scaled_energies(potential, atoms, volumes.tolist())
        state = fit_birch_murnaghan(volumes, energies)
        if state is not None and volumes.min() <= state.volume <= volumes.max():
            return state, moved
        if not np.isfinite(energies).all():
            break
        # by half of their range, towards the lowest energy
        step = np.sqrt(volumes.max() / volumes.min())
        volumes = volumes / step if energies[np.argmin(volumes)] < energies[np.argmax(volumes)] else volumes * step
    return None, moved
