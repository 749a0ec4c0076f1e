"""Lattice thermal conductivity of a crystal by three-phonon scattering, in the relaxation time approximation.

    result = calc(atoms, calculator)
    result.at(300.0)
    result.plot(Path("thermal-conductivity.png"))

Second- and third-order force constants are calculated from the forces after displacements of the symmetry-inequivalent
atoms and pairs of atoms in a supercell. With the heat capacity C, group velocity v and linewidth 2 Γ (ordinary
frequency) of each mode λ at M wave vectors, and the volume V of the primitive cell,

    κ = 1/(M V) Σ_λ C_λ v_λ ⊗ v_λ τ_λ,   τ_λ = 1 / (4π Γ_λ).                                                   (1)

Not included are the full solution of the Boltzmann equation, four-phonon scattering, coherence between modes, electrons
and, as in `gnnpot.properties.phonons`, the long-range field of polar crystals. In the classical limit of high
temperature, κ is proportional to 1/T, and to 1/√m if all masses m are scaled by a common factor.

By phono3py: Togo, Chaput and Tanaka, Phys. Rev. B 91, 094306 (2015).
"""

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator
from ase.formula import Formula

from gnnpot.data.structures import StructureLike
from gnnpot.domains import INTEGER_FROM_1, POSITIVE, check_fields
from gnnpot.errors import SimulationError
from gnnpot.extras import needs_extra
from gnnpot.properties.phonons import DISPLACEMENT, TOLERANCE, ase_atoms, displacement_forces, phonopy_atoms
from gnnpot.properties.relaxed import crystal_of, relaxed, repeats
from gnnpot.runs.progress import Progress, no_progress

#: tensor indices of phono3py's components xx, yy, zz, yz, xz, xy
_VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))


@dataclass(frozen=True, eq=False)
class ThermalConductivity:
    """Lattice thermal conductivity of a crystal, with data of M modes at the irreducible wave vectors of the mesh."""

    formula: str  #: formula of the primitive cell
    supercell: tuple[int, int, int]  #: repeats of the given cell
    mesh: tuple[int, int, int]  #: mesh of wave vectors
    isotopes: bool  #: whether isotope scattering is included
    temperatures: np.ndarray  #: [T] K
    tensor: np.ndarray  #: [T, 3, 3] W/m/K, κ by equation (1)
    frequencies: np.ndarray  #: [M] THz, frequencies of the modes
    lifetimes: np.ndarray  #: [T, M] ps, τ; NaN for modes without scattering
    contributions: np.ndarray  #: [T, M] W/m/K, contribution of each mode and its equivalents, mean of the directions

    @property
    def conductivity(self) -> np.ndarray:
        """Mean conductivity of the three directions, [T] W/m/K."""
        return np.trace(self.tensor, axis1=1, axis2=2) / 3

    def at(self, temperature: float) -> float:
        """Mean conductivity (W/m/K) at a temperature (K) within the range, by linear interpolation of κ T."""
        return float(np.interp(temperature, self.temperatures, self.conductivity * self.temperatures) / temperature)

    def to_json(self) -> dict[str, Any]:
        """All fields, with units in the keys."""
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
        """Save a plot of conductivity over temperature, and lifetimes and cumulative κ over frequency, as PNG."""
        from gnnpot.runs.pages import COLORS, GREY, new_figure, plain_log_ticks, tidy

        figure = new_figure(3)
        kappa, lifetimes, summed = (figure.add_subplot(1, 3, k + 1) for k in range(3))
        kappa.loglog(self.temperatures, self.conductivity, "o-", color=COLORS[0], markersize=4, linewidth=1.4)
        classical = self.conductivity[-1] * self.temperatures[-1] / self.temperatures
        kappa.loglog(self.temperatures, classical, ":", color="black", linewidth=0.8, label="1/T")
        kappa.set(xlabel="temperature, K", ylabel="thermal conductivity, W/m/K")
        kappa.set_title(str(Formula(self.formula).reduce()[0]))
        kappa.legend(frameon=False, fontsize=8)
        k = int(np.abs(self.temperatures - 300.0).argmin())
        shown = np.isfinite(self.lifetimes[k])
        lifetimes.semilogy(self.frequencies[shown], self.lifetimes[k][shown], ".", color=COLORS[1], markersize=4)
        period = np.linspace(max(0.3, self.frequencies.max() / 50), self.frequencies.max(), 100)
        lifetimes.semilogy(period, 1 / period, color=GREY, linewidth=1.0, label="one period of the mode")
        lifetimes.set(xlabel="frequency, THz", ylabel="lifetime, ps", title=f"modes at {self.temperatures[k]:g} K")
        lifetimes.legend(frameon=False, fontsize=8)
        order = np.argsort(self.frequencies)
        total = np.cumsum(self.contributions[k][order])
        summed.plot(self.frequencies[order], total, color=COLORS[2], linewidth=1.8)
        summed.set(xlabel="frequency, THz", ylabel="conductivity of modes below, W/m/K", ylim=(0, None))
        summed.set_title(f"{total[-1]:.3g} W/m/K at {self.temperatures[k]:g} K, mesh {'x'.join(map(str, self.mesh))}")
        for axis in (kappa.xaxis, kappa.yaxis, lifetimes.yaxis):
            plain_log_ticks(axis)
        for axes in (kappa, lifetimes, summed):
            tidy(axes)
        figure.savefig(path)


@dataclass(frozen=True, slots=True)
class ThermalConductivityConfig:
    """Options of `calc`.

    Args:
        supercell: Repeats of the cell for displacements; default: the least for which the supercell reaches `length`.
        length: Å, minimum height of the supercell along each vector.
        cutoff: Å, distance above which pairs of atoms are not displaced together; default: all pairs are displaced.
        displacement: Å, displacement of an atom.
        mesh: Number of wave vectors along the reciprocal vectors of the primitive cell; default: from `mesh_length`.
        mesh_length: Å, length of the supercell that the mesh corresponds to; increase it until κ converges.
        temperatures: K.
        isotopes: Include scattering by the natural isotope mixtures of the elements.
        relax: Relax cell and positions first.
        fmax: eV/Å, convergence threshold of the largest force in this relaxation.
    """

    supercell: Annotated[tuple[int, int, int] | None, INTEGER_FROM_1] = None
    length: Annotated[float, POSITIVE] = 10.0
    cutoff: Annotated[float | None, POSITIVE] = None
    displacement: Annotated[float, DISPLACEMENT] = 0.03
    mesh: Annotated[tuple[int, int, int] | None, INTEGER_FROM_1] = None
    mesh_length: Annotated[float, POSITIVE] = 50.0
    temperatures: Annotated[tuple[float, ...], POSITIVE] = tuple(range(100, 1001, 50))
    isotopes: bool = False
    relax: bool = True
    fmax: Annotated[float, POSITIVE] = 1e-3

    def __post_init__(self) -> None:
        check_fields(self)
        if not self.temperatures or any(b <= a for a, b in pairwise(self.temperatures)):
            raise ValueError(f"temperatures: {list(self.temperatures)} are none, or do not rise; give rising ones")


def calc(
    atoms: StructureLike,
    calculator: BaseCalculator,
    config: ThermalConductivityConfig | None = None,
    *,
    progress: Progress = no_progress,
) -> ThermalConductivity:
    """Calculate the lattice thermal conductivity of a crystal.

    Args:
        atoms: Crystal; its masses are used.
        calculator: Any ASE calculator; use float64, since third derivatives are calculated from small differences.
        config: Options; default: `ThermalConductivityConfig()`.
        progress: Called with the progress of the relaxation and the number of displacements done.

    Returns:
        Conductivity tensor (W/m/K) over temperature, and the contribution of each mode.

    Raises:
        DataError: The structure is not a crystal, or atoms of one element have different masses.
        MissingExtraError: phono3py is not installed.
        SimulationError: The relaxation fails, or a mode is imaginary.
    """
    config = config or ThermalConductivityConfig()
    crystal = crystal_of(atoms, "thermal-conductivity")
    repeated = config.supercell or repeats(crystal.cell, config.length)
    temperatures = np.asarray(config.temperatures, dtype=float)
    if config.relax:
        what = "thermal-conductivity: relaxation"
        crystal = relaxed(crystal, calculator, cell="full", fmax=config.fmax, what=what, progress=progress)
    phono3py = _with_force_constants(crystal, calculator, repeated, config, progress)
    phono3py.mesh_numbers = config.mesh_length if config.mesh is None else config.mesh
    phono3py.init_phph_interaction()
    phono3py.run_thermal_conductivity(temperatures=temperatures, is_isotope=config.isotopes)
    return _result(phono3py, repeated, temperatures, config.isotopes)


def _with_force_constants(
    crystal: Atoms,
    calculator: BaseCalculator,
    supercell: tuple[int, int, int],
    config: ThermalConductivityConfig,
    progress: Progress,
) -> Any:
    """Calculate second- and third-order force constants; returns an object of `phono3py.Phono3py`."""
    with needs_extra("thermal-conductivity"):
        from phono3py import Phono3py
        from phonopy.structure.cells import guess_primitive_matrix

    cell = phonopy_atoms(crystal)
    phono3py: Any = Phono3py(cell, np.diag(supercell), guess_primitive_matrix(cell))
    phono3py.generate_displacements(distance=config.displacement, cutoff_pair_distance=config.cutoff)
    phono3py.forces = displacement_forces(phono3py, calculator, "thermal-conductivity", progress)
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
