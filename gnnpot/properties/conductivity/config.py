"""Options of the analysis, and of the simulations before it."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from ase.data import chemical_symbols

from gnnpot.domains import NOT_NEGATIVE, NOT_ZERO, POSITIVE, WHOLE_FROM_0, check_fields

#: elements whose mobile ions carry one elementary charge, of either sign
SINGLY_CHARGED = frozenset({"H", "Li", "Na", "K", "Rb", "Cs", "Cu", "Ag", "F", "Cl", "Br", "I"})


@dataclass(frozen=True, slots=True)
class AnalysisConfig:
    """How displacements become transport coefficients."""

    charge: Annotated[float, NOT_ZERO] = 1.0  #: of the ion, in units of the elementary charge
    jump_length: Annotated[float, POSITIVE] = 3.0  #: Å, about the distance between neighbouring sites
    #: ps, shortest lag of the fits; None: where the ions have left their sites
    fit_from: Annotated[float | None, POSITIVE] = None
    discard: Annotated[float, NOT_NEGATIVE] = 0.0  #: ps at the start that are left out
    blocks: int = 10  #: parts of the run whose scatter gives the block averages' errors
    seed: Annotated[int, WHOLE_FROM_0] = 0  #: of the samples of the posteriors

    def __post_init__(self) -> None:
        check_fields(self)
        if self.blocks < 4:
            raise ValueError(f"blocks: {self.blocks} parts have no scatter to speak of; give at least 4")


@dataclass(frozen=True, slots=True)
class ConductivityConfig:
    """What is simulated, and how it is analysed."""

    ion: str  #: element that moves
    temperatures: Annotated[tuple[float, ...], POSITIVE] = (500.0, 650.0, 800.0)  #: K
    supercell: tuple[int, int, int] | None = None  #: repetitions; None: each height at least `min_length`
    min_length: Annotated[float, POSITIVE] = 12.0  #: Å, heights of the supercell where `supercell` is None
    volume: Literal["given", "npt"] = "given"  #: the cell of the structure, or the mean one without pressure
    timestep: Annotated[float, POSITIVE] = 2.0  #: fs
    #: ps of constant volume before the production; as long at constant pressure for `npt`
    equilibration: Annotated[float, NOT_NEGATIVE] = 10.0
    production: Annotated[float, POSITIVE] = 100.0  #: ps
    interval: Annotated[float, POSITIVE] = 100.0  #: fs between frames
    thermostat_time: Annotated[float, POSITIVE] = 1000.0  #: fs, of Bussi's thermostat in the production
    seed: Annotated[int, WHOLE_FROM_0] = 0  #: of the first temperature; each next one has the next seed
    analysis: AnalysisConfig = field(default_factory=AnalysisConfig)

    def __post_init__(self) -> None:
        check_fields(self)
        if not self.temperatures:
            raise ValueError("temperatures: there are none; give at least one")
        if self.ion not in chemical_symbols[1:]:
            raise ValueError(f"ion: '{self.ion}' is no chemical element; give a symbol, as Li")
        if len(set(self.temperatures)) < len(self.temperatures):
            raise ValueError("temperatures: one is given twice")
        if self.supercell is not None and min(self.supercell) < 1:
            raise ValueError(f"supercell: {self.supercell} has a direction without a cell")
        if self.interval < self.timestep or 1000 * self.production < 20 * self.interval:
            raise ValueError("interval: is shorter than a time step, or gives fewer than 20 frames; change it")

    def steps(self, picoseconds: float) -> int:
        """Time steps in a time."""
        return round(1000 * picoseconds / self.timestep)
