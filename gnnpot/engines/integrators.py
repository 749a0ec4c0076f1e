"""ASE's integrators with corrected numbers of degrees of freedom, and their state for an exact resume.

    integrator = make_integrator(atoms, config, rng, freedom)
    integrator.step(); integrator.conserved_energy(); state = integrator.state()

| ensemble            | integrator                                              | degrees of freedom f             |
|---------------------|---------------------------------------------------------|----------------------------------|
| `nve`               | velocity Verlet                                         | periodic: 3N - 3; molecules:     |
|                     |                                                         | 3N - 6 (3N - 5 if linear)        |
| `bussi`             | stochastic velocity rescaling and velocity Verlet [1]   | as `nve`                         |
| `nose-hoover`       | Nosé-Hoover chains of length three [2]                  | as `nve`                         |
| `npt-isotropic`     | Martyna, Tobias & Klein, volume only [3]                | 3N - 3                           |
| `npt-full`          | Martyna, Tobias & Klein, six components of the cell [3] | 3N - 3                           |
| `langevin`          | Langevin [4]                                            | 3N                               |
| `npt-langevin`      | Langevin and a stochastic barostat, volume only [5]     | 3N                               |
| `npt-langevin-full` | the same, six components of the cell [5]                | 3N                               |

With constraints, f is 3N less the constrained degrees of freedom only: drift and rotation are not conserved.

[1] Bussi, Donadio & Parrinello 2007. [2] Martyna, Klein & Tuckerman 1992. [3] Martyna, Tobias & Klein 1994.
[4] Vanden-Eijnden & Ciccotti 2006, eq. 23. [5] Quigley & Probert 2004; Leimkuhler & Matthews 2013.

ASE's Nosé-Hoover chains assume 3N degrees of freedom for the atoms and nine for the cell, although only 3N - 3 and six
can move: temperatures would be too high by 1/7 for 8 atoms, and by 1/2 for the cell. The numbers are corrected here.
"""

from typing import Any

import numpy as np
from ase import Atoms
from ase.constraints import FixAtoms
from ase.md.bussi import Bussi
from ase.md.langevin import Langevin
from ase.md.langevinbaoab import LangevinBAOAB
from ase.md.nose_hoover_chain import MTKNPT, IsotropicMTKNPT, NoseHooverChainNVT
from ase.md.verlet import VelocityVerlet

from gnnpot.engines.md_config import LANGEVIN, MDConfig
from gnnpot.errors import ConfigError
from gnnpot.units import BOLTZMANN, FEMTOSECOND, GPA

#: independent components of a cell's strain
_CELL_FREEDOM = 6


class Integrator:
    """Velocity Verlet; base class of the other integrators."""

    #: attributes of ASE's object that change from step to step, besides the atoms
    changing: tuple[str, ...] = ()

    def __init__(self, atoms: Atoms, config: MDConfig, rng: np.random.Generator, freedom: int) -> None:
        self.atoms, self.config, self.rng, self.freedom = atoms, config, rng, freedom
        #: ASE's object; its classes have no type annotations
        self.dynamics: Any = self._make(config.timestep * FEMTOSECOND)

    def _make(self, timestep: float) -> Any:
        return VelocityVerlet(self.atoms, timestep)

    def step(self) -> None:
        """Move the atoms by one time step."""
        self.dynamics.step()

    def set_temperature(self, temperature: float) -> None:
        """Set the temperature of the thermostat (K)."""

    def conserved_energy(self, total: float) -> float:
        """Conserved energy (eV), given the current total energy `total`."""
        return total

    def state(self) -> dict[str, Any]:
        """State that a resume needs besides the atoms, as JSON values without rounding."""
        return {name: _listed(_find(self.dynamics, name)) for name in self.changing}

    def restore(self, state: dict[str, Any]) -> None:
        """Set the state to a result of `state`."""
        for name in self.changing:
            *path, last = name.split(".")
            value = state[name]
            setattr(_find(self.dynamics, ".".join(path)), last, np.array(value) if isinstance(value, list) else value)


class _Bussi(Integrator):
    changing = ("transferred_energy",)

    def _make(self, timestep: float) -> Any:
        config = self.config
        taut = config.taut * FEMTOSECOND
        dynamics = Bussi(self.atoms, timestep, temperature_K=config.temperature, taut=taut, rng=self.rng)
        dynamics.ndof = self.freedom
        return dynamics

    def set_temperature(self, temperature: float) -> None:
        self.dynamics.target_kinetic_energy = 0.5 * self.freedom * BOLTZMANN * temperature

    def conserved_energy(self, total: float) -> float:
        return total - self.dynamics.transferred_energy


class _Langevin(Integrator):
    def _make(self, timestep: float) -> Any:
        config = self.config
        friction = config.friction / FEMTOSECOND
        return Langevin(
            self.atoms, timestep, temperature_K=config.temperature, friction=friction, fixcm=False, rng=self.rng
        )

    def set_temperature(self, temperature: float) -> None:
        self.dynamics.set_temperature(temperature_K=temperature)


class _HeldNoseHoover(NoseHooverChainNVT):
    """Nosé-Hoover chains with constrained forces; with ASE's unconstrained forces, fixed atoms would gain momenta."""

    def _get_forces(self) -> np.ndarray:
        self._update_atoms()
        return self.atoms.get_forces()


class _NoseHoover(Integrator):
    changing: tuple[str, ...] = ("_thermostat._eta", "_thermostat._p_eta")

    def _make(self, timestep: float) -> Any:
        config = self.config
        dynamics = _HeldNoseHoover(
            self.atoms, timestep, temperature_K=config.temperature, tdamp=config.taut * FEMTOSECOND
        )
        self._count(dynamics)
        return dynamics

    def _count(self, dynamics: Any) -> None:
        """Set f of the chain; ASE's object stores f/3 as the number of atoms."""
        thermostat = dynamics._thermostat
        thermostat._num_atoms_global = self.freedom / 3
        thermostat._Q[0] = self.freedom * thermostat._kT * thermostat._tdamp**2

    def set_temperature(self, temperature: float) -> None:
        self.dynamics._thermostat._kT = BOLTZMANN * temperature

    def conserved_energy(self, total: float) -> float:
        return total + self.dynamics._thermostat.get_thermostat_energy()


class _ConstantPressure(_NoseHoover):
    """Base class of both Martyna-Tobias-Klein integrators."""

    kind: Any  #: ASE's class

    def _make(self, timestep: float) -> Any:
        config = self.config
        dynamics = self.kind(
            self.atoms,
            timestep,
            temperature_K=config.temperature,
            pressure_au=config.pressure * GPA,
            tdamp=config.taut * FEMTOSECOND,
            pdamp=config.taup * FEMTOSECOND,
        )
        self._count(dynamics)
        # the equations of motion of the momenta contain f, too
        dynamics._num_atoms_global = self.freedom / 3
        return dynamics

    def set_temperature(self, temperature: float) -> None:
        super().set_temperature(temperature)
        self.dynamics._barostat._kT = BOLTZMANN * temperature


class _Isotropic(_ConstantPressure):
    kind = IsotropicMTKNPT
    changing = (
        *_NoseHoover.changing, "_barostat._xi", "_barostat._p_xi", "_eps", "_p_eps", "_cell0", "_volume0"
    )  # fmt: skip

    def conserved_energy(self, total: float) -> float:
        dynamics = self.dynamics
        barostat = dynamics._barostat.get_barostat_energy() + dynamics._p_eps**2 / (2 * dynamics._barostat.W)
        return super().conserved_energy(total) + barostat + dynamics._pressure_au * dynamics._get_volume()


class _Full(_ConstantPressure):
    kind = MTKNPT
    changing = (*_NoseHoover.changing, "_barostat._xi", "_barostat._p_xi", "_p_g")

    def _make(self, timestep: float) -> Any:
        dynamics = super()._make(timestep)
        barostat = dynamics._barostat
        barostat._cell_dof = _CELL_FREEDOM
        barostat._R[0] = _CELL_FREEDOM * barostat._kT * barostat._pdamp**2
        return dynamics

    def conserved_energy(self, total: float) -> float:
        dynamics = self.dynamics
        barostat = dynamics._barostat.get_barostat_energy() + dynamics._get_cell_kinetic_energy()
        return super().conserved_energy(total) + barostat + dynamics._pressure_au * dynamics._get_volume()


class _LangevinCell(LangevinBAOAB):
    """ASE's integrator for all components of the cell, with one correction and one faster method.

    The friction on the atoms from the moving cell is p + tr(p)/f times the unit matrix; ASE adds tr(p)/f to all nine
    elements. Exponentials of symmetric matrices are calculated by diagonalisation, 50 times faster than in general.
    """

    def _barostat_BAOAB_OU_gamma_mod(self) -> np.ndarray:
        return (self.p_eps + np.trace(self.p_eps) / self.Ndof * np.eye(3)) / self.barostat_mass

    def _barostat_BAOAB_A(self) -> None:
        strain = _exponential(0.5 * self.dt * self.p_eps / self.barostat_mass)
        self.atoms.set_cell(self.atoms.cell.array @ strain, scale_atoms=True)

    def _BAOAB_OU(self, drag_gamma_mod: Any = None) -> None:
        velocities = self.atoms.get_velocities()
        damped = velocities @ _exponential(-(self.gamma * np.eye(3) + drag_gamma_mod) * self.dt)
        noise = self.rng.normal(size=velocities.shape) / np.sqrt(self.atoms.get_masses())[:, None]
        self.atoms.set_velocities(damped + self.BAOAB_prefactor * noise)


def _exponential(matrix: np.ndarray) -> np.ndarray:
    """exp of a symmetric matrix."""
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.exp(values)) @ vectors.T


class _LangevinPressure(Integrator):
    # the force on the cell depends on the momenta half a step ago, which the atoms do not store
    changing = ("p_eps", "force_eps")

    def _make(self, timestep: float) -> Any:
        config = self.config
        isotropic = config.ensemble == "npt-langevin"
        taup = config.taup * FEMTOSECOND
        # W of Martyna, Tobias & Klein 1994, eq. 2.9 (volume) and 2.23 (components of the cell)
        mass = (self.freedom + 3) * BOLTZMANN * config.temperature * taup**2 / (1 if isotropic else 3)
        kind = LangevinBAOAB if isotropic else _LangevinCell
        return kind(
            self.atoms,
            timestep,
            temperature_K=config.temperature,
            externalstress=-config.pressure * GPA,
            hydrostatic=isotropic,
            T_tau=FEMTOSECOND / config.friction,
            P_tau=taup,
            P_mass=mass,
            rng=self.rng,
        )

    def set_temperature(self, temperature: float) -> None:
        self.dynamics.set_temperature(temperature)


_INTEGRATORS: dict[str, type[Integrator]] = {
    "nve": Integrator,
    "bussi": _Bussi,
    "langevin": _Langevin,
    "nose-hoover": _NoseHoover,
    "npt-isotropic": _Isotropic,
    "npt-full": _Full,
    "npt-langevin": _LangevinPressure,
    "npt-langevin-full": _LangevinPressure,
}


def make_integrator(atoms: Atoms, config: MDConfig, rng: np.random.Generator, freedom: int) -> Integrator:
    """Create the integrator of `config.ensemble` for `atoms`, which have velocities and a calculator."""
    integrator = _INTEGRATORS[config.ensemble](atoms, config, rng, freedom)
    integrator.set_temperature(config.temperature)
    return integrator


def check_ensemble(atoms: Atoms, config: MDConfig) -> None:
    """Raise `ConfigError` if the ensemble does not support the constraints, cell or calculator of `atoms`."""
    what = atoms.get_chemical_formula()
    for constraint in atoms.constraints:
        try:
            constraint.get_removed_dof(atoms)
        except NotImplementedError:
            raise ConfigError(
                f"{what}: has a constraint, {type(constraint).__name__}, that leaves an unknown number of degrees of "
                "freedom; remove it"
            ) from None
    if config.changes_cell:
        if not (atoms.pbc.all() and atoms.cell.rank == 3):
            raise ConfigError(
                f"{what}: is not periodic in three directions, so its pressure can't be constant; choose another "
                "ensemble than 'npt-…'"
            )
        if atoms.constraints:
            raise ConfigError(
                f"{what}: has fixed atoms, which '{config.ensemble}' would move with the cell; choose an ensemble with "
                "a fixed cell"
            )
        if "stress" not in getattr(atoms.calc, "implemented_properties", ()):
            raise ConfigError(f"{what}: its calculator has no stress, which '{config.ensemble}' needs")
        if config.ensemble in ("npt-langevin", "npt-langevin-full") and config.temperature == 0:
            raise ConfigError("temperature: 0 K gives the barostat no mass; give a temperature above 0")
    elif config.ensemble == "nose-hoover" and any(not isinstance(c, FixAtoms) for c in atoms.constraints):
        raise ConfigError(f"{what}: 'nose-hoover' supports no constraints except fixed atoms; choose 'bussi'")


def degrees_of_freedom(atoms: Atoms, ensemble: str) -> int:
    """Number of degrees of freedom f, as in the table above."""
    freedom = int(atoms.get_number_of_degrees_of_freedom())
    if ensemble in LANGEVIN or atoms.constraints:
        return freedom
    freedom -= 3
    if not atoms.pbc.any() and len(atoms) > 1:
        centred = atoms.positions - atoms.positions.mean(axis=0)
        freedom -= 2 if np.linalg.matrix_rank(centred, tol=1e-6) == 1 else 3
    return freedom


def _find(thing: Any, path: str) -> Any:
    for name in filter(None, path.split(".")):
        thing = getattr(thing, name)
    return thing


def _listed(value: Any) -> Any:
    """Convert arrays to lists; JSON then holds the shortest decimal form that reads back as the same float."""
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value
