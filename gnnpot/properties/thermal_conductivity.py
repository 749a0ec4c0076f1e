"""Lattice thermal conductivity of a crystal by three-phonon scattering, in the relaxation time approximation.

    result = calc(atoms, calculator)
    result.at(300.0)
    result.plot(Path("thermal-conductivity.png"))

Pairs of atoms of a supercell are displaced, as many as the symmetry leaves, and the forces give the force constants of
second and third order. With the heat capacity C, group velocity v and linewidth 2 Γ (as ordinary frequency) of each
mode λ, in the volume V of M primitive cells,

    κ = 1/(M V) Σ_λ C_λ v_λ ⊗ v_λ τ_λ,   τ_λ = 1 / (4π Γ_λ).                                                   (1)

The solution of the Boltzmann equation beyond relaxation times, scattering of four phonons, coherence between modes, and
electrons are left out. Polar crystals lack their long-range
field, as in `gnnpot.properties.phonons`. In the classical limit, at high temperature, κ goes as 1/T, and as 1/√m if all
masses m change by one factor.

By phono3py: Togo, Chaput and Tanaka, Phys. Rev. B 91, 094306 (2015).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator

from gnnpot.data.structures import StructureLike
from gnnpot.errors import ConfigError, SimulationError
from gnnpot.extras import needs_extra
from gnnpot.properties.phonons import TOLERANCE, ase_atoms
from gnnpot.properties.relaxed import crystal_of, forces_of, relaxed, repeats
from gnnpot.runs.progress import Progress, no_progress

#: places of phono3py's xx, yy, zz, yz, xz, xy in a tensor
_VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))


@dataclass(frozen=True, eq=False)
class ThermalConductivity:
    """Lattice thermal conductivity of a crystal; modes are those of the irreducible wave vectors of the mesh."""

    formula: str  #: of the primitive cell
    supercell: tuple[int, int, int]  #: repeats of the given cell
    mesh: tuple[int, int, int]  #: of wave vectors
    isotopes: bool  #: whether the elements' isotopes scatter
    temperatures: np.ndarray  #: [T] K
    tensor: np.ndarray  #: [T, 3, 3] W/m/K, equation (1)
    frequencies: np.ndarray  #: [M] THz, of the modes
    lifetimes: np.ndarray  #: [T, M] ps, τ; NaN of modes that don't decay
    contributions: np.ndarray  #: [T, M] W/m/K, of each mode and those equivalent to it, mean of the directions

    @property
    def conductivity(self) -> np.ndarray:
        """[T] W/m/K, mean of the three directions."""
        return np.trace(self.tensor, axis1=1, axis2=2) / 3

    def at(self, temperature: float) -> float:
        """Mean conductivity (W/m/K) at a temperature (K) within the range; κ T is linear between those calculated."""
        return float(np.interp(temperature, self.temperatures, self.conductivity * self.temperatures) / temperature)

    def to_json(self) -> dict[str, Any]:
        """All of it, with units in the names."""
        low, high = self.temperatures[0], self.temperatures[-1]
        return {
            "formula": self.formula,
            "conductivity_300K_W_mK": self.at(300.0) if low <= 300 <= high else None,
            "supercell": list(self.supercell),
            "mesh": list(self.mesh),
            "isotopes": self.isotopes,
            "temperatures_K": self.temperatures.tolist(),
            "conductivity_W_mK": self.conductivity.tolist(),
            "tensor_W_mK": self.tensor.tolist(),
            "frequencies_THz": self.frequencies.tolist(),
            "lifetimes_ps": self.lifetimes.tolist(),
            "contributions_W_mK": self.contributions.tolist(),
        }

    def plot(self, path: Path) -> None:
        """Conductivity against temperature, lifetimes and accumulation against frequency, as PNG."""
        from matplotlib.ticker import LogFormatter

        from gnnpot.runs.pages import COLORS, GREY, new_figure, tidy

        figure = new_figure(3)
        kappa, lifetimes, summed = (figure.add_subplot(1, 3, k + 1) for k in range(3))
        kappa.loglog(self.temperatures, self.conductivity, "o-", color=COLORS[0], markersize=4, linewidth=1.4)
        classical = self.conductivity[-1] * self.temperatures[-1] / self.temperatures
        kappa.loglog(self.temperatures, classical, ":", color="black", linewidth=0.8, label="1/T")
        kappa.set(xlabel="temperature, K", ylabel="thermal conductivity, W/m/K", title=self.formula)
        for axis in (kappa.xaxis, kappa.yaxis):
            axis.set_major_formatter(LogFormatter())
            axis.set_minor_formatter(LogFormatter())
        kappa.legend(frameon=False, fontsize=8)
        k = int(np.abs(self.temperatures - 300.0).argmin())
        shown = np.isfinite(self.lifetimes[k])
        lifetimes.semilogy(self.frequencies[shown], self.lifetimes[k][shown], ".", color=COLORS[1], markersize=4)
        period = np.linspace(max(0.3, self.frequencies.max() / 50), self.frequencies.max(), 100)
        lifetimes.semilogy(period, 1 / period, color=GREY, linewidth=1.0, label="one period")
        lifetimes.set(xlabel="frequency, THz", ylabel="lifetime, ps", title=f"{self.temperatures[k]:g} K")
        lifetimes.legend(frameon=False, fontsize=8)
        order = np.argsort(self.frequencies)
        total = np.cumsum(self.contributions[k][order])
        summed.plot(self.frequencies[order], total, color=COLORS[2], linewidth=1.8)
        summed.set(xlabel="frequency, THz", ylabel="conductivity of modes below it, W/m/K", ylim=(0, None))
        summed.set_title(f"{total[-1]:.3g} W/m/K, mesh {'x'.join(map(str, self.mesh))}")
        for axes in (kappa, lifetimes, summed):
            tidy(axes)
        figure.savefig(path)


def calc(
    atoms: StructureLike,
    calculator: BaseCalculator,
    *,
    supercell: tuple[int, int, int] | None = None,
    length: float = 10.0,
    cutoff: float | None = None,
    displacement: float = 0.03,
    mesh: tuple[int, int, int] | None = None,
    mesh_length: float = 50.0,
    temperatures: tuple[float, ...] = tuple(range(100, 1001, 50)),
    isotopes: bool = False,
    relax: bool = True,
    fmax: float = 1e-3,
    progress: Progress = no_progress,
) -> ThermalConductivity:
    """Lattice thermal conductivity of a crystal by a calculator.

    Args:
        atoms: The crystal; its masses count.
        calculator: Any ASE calculator; of a potential in float64, as third derivatives are small differences.
        supercell: Repeats of the cell whose atoms are displaced; by default as many as `length` needs.
        length: Å, the least height of the supercell.
        cutoff: Å, pairs of atoms farther apart are not displaced together; default: all are.
        displacement: Å, of an atom.
        mesh: Wave vectors along the reciprocal vectors of the primitive cell; by default as `mesh_length` says.
        mesh_length: Å, the mesh is as fine as for a supercell of this length; the result converges with it.
        temperatures: K.
        isotopes: Scattering by the elements' natural mixtures of isotopes too.
        relax: Relax cell and atoms first.
        fmax: eV/Å, the largest force that may be left by that.
        progress: Takes the displacements that are done, and the relaxation before.

    Raises:
        ConfigError: An option out of its range.
        DataError: The structure is no crystal.
        MissingExtraError: phono3py is not installed.
        SimulationError: The relaxation fails, or a mode is imaginary.
    """
    crystal = crystal_of(atoms, "thermal-conductivity")
    repeated = supercell or repeats(crystal.cell, length)
    wanted = np.asarray(temperatures, dtype=float)
    _check(repeated, mesh, mesh_length, displacement, cutoff)
    if wanted.size == 0 or wanted.min() <= 0 or (np.diff(wanted) <= 0).any():
        raise ConfigError(f"temperatures: {list(temperatures)} are not numbers above 0 K that rise; give such")
    if relax:
        crystal = relaxed(
            crystal, calculator, cell="full", fmax=fmax, what="thermal-conductivity: relaxation", progress=progress
        )
    phono3py = _with_force_constants(crystal, calculator, repeated, cutoff, displacement, progress)
    phono3py.mesh_numbers = mesh_length if mesh is None else mesh
    phono3py.init_phph_interaction()
    phono3py.run_thermal_conductivity(temperatures=wanted, is_isotope=isotopes)
    return _result(phono3py, repeated, wanted, isotopes)


def _check(
    supercell: tuple[int, int, int], mesh: tuple[int, int, int] | None, mesh_length: float, displacement: float,
    cutoff: float | None,
) -> None:  # fmt: skip
    if not 0 < displacement < 0.5 or min(*supercell, *(mesh or ())) < 1 or not 0 < mesh_length < np.inf:
        raise ConfigError(
            f"thermal-conductivity: displacement {displacement}, supercell {supercell}, mesh {mesh} or mesh_length "
            f"{mesh_length} is out of range; give a displacement below 0.5 Å and positive numbers"
        )
    if cutoff is not None and not 0 < cutoff < np.inf:
        raise ConfigError(f"cutoff: {cutoff} is no distance in Å; give a number above 0")


def _with_force_constants(
    crystal: Atoms,
    calculator: BaseCalculator,
    supercell: tuple[int, int, int],
    cutoff: float | None,
    displacement: float,
    progress: Progress,
) -> Any:
    """phono3py's object with the force constants of second and third order."""
    with needs_extra("thermal-conductivity"):
        from phono3py import Phono3py
        from phonopy.structure.atoms import PhonopyAtoms
        from phonopy.structure.cells import guess_primitive_matrix

    cell = PhonopyAtoms(
        numbers=crystal.numbers,
        cell=crystal.cell.array,
        scaled_positions=crystal.get_scaled_positions(),
        masses=crystal.get_masses(),
    )
    phono3py: Any = Phono3py(cell, np.diag(supercell), guess_primitive_matrix(cell))
    phono3py.generate_displacements(distance=displacement, cutoff_pair_distance=cutoff)
    moved = phono3py.supercells_with_displacements
    # what is left at the undisplaced supercell belongs to no displacement
    at_rest = forces_of(ase_atoms(phono3py.supercell), calculator)
    forces = np.zeros((len(moved), *at_rest.shape))
    for k, displaced in enumerate(moved):
        progress("thermal-conductivity: displacements", k, len(moved))
        # pairs beyond the cutoff are none
        if displaced is not None:
            forces[k] = forces_of(ase_atoms(displaced), calculator) - at_rest
    progress("thermal-conductivity: displacements", len(moved), len(moved))
    phono3py.forces = forces
    phono3py.produce_fc3()
    return phono3py


def _result(
    phono3py: Any, supercell: tuple[int, int, int], temperatures: np.ndarray, isotopes: bool
) -> ThermalConductivity:
    found = phono3py.thermal_conductivity
    frequencies = np.asarray(found.frequencies)
    formula = ase_atoms(phono3py.primitive).get_chemical_formula()
    if (lowest := float(frequencies.min())) < -TOLERANCE:
        raise SimulationError(
            f"thermal-conductivity: {formula} has imaginary modes, to {-lowest:.2f}i THz, so that it is at no minimum "
            "and has no phonons to conduct; look at gnnpot property phonons, or give a larger supercell"
        )
    tensor = np.zeros((len(temperatures), 3, 3))
    for k, (i, j) in enumerate(_VOIGT):
        tensor[:, i, j] = tensor[:, j, i] = found.kappa[0, :, k]
    linewidths = np.asarray(found.gamma)[0]
    if isotopes:
        linewidths = linewidths + np.asarray(found.gamma_isotope)[0]
    with np.errstate(divide="ignore"):
        lifetimes = np.where(linewidths > 0, 1 / (4 * np.pi * linewidths), np.nan)
    modes = np.asarray(found.mode_kappa)[0, ..., :3].mean(axis=-1) / np.prod(phono3py.mesh_numbers)
    a, b, c = (int(n) for n in phono3py.mesh_numbers)
    return ThermalConductivity(
        formula=formula,
        supercell=supercell,
        mesh=(a, b, c),
        isotopes=isotopes,
        temperatures=temperatures,
        tensor=tensor,
        frequencies=frequencies.ravel(),
        lifetimes=lifetimes.reshape(len(temperatures), -1),
        contributions=modes.reshape(len(temperatures), -1),
    )
