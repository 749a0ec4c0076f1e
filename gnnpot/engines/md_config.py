"""Options and results of a run of molecular dynamics."""

import math
from dataclasses import dataclass, fields
from numbers import Integral
from typing import Literal, get_args

from ase import Atoms

from gnnpot.errors import suggest

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

    ensemble: Ensemble = "bussi"
    temperature: float = 300.0  #: K, of the thermostat and of the starting velocities
    temperature_end: float | None = (
        None  #: K; the thermostat changes linearly to it over `steps`; empty: it is constant
    )
    pressure: float = 0.0  #: GPa, of the ensembles `npt-…`
    timestep: float = 1.0  #: fs
    steps: int = 1000  #: in all, those before a resume included
    taut: float = 100.0  #: fs, time constant of the thermostats `bussi` and of Nosé-Hoover chains
    taup: float = 1000.0  #: fs, time constant of the barostats
    friction: float = 0.01  #: 1/fs, of `langevin` and `npt-langevin…`
    seed: int = 0  #: of the starting velocities and of the thermostat
    keep_velocities: bool = False  #: start with the velocities that the atoms have
    equilibration: int = 0  #: steps at the start that the means leave out
    interval: int = 10  #: steps between frames and log lines
    max_temperature: float = 20000.0  #: K; a run that gets hotter is stopped

    def __post_init__(self) -> None:
        if self.ensemble not in ENSEMBLES:
            raise ValueError(f"ensemble: '{self.ensemble}' is not known; {suggest(str(self.ensemble), ENSEMBLES)}")
        for name in ("timestep", "taut", "taup", "friction", "interval", "max_temperature"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name}: {getattr(self, name)} is not a positive number")
        for name in ("temperature", "temperature_end"):
            value = getattr(self, name)
            if value is None:
                continue
            if not 0 <= value < math.inf or (value == 0 and self.ensemble != "nve" and self.ensemble not in LANGEVIN):
                raise ValueError(f"{name}: {value} K can't be reached")
        if not math.isfinite(self.pressure):
            raise ValueError(f"pressure: {self.pressure} is not a number")
        for name in ("steps", "seed", "equilibration", "interval"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, Integral) or value < 0:
                raise ValueError(f"{name}: {value} is not a whole number from 0 on")
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
class Sample:
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
