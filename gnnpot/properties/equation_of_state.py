"""Equation of state of a crystal that is scaled as a whole.

    state = calc(atoms, calculator)                                # any ASE calculator; gnnpot's works in batches
    state.volume, state.bulk_modulus / GPA
    state.plot(Path("eos.png"))

    state = fit_birch_murnaghan(volumes, energies)                 # from energies that are known

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
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator as AseCalculator

from gnnpot.data.structures import StructureLike
from gnnpot.domains import WHOLE_FROM_0, check_fields
from gnnpot.engines.predict import energies_of
from gnnpot.errors import SimulationError
from gnnpot.properties.relaxed import crystal_of
from gnnpot.units import GPA

#: volumes over that of the given crystal
RATIOS = np.linspace(0.94, 1.06, 7)


@dataclass(frozen=True, eq=False)
class EquationOfState:
    """A crystal at its minimum, and the curve that was fitted."""

    energy: float  #: eV, of the cell
    volume: float  #: Å³, of the cell
    bulk_modulus: float  #: eV/Å³
    derivative: float  #: dB/dP
    residual: float  #: eV, root mean square of what the fit leaves
    volumes: np.ndarray  #: [M] Å³, that were fitted
    energies: np.ndarray  #: [M] eV
    shifts: int = 0  #: how often the volumes were scaled to reach the minimum

    def to_json(self) -> dict[str, Any]:
        """All of it, with units in the names."""
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
        """Equation (1) at `volumes` (Å³), eV."""
        q = (self.volume / np.asarray(volumes)) ** (2 / 3)
        strain = (q - 1) ** 3 * self.derivative + (q - 1) ** 2 * (6 - 4 * q)
        return self.energy + 9 / 16 * self.volume * self.bulk_modulus * strain

    def plot(self, path: Path) -> None:
        """The energies and the fitted curve, as PNG."""
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
        volumes=volumes,
        energies=energies,
    )


def scaled_to(atoms: Atoms, volume: float) -> Atoms:
    """A copy of a crystal, scaled to a volume (Å³) with its shape and fractional coordinates kept."""
    scaled = atoms.copy()
    scaled.set_cell(atoms.cell * (volume / atoms.get_volume()) ** (1 / 3), scale_atoms=True)
    return scaled


def scaled_energies(atoms: Atoms, calculator: AseCalculator, volumes: Sequence[float] | np.ndarray) -> np.ndarray:
    """Energies of a crystal scaled to `volumes` (Å³), [M] eV.

    Raises:
        UnknownElementError: The potential has not seen an element.
    """
    return energies_of((scaled_to(atoms, float(volume)) for volume in volumes), calculator)


@dataclass(frozen=True, slots=True)
class EquationOfStateConfig:
    """Which volumes are calculated.

    Args:
        volumes: Å³, of the cell, at least four; by default seven from 0.94 to 1.06 of the crystal's.
        max_shifts: How often the volumes may be scaled.
    """

    volumes: Sequence[float] | None = None
    max_shifts: Annotated[int, WHOLE_FROM_0] = 8

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
    """The equation of state of a crystal by a calculator.

    Where the minimum lies beyond the volumes, all are scaled by one factor towards it.

    Args:
        atoms: The crystal; it is scaled with its shape and fractional coordinates kept.
        calculator: Any ASE calculator.
        config: Options; by default `EquationOfStateConfig()`.

    Returns:
        Energy, volume and bulk modulus at the minimum, and the curve that was fitted.

    Raises:
        DataError: The structure is no crystal.
        SimulationError: There is no minimum near, or an energy is not finite.
        UnknownElementError: The potential has not seen an element.
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
        # by half of their range, towards the lowest energy
        step = np.sqrt(tried.max() / tried.min())
        tried = tried / step if energies[np.argmin(tried)] < energies[np.argmax(tried)] else tried * step
    raise SimulationError(
        f"{formula}: the energy has no minimum near {asked.min():.2f} to {asked.max():.2f} Å³; relax the cell first"
    )
