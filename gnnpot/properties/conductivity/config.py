"""Options of conductivity simulations and their analysis."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from ase.data import chemical_symbols

from gnnpot.domains import FINITE, INTEGER_FROM_0, NOT_NEGATIVE, NOT_ZERO, POSITIVE, check_fields

#: elements whose mobile ions carry one elementary charge, of either sign
SINGLY_CHARGED = frozenset({"H", "Li", "Na", "K", "Rb", "Cs", "Cu", "Ag", "F", "Cl", "Br", "I"})


@dataclass(frozen=True, slots=True)
class AnalysisConfig:
    """Options of the analysis of displacements."""

    #: charge of the ion, in units of the elementary charge; None: 1, for ions that carry one, such as Li
    charge: Annotated[float | None, NOT_ZERO] = None
    jump_length: Annotated[float, POSITIVE] = 3.0  #: Å, approximate distance between neighbouring sites
    #: ps, shortest lag time of the fits; None: the time at which ions have left their sites
    fit_from: Annotated[float | None, POSITIVE] = None
    discard: Annotated[float, NOT_NEGATIVE] = 0.0  #: ps, initial part of the trajectory that is left out
    #: largest D of another element relative to the ion's; temperatures at which it is larger are left out of the fits
    framework_limit: Annotated[float, POSITIVE] = 0.02
    blocks: int = 10  #: number of blocks for block averages and their errors
    seed: Annotated[int, INTEGER_FROM_0] = 0  #: random seed for samples of the posteriors

    def __post_init__(self) -> None:
        check_fields(self)
        if self.blocks < 4:
            raise ValueError(f"blocks: {self.blocks} are too few to estimate errors; give at least 4")

    def charge_of(self, ion: str) -> float:
        """Return the charge of the ion. Raises `ValueError` if it is not given and has no default."""
        if self.charge is None and ion not in SINGLY_CHARGED:
            raise ValueError(f"charge: the charge of {ion} ions has no default; give it, as 2 for Mg or -2 for O")
        return 1.0 if self.charge is None else self.charge


@dataclass(frozen=True, slots=True)
class ConductivityConfig:
    """Options of the simulations and their analysis."""

    ion: str  #: element of the mobile ion
    temperatures: Annotated[tuple[float, ...], POSITIVE] = (500.0, 650.0, 800.0)  #: K
    supercell: tuple[int, int, int] | None = None  #: repeats; None: the least for heights of at least `min_length`
    min_length: Annotated[float, POSITIVE] = 12.0  #: Å, minimum height of the supercell if `supercell` is None
    #: `given`: cell of the structure; `npt`: mean volume at `pressure`; `npt-full`: mean cell, with its shape
    volume: Literal["given", "npt", "npt-full"] = "given"
    pressure: Annotated[float, FINITE] = 0.0  #: GPa, for `npt` and `npt-full`
    timestep: Annotated[float, POSITIVE] = 2.0  #: fs
    #: ps, equilibration at constant volume before production; for `npt…`, before it the same time at constant pressure
    equilibration: Annotated[float, NOT_NEGATIVE] = 10.0
    production: Annotated[float, POSITIVE] = 100.0  #: ps, length of the production run
    interval: Annotated[float, POSITIVE] = 100.0  #: fs, time between frames
    thermostat_time: Annotated[float, POSITIVE] = 1000.0  #: fs, time constant of the Bussi thermostat in production
    #: random seed of the first temperature; increases by 1 for each next one, and for each that is added later
    seed: Annotated[int, INTEGER_FROM_0] = 0
    analysis: AnalysisConfig = field(default_factory=AnalysisConfig)

    def __post_init__(self) -> None:
        check_fields(self)
        if not self.temperatures:
            raise ValueError("temperatures: there are none; give at least one")
        if self.ion not in chemical_symbols[1:]:
            raise ValueError(f"ion: '{self.ion}' is no chemical element; give a symbol, as Li")
        self.analysis.charge_of(self.ion)
        if len(set(self.temperatures)) < len(self.temperatures):
            twice = next(t for k, t in enumerate(self.temperatures) if t in self.temperatures[:k])
            raise ValueError(f"temperatures: {twice:g} K is given twice; give each temperature once")
        if self.supercell is not None and min(self.supercell) < 1:
            raise ValueError(f"supercell: {self.supercell} has a direction without a cell")
        if self.volume == "given" and self.pressure != 0:
            raise ValueError(
                "pressure: has no effect on a given volume; choose volume npt or npt-full, or leave it out"
            )
        if self.volume != "given" and self.equilibration == 0:
            raise ValueError(f"equilibration: 0 ps leave no time to find the volume of '{self.volume}'; give more")
        if self.interval < self.timestep or 1000 * self.production < 20 * self.interval:
            raise ValueError("interval: is shorter than a time step, or gives fewer than 20 frames; change it")

    def steps(self, picoseconds: float) -> int:
        """Number of time steps in a time (ps)."""
        return round(1000 * picoseconds / self.timestep)
