"""Thermal expansion in the quasi-harmonic approximation: volume, bulk modulus and heat capacity over temperature.

    result = calc(atoms, calculator)
    result.at(300.0).thermal_expansion
    result.plot(Path("quasi-harmonic.png"))

At each of several volumes, positions and cell shape are relaxed, and the free energy is calculated from phonons. The
volume at a temperature minimises

    F(V, T) = E(V) + F_phonon(V, T)                                                                             (1)

with a fit of the Vinet equation of state in V. Then α = 1/V dV/dT, B = V d²F/dV², and the mean Grüneisen parameter is
γ = α B V / C_V. Electronic excitations, and anharmonicity other than the dependence of phonons on the volume, are
neglected, so the approximation fails near melting and if modes soften.

By phonopy: Togo, Chaput, Tanaka and Hug, Phys. Rev. B 81, 174301 (2010).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator

from gnnpot.data.structures import StructureLike
from gnnpot.domains import INTEGER_FROM_1, POSITIVE, check_fields
from gnnpot.errors import SimulationError
from gnnpot.extras import needs_extra
from gnnpot.properties.equation_of_state import scaled_to
from gnnpot.properties.phonons import DISPLACEMENT, TOLERANCE, ase_atoms, thermal_properties, with_force_constants
from gnnpot.properties.relaxed import crystal_of, energy_of, relaxed, repeats
from gnnpot.runs.progress import Progress, no_progress

#: number of temperatures whose free energies are plotted
_CURVES = 6


@dataclass(frozen=True, slots=True)
class ThermalState:
    """A crystal at one temperature, per primitive cell."""

    temperature: float  #: K
    volume: float  #: Å³
    thermal_expansion: float  #: 1/K, volumetric; for a cubic crystal, three times the linear thermal expansion
    bulk_modulus: float  #: GPa, isothermal
    heat_capacity: float  #: J/K/mol, at constant pressure
    gruneisen: float  #: mean Grüneisen parameter; NaN at 0 K


@dataclass(frozen=True, eq=False)
class QuasiHarmonic:
    """Properties of a crystal over temperature at zero pressure, per primitive cell."""

    formula: str
    temperatures: np.ndarray  #: [T] K, temperatures at which the volume is within `volumes`
    volume: np.ndarray  #: [T] Å³
    thermal_expansion: np.ndarray  #: [T] 1/K, volumetric
    bulk_modulus: np.ndarray  #: [T] GPa, isothermal
    heat_capacity: np.ndarray  #: [T] J/K/mol, at constant pressure
    gruneisen: np.ndarray  #: [T] mean Grüneisen parameter
    volumes: np.ndarray  #: [V] Å³, volumes at which phonons were calculated
    energies: np.ndarray  #: [V] eV, static energies E
    free_energies: np.ndarray  #: [A, V] eV, F by equation (1), at all requested temperatures

    def at(self, temperature: float) -> ThermalState:
        """The state at a temperature (K) within the range."""
        columns = (self.volume, self.thermal_expansion, self.bulk_modulus, self.heat_capacity, self.gruneisen)
        return ThermalState(temperature, *(float(np.interp(temperature, self.temperatures, c)) for c in columns))

    def to_json(self) -> dict[str, Any]:
        """All fields, with units in the keys."""
        room = self.at(300.0) if self.temperatures[-1] >= 300 else None
        return {
            "formula": self.formula,
            "thermal_expansion_300K_per_K": None if room is None else room.thermal_expansion,
            "bulk_modulus_300K_GPa": None if room is None else room.bulk_modulus,
            "heat_capacity_300K_J_K_mol": None if room is None else room.heat_capacity,
            "temperatures_K": self.temperatures.tolist(),
            "volume_A3": self.volume.tolist(),
            "thermal_expansion_per_K": self.thermal_expansion.tolist(),
            "bulk_modulus_GPa": self.bulk_modulus.tolist(),
            "heat_capacity_J_K_mol": self.heat_capacity.tolist(),
            "gruneisen": self.gruneisen.tolist(),
            "volumes_A3": self.volumes.tolist(),
            "energies_eV": self.energies.tolist(),
            "free_energies_eV": self.free_energies.tolist(),
        }

    def plot(self, path: Path) -> None:
        """Save a plot of free energies with their minima, thermal expansion and bulk modulus as PNG."""
        from matplotlib import colormaps

        from gnnpot.runs.pages import COLORS, new_figure, tidy

        figure = new_figure(3)
        free, volume, modulus = (figure.add_subplot(1, 3, k + 1) for k in range(3))
        fine = np.linspace(self.volumes.min(), self.volumes.max(), 200)
        # evenly spaced over the temperatures in the result
        chosen = np.unique(np.linspace(0, len(self.temperatures) - 1, _CURVES).astype(int))
        for number, k in enumerate(chosen):
            color, row = colormaps["plasma"](0.85 * number / max(1, len(chosen) - 1)), self.free_energies[k]
            curve = np.poly1d(np.polyfit(self.volumes, row, 3))
            lowest = curve(self.volume[k])
            free.plot(fine, curve(fine) - lowest, color=color, linewidth=1.2, label=f"{self.temperatures[k]:g} K")
            free.plot(self.volumes, row - lowest, "o", color=color, markersize=3)
            free.plot(self.volume[k], 0, "v", color=color, markersize=8)
        free.set(xlabel="volume, Å³", ylabel="free energy above the minimum, eV", title="minima: triangles")
        free.legend(frameon=False, fontsize=8)
        volume.plot(self.temperatures, 1e6 * self.thermal_expansion, color=COLORS[1], linewidth=1.8)
        volume.set(xlabel="temperature, K", ylabel="volumetric thermal expansion, 10⁻⁶/K", title=self.formula)
        modulus.plot(self.temperatures, self.bulk_modulus, color=COLORS[2], linewidth=1.8)
        modulus.set(xlabel="temperature, K", ylabel="isothermal bulk modulus, GPa")
        for axes in (free, volume, modulus):
            tidy(axes)
        figure.savefig(path)


@dataclass(frozen=True, slots=True)
class QuasiHarmonicConfig:
    """Options of `calc`.

    Args:
        ratios: Volumes relative to the relaxed crystal, at least five.
        supercell: Repeats of the cell for displacements; default: the least for which the supercell reaches `length`.
        length: Å, minimum height of the supercell along each vector.
        displacement: Å, displacement of an atom.
        mesh_length: Å, length of the supercell that the mesh of wave vectors corresponds to.
        highest: K, the highest temperature; the result ends earlier if the volume exceeds the range of `ratios`.
        step: K, difference between temperatures.
        fmax: eV/Å, convergence threshold of the largest force in relaxations.
    """

    ratios: tuple[float, ...] = (0.97, 0.985, 1.0, 1.015, 1.03, 1.045, 1.06)
    supercell: Annotated[tuple[int, int, int] | None, INTEGER_FROM_1] = None
    length: Annotated[float, POSITIVE] = 10.0
    displacement: Annotated[float, DISPLACEMENT] = 0.01
    mesh_length: Annotated[float, POSITIVE] = 60.0
    highest: Annotated[float, POSITIVE] = 1000.0
    step: Annotated[float, POSITIVE] = 10.0
    fmax: Annotated[float, POSITIVE] = 1e-3

    def __post_init__(self) -> None:
        check_fields(self)
        if len(set(self.ratios)) < 5 or min(self.ratios) <= 0.5 or max(self.ratios) >= 2:
            raise ValueError(f"ratios: {self.ratios} are not five or more different ratios of volumes near 1")
        if self.step >= self.highest:
            raise ValueError(f"step: {self.step} K up to {self.highest} K gives no temperatures")


def calc(
    atoms: StructureLike,
    calculator: BaseCalculator,
    config: QuasiHarmonicConfig | None = None,
    *,
    progress: Progress = no_progress,
) -> QuasiHarmonic:
    """Calculate the thermal expansion of a crystal.

    Args:
        atoms: Crystal; its masses are used.
        calculator: Any ASE calculator with stress.
        config: Options; default: `QuasiHarmonicConfig()`.
        progress: Called with the progress of volumes and the first relaxation.

    Returns:
        Volume, thermal expansion, bulk modulus and heat capacity over temperature.

    Raises:
        DataError: The structure is not a crystal, or atoms of one element have different masses.
        MissingExtraError: phonopy is not installed.
        SimulationError: A relaxation fails, there is an imaginary mode at one of the volumes, or the free energy at 0 K
            has no minimum between the volumes.
    """
    config = config or QuasiHarmonicConfig()
    crystal, what = crystal_of(atoms, "quasi-harmonic"), "quasi-harmonic: relaxation"
    crystal = relaxed(crystal, calculator, cell="full", fmax=config.fmax, what=what, progress=progress)
    # two more temperatures, for derivatives at the last one
    temperatures = np.arange(0, config.highest + 2.5 * config.step, config.step)
    repeated = config.supercell or repeats(crystal.cell, config.length)
    rows = []
    for k, ratio in enumerate(sorted(config.ratios)):
        progress("quasi-harmonic: volumes", k, len(config.ratios))
        scaled = scaled_to(crystal, ratio * crystal.get_volume())
        if len(scaled) > 1 or not _is_cubic(scaled):
            scaled = relaxed(scaled, calculator, cell="shape", fmax=config.fmax, what="quasi-harmonic: cell")
        phonopy = with_force_constants(scaled, calculator, repeated, displacement=config.displacement)
        rows.append(_at_volume(phonopy, scaled, energy_of(scaled, calculator), config.mesh_length, temperatures))
    progress("quasi-harmonic: volumes", len(config.ratios), len(config.ratios))
    return _result(rows, temperatures, config.highest)


@dataclass(frozen=True, eq=False)
class _AtVolume:
    formula: str
    volume: float  #: Å³, of the primitive cell
    energy: float  #: eV, static energy of the primitive cell
    free_energy: np.ndarray  #: [T] kJ/mol
    entropy: np.ndarray  #: [T] J/K/mol
    heat_capacity: np.ndarray  #: [T] J/K/mol


def _is_cubic(atoms: Atoms) -> bool:
    """Whether the cell vectors form a simple, face-centred or body-centred cubic lattice."""
    lengths, angles = atoms.cell.lengths(), atoms.cell.angles()
    equal = np.ptp(lengths) < 1e-6 and np.ptp(angles) < 1e-6
    # rhombohedral lattices have equal vectors too
    return bool(equal and np.isclose(angles[0], (60.0, 90.0, np.degrees(np.arccos(-1 / 3))), atol=1e-6).any())


def _at_volume(phonopy: Any, crystal: Atoms, energy: float, mesh_length: float, temperatures: np.ndarray) -> _AtVolume:
    """Free energies of a crystal, with its static energy (eV), from its force constants."""
    phonopy.run_mesh(mesh_length)
    lowest = float(phonopy.mesh.frequencies.min())
    if lowest < -TOLERANCE:
        raise SimulationError(
            f"quasi-harmonic: an imaginary mode ({-lowest:.2f}i THz) at a volume of {crystal.get_volume():.2f} Å³; "
            "give ratios nearer to 1, or see the property phonons"
        )
    found, primitive = thermal_properties(phonopy, temperatures), ase_atoms(phonopy.primitive)
    share = len(primitive) / len(crystal)
    return _AtVolume(
        formula=primitive.get_chemical_formula(),
        volume=float(primitive.get_volume()),
        energy=share * energy,
        free_energy=found.free_energy,
        entropy=found.entropy,
        heat_capacity=found.heat_capacity,
    )


def _result(rows: list[_AtVolume], temperatures: np.ndarray, highest: float) -> QuasiHarmonic:
    with needs_extra("quasi-harmonic"):
        from phonopy import PhonopyQHA

    volumes, energies = np.array([r.volume for r in rows]), np.array([r.energy for r in rows])
    free = np.stack([r.free_energy for r in rows], axis=1)
    found = PhonopyQHA(
        volumes=volumes, electronic_energies=energies, temperatures=temperatures, free_energy=free,
        cv=np.stack([r.heat_capacity for r in rows], axis=1), entropy=np.stack([r.entropy for r in rows], axis=1),
        eos="vinet",
    )  # fmt: skip
    volume = np.asarray(found.volume_temperature)
    inside = (volume > volumes.min()) & (volume < volumes.max()) & (temperatures[: len(volume)] <= highest + 1e-6)
    if not inside[0]:
        raise SimulationError(
            f"quasi-harmonic: at 0 K the free energy has no minimum between {volumes.min():.2f} and "
            f"{volumes.max():.2f} Å³; give other ratios"
        )
    kept = len(inside) if inside.all() else int(np.argmin(inside))
    kilojoule_per_mole = 0.010364269656262175
    return QuasiHarmonic(
        formula=rows[0].formula,
        temperatures=temperatures[:kept],
        volume=volume[:kept],
        thermal_expansion=np.asarray(found.thermal_expansion)[:kept],
        bulk_modulus=np.asarray(found.bulk_modulus_temperature)[:kept],
        heat_capacity=np.asarray(found.heat_capacity_P_polyfit)[:kept],
        gruneisen=np.asarray(found.gruneisen_temperature)[:kept],
        volumes=volumes,
        energies=energies,
        free_energies=energies + kilojoule_per_mole * free,
    )
