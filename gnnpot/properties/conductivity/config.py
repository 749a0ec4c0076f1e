"""Options of the analysis, and of the simulations before it."""

import math
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True)
class AnalysisConfig:
    """How displacements become transport coefficients."""

    charge: float = 1.0  #: of the ion, in units of the elementary charge
    jump_length: float = 3.0  #: Å, about the distance between neighbouring sites
    fit_from: float | None = None  #: ps, shortest lag of the fits; None: where the ions have left their sites
    discard: float = 0.0  #: ps at the start that are left out
    blocks: int = 10  #: parts of the run whose scatter gives the block averages' errors
    seed: int = 0  #: of the sampling of kinisi

    def __post_init__(self) -> None:
        for name in ("jump_length",):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name}: {getattr(self, name)} is not a positive number")
        if not math.isfinite(self.charge) or self.charge == 0:
            raise ValueError(f"charge: {self.charge} conducts nothing")
        if self.fit_from is not None and not 0 < self.fit_from < math.inf:
            raise ValueError(f"fit_from: {self.fit_from} is not a positive number")
        if not 0 <= self.discard < math.inf:
            raise ValueError(f"discard: {self.discard} is not a number from 0 on")
        if self.blocks < 4:
            raise ValueError(f"blocks: {self.blocks} parts have no scatter to speak of; give at least 4")
        if self.seed < 0:
            raise ValueError(f"seed: {self.seed} is negative")


@dataclass(frozen=True, slots=True)
class ConductivityConfig:
    """What is simulated, and how it is analysed."""

    ion: str  #: element that moves
    temperatures: tuple[float, ...] = (500.0, 650.0, 800.0)  #: K
    supercell: tuple[int, int, int] | None = None  #: repetitions; None: each height at least `min_length`
    min_length: float = 12.0  #: Å, heights of the supercell where `supercell` is None
    volume: Literal["given", "npt"] = "given"  #: the cell of the structure, or the mean one without pressure
    timestep: float = 2.0  #: fs
    equilibration: float = 10.0  #: ps of constant volume before the production; as long at constant pressure for `npt`
    production: float = 100.0  #: ps
    interval: float = 100.0  #: fs between frames
    thermostat_time: float = 1000.0  #: fs, of Bussi's thermostat in the production
    seed: int = 0  #: of the first temperature; each next one has the next seed
    analysis: AnalysisConfig = field(default_factory=AnalysisConfig)

    def __post_init__(self) -> None:
        if not self.temperatures or any(not 0 < t < math.inf for t in self.temperatures):
            raise ValueError(f"temperatures: {self.temperatures} are not positive numbers")
        if len(set(self.temperatures)) < len(self.temperatures):
            raise ValueError("temperatures: one is given twice")
        if self.supercell is not None and min(self.supercell) < 1:
            raise ValueError(f"supercell: {self.supercell} has a direction without a cell")
        if self.volume not in ("given", "npt"):
            raise ValueError(f"volume: '{self.volume}' is neither 'given' nor 'npt'")
        for name in ("min_length", "timestep", "production", "interval", "thermostat_time"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name}: {getattr(self, name)} is not a positive number")
        if not 0 <= self.equilibration < math.inf:
            raise ValueError(f"equilibration: {self.equilibration} is not a number from 0 on")
        if self.interval < self.timestep or 1000 * self.production < 20 * self.interval:
            raise ValueError("interval: is shorter than a time step, or gives fewer than 20 frames; change it")
        if self.seed < 0:
            raise ValueError(f"seed: {self.seed} is negative")

    def steps(self, picoseconds: float) -> int:
        """Time steps in a time."""
        return round(1000 * picoseconds / self.timestep)
