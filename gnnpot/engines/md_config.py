"""Options and results of a run of molecular dynamics."""

from dataclasses import dataclass, fields
from typing import Annotated, Literal, get_args

from ase import Atoms

from gnnpot.domains import INTEGER_FROM_0, INTEGER_FROM_1, NOT_NEGATIVE, POSITIVE, STEPS, TIMESTEP, check_fields

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
#: ensembles with random forces, which conserve neither the total momentum nor an energy
LANGEVIN = frozenset(name for name in ENSEMBLES if "langevin" in name)

#: K, default temperature above which a run is stopped
MAX_TEMPERATURE = 20000.0

#: options on which the trajectory depends for each ensemble, besides `timestep`, `seed` and `keep_velocities`
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

    ensemble: Ensemble = "bussi"  #: `nve`: no thermostat; `npt-…`: constant pressure, `…-full` with variable cell shape
    temperature: Annotated[float, NOT_NEGATIVE] = 300.0  #: K, of the thermostat and the initial velocities
    #: K, final temperature of a linear ramp over `steps`; empty: constant temperature
    temperature_end: Annotated[float | None, NOT_NEGATIVE] = None
    pressure: float = 0.0  #: GPa, for the ensembles `npt-…`
    timestep: Annotated[float, TIMESTEP] = 1.0  #: fs
    steps: Annotated[int, STEPS] = 1000  #: total number of steps, including those before a resume
    taut: Annotated[float, POSITIVE] = 100.0  #: fs, time constant of the thermostats `bussi` and Nosé-Hoover chains
    taup: Annotated[float, POSITIVE] = 1000.0  #: fs, time constant of the barostats
    friction: Annotated[float, POSITIVE] = 0.01  #: 1/fs, friction coefficient for `langevin` and `npt-langevin…`
    seed: Annotated[int, INTEGER_FROM_0] = 0  #: random seed of the initial velocities and the thermostat
    keep_velocities: bool = False  #: start from the velocities of the given structure
    equilibration: Annotated[int, INTEGER_FROM_0] = 0  #: initial steps left out of the averages
    interval: Annotated[int, INTEGER_FROM_1] = 10  #: steps between frames and log lines
    elements: tuple[str, ...] = ()  #: elements whose positions a `.zarr` trajectory holds; empty: all
    max_temperature: Annotated[float, POSITIVE] = MAX_TEMPERATURE  #: K, temperature above which a run is stopped

    def __post_init__(self) -> None:
        check_fields(self)
        for name in ("temperature", "temperature_end"):
            value = getattr(self, name)
            if value is not None and value > self.max_temperature:
                raise ValueError(
                    f"{name}: {value:g} K is above the temperature where a run is stopped, {self.max_temperature:g} K; "
                    "lower it, or raise max_temperature"
                )
            if value == 0 and self.ensemble != "nve" and self.ensemble not in LANGEVIN:
                raise ValueError(f"{name}: 0 K can't be reached by '{self.ensemble}', which only scales what moves")
        if self.temperature_end is not None and self.ensemble == "nve":
            raise ValueError("temperature_end: 'nve' has no thermostat; choose another ensemble")

    @property
    def changes_cell(self) -> bool:
        return self.ensemble in CONSTANT_PRESSURE

    def target(self, step: int) -> float:
        """Temperature of the thermostat (K) at step `step`."""
        if self.temperature_end is None:
            return self.temperature
        return self.temperature + (self.temperature_end - self.temperature) * min(step / max(self.steps, 1), 1.0)

    def decisive(self) -> dict[str, object]:
        """Options on which the trajectory depends; a resumed run must have the same."""
        names = ["ensemble", "timestep", "seed", "keep_velocities", *_DECISIVE[self.ensemble]]
        if self.temperature_end is not None:
            # the ramp spans all steps
            names += ["temperature_end", "steps"]
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name in names}


@dataclass(frozen=True, slots=True)
class MDSample:
    """Energies, temperature, pressure and, at constant pressure, volume at one step."""

    step: int
    time: float  #: fs
    temperature: float  #: K
    potential: float  #: eV
    kinetic: float  #: eV
    conserved: float  #: eV, conserved energy of the ensemble; for Langevin dynamics, the total energy
    volume: float | None = None  #: Å³, for the ensembles `npt-…`
    #: GPa, positive under compression, including the kinetic part; only at the steps of frames, for crystals whose
    #: calculator has the stress
    pressure: float | None = None


@dataclass(frozen=True, slots=True)
class MDResult:
    """Result of a run; means are over all steps after `MDConfig.equilibration`, including those before a resume.

    The mean of the pressure is over the frames among these steps. The pressure is positive under compression; the
    stresses of ASE, also the `externalstress` of its barostats, have the opposite sign.
    """

    atoms: Atoms  #: the last state, with velocities
    steps: int  #: number of steps of the whole run
    time: float  #: fs, simulated time of the whole run
    averaged: int  #: number of steps in the means
    temperature: float  #: K, mean
    potential_energy: float  #: eV, mean
    volume: float | None  #: Å³, mean; None for a fixed cell
    #: GPa, mean, with the kinetic part; None without a frame, a stress or three periodic directions
    pressure: float | None
    energy_drift: float  #: eV per atom and ps, slope of the conserved energy; NaN for Langevin dynamics and ramps
    seconds: float  #: wall time of this call
    microseconds_per_atom_step: float
