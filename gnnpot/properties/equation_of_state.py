"""Birch-Murnaghan equation of state of a crystal under uniform scaling.

    state = calc(atoms, calculator)                                # any ASE calculator; batched for gnnpot's
    state.volume, state.bulk_modulus / GPA
    state.plot(Path("eos.png"))

    state = fit_birch_murnaghan(volumes, energies)                 # from given energies

The third-order Birch-Murnaghan equation is a cubic polynomial in x = V^(-2/3),

    E(V) = E0 + 9/16 V0 B0 { (q - 1)³ B1 + (q - 1)² (6 - 4 q) },   q = (V0 / V)^(2/3)                          (1)

which is fitted by linear least squares, E = c0 + c1 x + c2 x² + c3 x³. At the minimum, dE/dx = 0 with d²E/dx² > 0, and

    B0 = V d²E/dV² = (4/9) V^(-7/3) d²E/dx²,                                                                  (2)
    B1 = dB/dP = 4 + 2/3 V0^(-2/3) d³E/dx³ / (d²E/dx²).                                                       (3)

Equation (3) follows from comparing c3 (x - x0)³ with the third-order term of (1), 9/16 V0 B0 (B1 - 4) (q - 1)³.

Source: Birch, Phys. Rev. 71, 809 (1947); fit as in Lejaeghere et al., Crit. Rev. Solid State 39, 1 (2014).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator as AseCalculator

from gnnpot.data.structures import StructureLike
from gnnpot.domains import INTEGER_FROM_0, check_fields
from gnnpot.engines.predict import energies_of
from gnnpot.errors import SimulationError
from gnnpot.properties.relaxed import crystal_of
from gnnpot.units import GPA

#: default volumes, relative to the volume of the given crystal
RATIOS = np.linspace(0.94, 1.06, 7)


@dataclass(frozen=True, eq=False)
class EquationOfState:
    """Equation of state: parameters at the minimum, and the fitted volumes and energies."""

    energy: float  #: eV, energy of the cell at the minimum, E0
    volume: float  #: Å³, volume of the cell at the minimum, V0
    bulk_modulus: float  #: eV/Å³, B0
    derivative: float  #: dB/dP, B1
    residual: float  #: eV, root mean square of the residuals of the fit
    volumes: np.ndarray  #: [M] Å³, fitted volumes
    energies: np.ndarray  #: [M] eV, fitted energies
    shifts: int = 0  #: number of times the volumes were scaled to reach the minimum

    def to_json(self) -> dict[str, Any]:
        """All fields, with units in the keys."""
        return {
            "energy_eV": self.energy,
            "volume_A3": self.volume,
            "bulk_modulus_GPa": self.bulk_modulus / GPA,
            "bulk_modulus_derivative": self.derivative,
            "residual_eV": self.residual,
            "volumes_A3": np.asarray(self.volumes).tolist(),
            "energies_eV": np.asarray(self.energies).tolist(),
            "shifts": self.shifts,
        }

    def energies_at(self, volumes: np.ndarray) -> np.ndarray:
        """Energies by equation (1) at `volumes` (Å³), eV."""
        q = (self.volume / np.asarray(volumes)) ** (2 / 3)
        strain = (q - 1) ** 3 * self.derivative + (q - 1) ** 2 * (6 - 4 * q)
        return self.energy + 9 / 16 * self.volume * self.bulk_modulus * strain

    def plot(self, path: Path) -> None:
        """Save a plot of the energies and the fitted curve as PNG."""
        from gnnpot.runs.pages import COLORS, new_figure, tidy

        figure = new_figure()
        axes = figure.add_subplot()
        span = np.linspace(min(self.volumes), max(self.volumes), 200)
        axes.plot(span, self.energies_at(span) - self.energy, color=COLORS[0], linewidth=1.6, label="Birch-Murnaghan")
        axes.plot(
            self.volumes,
            np.asarray(self.energies) - self.energy,
            "o",
            color=COLORS[0],
            markersize=4,
            label="calculated",
        )
        modulus = f"V = {self.volume:.2f} Å³, B = {self.bulk_modulus / GPA:.0f} GPa"
        axes.set(xlabel="volume, Å³", ylabel="energy above the minimum, eV", title=modulus)
        axes.legend(frameon=False, fontsize=8)
        tidy(axes)
        figure.savefig(path)


def fit_birch_murnaghan(volumes: np.ndarray, energies: np.ndarray) -> EquationOfState | None:
    """Fit equation (1) to volumes (Å³, at least four) and energies (eV); None if the curve has no minimum.

    The minimum may be outside the range of volumes, i.e. extrapolated; the caller should check this.
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
    # the root of dE/dt = c1 + 2 c2 t + 3 c3 t² with d²E/dt² > 0, in a form that is accurate if c3 is close to zero
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
        volumes=volumes,
        energies=energies,
    )


def scaled_to(atoms: Atoms, volume: float) -> Atoms:
    """Copy of a crystal, scaled to a volume (Å³) at constant shape and fractional coordinates."""
    scaled = atoms.copy()
    scaled.set_cell(atoms.cell * (volume / atoms.get_volume()) ** (1 / 3), scale_atoms=True)
    return scaled


def scaled_energies(atoms: Atoms, calculator: AseCalculator, volumes: Sequence[float] | np.ndarray) -> np.ndarray:
    """Energies of a crystal scaled to `volumes` (Å³), [M] eV.

    Raises:
        UnknownElementError: The potential has not been trained on an element.
    """
    return energies_of((scaled_to(atoms, float(volume)) for volume in volumes), calculator)


@dataclass(frozen=True, slots=True)
class EquationOfStateConfig:
    """Options of `calc`.

    Args:
        volumes: Å³, volumes of the cell, at least four; default: seven from 0.94 to 1.06 of the given volume.
        max_shifts: Maximum number of times the volumes are scaled to reach the minimum.
    """

    volumes: Sequence[float] | None = None
    max_shifts: Annotated[int, INTEGER_FROM_0] = 8

    def __post_init__(self) -> None:
        check_fields(self)
        if self.volumes is not None and (len(set(self.volumes)) < 4 or not min(self.volumes) > 0):
            raise ValueError(
                f"volumes: {[*map(float, self.volumes)]} are not four or more different volumes above 0 Å³"
            )


def calc(
    atoms: StructureLike,
    calculator: AseCalculator,
    config: EquationOfStateConfig | None = None,
) -> EquationOfState:
    """Calculate the equation of state of a crystal.

    If the minimum is outside the range of volumes, all volumes are scaled by a common factor towards it.

    Args:
        atoms: Crystal; it is scaled at constant shape and fractional coordinates.
        calculator: Any ASE calculator.
        config: Options; default: `EquationOfStateConfig()`.

    Returns:
        Energy, volume and bulk modulus at the minimum, and the fitted volumes and energies.

    Raises:
        DataError: The structure is not a crystal.
        SimulationError: No minimum is found near the volumes, or an energy is not finite.
        UnknownElementError: The potential has not been trained on an element.
    """
    config = config or EquationOfStateConfig()
    atoms = crystal_of(atoms, "equation of state")
    asked = atoms.get_volume() * RATIOS if config.volumes is None else np.asarray(config.volumes, dtype=float)
    tried, formula = asked, atoms.get_chemical_formula()
    for shifts in range(config.max_shifts + 1):
        energies = scaled_energies(atoms, calculator, tried)
        if not np.isfinite(energies).all():
            raise SimulationError(
                f"{formula}: an energy is not finite between {tried.min():.2f} and {tried.max():.2f} Å³"
            )
        state = fit_birch_murnaghan(tried, energies)
        if state is not None and tried.min() <= state.volume <= tried.max():
            return replace(state, shifts=shifts)
        # shift by half of the range, towards the lower energy
        step = np.sqrt(tried.max() / tried.min())
        tried = tried / step if energies[np.argmin(tried)] < energies[np.argmax(tried)] else tried * step
    raise SimulationError(
        f"{formula}: the energy has no minimum near {asked.min():.2f} to {asked.max():.2f} Å³; relax the cell first"
    )
