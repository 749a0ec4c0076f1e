"""Options and results of a run of molecular dynamics."""

from dataclasses import dataclass, fields
from typing import Annotated, Literal, get_args

from ase import Atoms

from gnnpot.domains import NOT_NEGATIVE, POSITIVE, STEPS, TIMESTEP, WHOLE_FROM_0, WHOLE_FROM_1, check_fields

Ensemble = Literal[
    "nve",
    "bussi",
    "langevin",
    "nose-hoover",
    "npt-isotropic",
    "npt-full",
    "npt-langevin",
    "npt-langevin-full",
]
ENSEMBLES: tuple[str, ...] = get_args(Ensemble)
#: ensembles in which the cell changes
CONSTANT_PRESSURE = frozenset(name for name in ENSEMBLES if name.startswith("npt"))
#: ensembles whose random forces change the total momentum, and that conserve no energy
LANGEVIN = frozenset(name for name in ENSEMBLES if "langevin" in name)

#: the options besides `timestep` and `seed` that decide where a run goes, for each ensemble
_DECISIVE: dict[str, tuple[str, ...]] = {
    "nve": ("temperature",),
    "bussi": ("temperature", "taut"),
    "langevin": ("temperature", "friction"),
    "nose-hoover": ("temperature", "taut"),
    "npt-isotropic": ("temperature", "taut", "pressure", "taup"),
    "npt-full": ("temperature", "taut", "pressure", "taup"),
    "npt-langevin": ("temperature", "friction", "pressure", "taup"),
    "npt-langevin-full": ("temperature", "friction", "pressure", "taup"),
}


@dataclass(frozen=True, slots=True)
class MDConfig:
    """Options of `run_md`."""

    ensemble: Ensemble = "bussi"  #: `nve` has no thermostat; `npt-…` are of constant pressure, `…-full` of any shape
    temperature: Annotated[float, NOT_NEGATIVE] = 300.0  #: K, of the thermostat and of the starting velocities
    #: K; the thermostat changes linearly to it over `steps`; empty: it is constant
    temperature_end: Annotated[float | None, NOT_NEGATIVE] = None
    pressure: float = 0.0  #: GPa, of the ensembles `npt-…`
    timestep: Annotated[float, TIMESTEP] = 1.0  #: fs
    steps: Annotated[int, STEPS] = 1000  #: in all, those before a resume included
    taut: Annotated[float, POSITIVE] = 100.0  #: fs, time constant of the thermostats `bussi` and of Nosé-Hoover chains
    taup: Annotated[float, POSITIVE] = 1000.0  #: fs, time constant of the barostats
    friction: Annotated[float, POSITIVE] = 0.01  #: 1/fs, of `langevin` and `npt-langevin…`
    seed: Annotated[int, WHOLE_FROM_0] = 0  #: of the starting velocities and of the thermostat
    keep_velocities: bool = False  #: start with the velocities that the atoms have
    equilibration: Annotated[int, WHOLE_FROM_0] = 0  #: steps at the start that the means leave out
    interval: Annotated[int, WHOLE_FROM_1] = 10  #: steps between frames and log lines
    elements: tuple[str, ...] = ()  #: whose positions a `.zarr` trajectory holds; empty: all
    max_temperature: Annotated[float, POSITIVE] = 20000.0  #: K; a run that gets hotter is stopped

    def __post_init__(self) -> None:
        check_fields(self)
        for name in ("temperature", "temperature_end"):
            value = getattr(self, name)
            if value is not None and value > self.max_temperature:
                raise ValueError(
                    f"{name}: {value:g} K is above max_temperature, {self.max_temperature:g} K, where a run is stopped"
                )
            if value == 0 and self.ensemble != "nve" and self.ensemble not in LANGEVIN:
                raise ValueError(f"{name}: 0 K can't be reached by '{self.ensemble}', which only scales what moves")
        if self.temperature_end is not None and self.ensemble == "nve":
            raise ValueError("temperature_end: 'nve' has no thermostat; choose another ensemble")

    @property
    def changes_cell(self) -> bool:
        return self.ensemble in CONSTANT_PRESSURE

    def target(self, step: int) -> float:
        """The thermostat's temperature (K) of step `step`."""
        if self.temperature_end is None:
            return self.temperature
        return self.temperature + (self.temperature_end - self.temperature) * min(step / max(self.steps, 1), 1.0)

    def decisive(self) -> dict[str, object]:
        """The options that decide where the run goes: a resume must share them."""
        names = ["ensemble", "timestep", "seed", "keep_velocities", *_DECISIVE[self.ensemble]]
        if self.temperature_end is not None:
            # the ramp spans all steps
            names += ["temperature_end", "steps"]
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name in names}


@dataclass(frozen=True, slots=True)
class MDSample:
    """One step in numbers."""

    step: int
    time: float  #: fs
    temperature: float  #: K
    potential: float  #: eV
    kinetic: float  #: eV
    conserved: float  #: eV, what the ensemble's equations of motion conserve; the total energy for Langevin's
    volume: float | None = None  #: Å³, of the ensembles `npt-…`
    pressure: float | None = None  #: GPa, with the kinetic part; only where a log line is written


@dataclass(frozen=True, slots=True)
class MDResult:
    """What a run came to; means are over all steps after `MDConfig.equilibration`, those before a resume included."""

    atoms: Atoms  #: the last state, with velocities
    steps: int  #: of the whole run
    time: float  #: fs, of the whole run
    averaged: int  #: steps that the means are over
    temperature: float  #: K, mean
    potential_energy: float  #: eV, mean
    volume: float | None  #: Å³, mean; None where the cell is fixed
    energy_drift: float  #: eV per atom and ps, slope of the conserved energy; NaN for Langevin's and for ramps
    seconds: float  #: wall time of this call
    microseconds_per_atom_step: float
