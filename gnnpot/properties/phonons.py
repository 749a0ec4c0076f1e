"""Harmonic phonons of a crystal: band structure, density of states, thermodynamic functions, and imaginary modes.

    result = calc(atoms, calculator)
    result.stable, result.heat_capacity_at(300.0)
    result.plot(Path("phonons.png"))

Force constants are calculated from the forces after finite displacements of the symmetry-inequivalent atoms in a
supercell. The band structure follows the path of seekpath (Hinuma et al., Comput. Mater. Sci. 128, 140 (2017)). Per
primitive cell, with the modes ω at M wave vectors,

    F(T) = E + 1/M Σ_ω [ ħω/2 + k_B T ln(1 - exp(-ħω / k_B T)) ],                                               (1)
    C_V(T) = 1/M Σ_ω k_B x² e^x / (e^x - 1)²,   x = ħω / k_B T,                                                 (2)

where F is given without the static energy E. Imaginary frequencies are represented by negative values. A mode with a
frequency below minus the tolerance counts as imaginary: the crystal is then not at a minimum, and (1) and (2) are
undefined (NaN). The splitting of longitudinal and transverse optical modes at Γ in polar crystals is not included,
since a potential with a finite cutoff does not describe the long-range field.

By phonopy: Togo, Chaput, Tadano and Tanaka, J. Phys. Condens. Matter 35, 353001 (2023).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator

from gnnpot.data.structures import StructureLike
from gnnpot.domains import INTEGER_FROM_1, NOT_NEGATIVE, POSITIVE, Domain, check_fields
from gnnpot.errors import DataError
from gnnpot.extras import needs_extra
from gnnpot.properties.relaxed import crystal_of, forces_of, relaxed, repeats
from gnnpot.runs.progress import Progress, no_progress

#: THz, a mode with a frequency below minus this value is imaginary; above, it may be numerical noise
TOLERANCE = 0.1
#: THz, modes with a lower frequency are left out of thermodynamic functions
ZERO_FREQUENCY = 1e-3
#: gas constant, J/K/mol; heat capacity of a mode at high temperature
GAS_CONSTANT = 8.31446261815324
#: allowed displacements of an atom
DISPLACEMENT = Domain("a distance above 0 and below 0.5 Å", lambda x: 0 < x < 0.5)


@dataclass(frozen=True, eq=False)
class Phonons:
    """Phonons of a crystal, per primitive cell with n atoms."""

    formula: str  #: formula of the primitive cell
    supercell: tuple[int, int, int]  #: repeats of the given cell
    distances: tuple[np.ndarray, ...]  #: [Q] 1/Å for each segment, distances along the whole path
    qpoints: tuple[np.ndarray, ...]  #: [Q, 3] for each segment, in reciprocal vectors of the primitive cell
    bands: tuple[np.ndarray, ...]  #: [Q, 3n] THz for each segment, frequencies; negative if imaginary
    labels: tuple[tuple[str, str], ...]  #: names of the two ends of each segment
    dos_frequencies: np.ndarray  #: [D] THz, frequencies of the density of states
    dos: np.ndarray  #: [D] states per THz
    mesh: tuple[int, int, int]  #: mesh of wave vectors for the density of states
    lowest: float  #: THz, lowest frequency on the mesh and the path; negative if imaginary
    temperatures: np.ndarray  #: [T] K
    free_energy: np.ndarray  #: [T] kJ/mol of primitive cells, equation (1); NaN if there are imaginary modes
    entropy: np.ndarray  #: [T] J/K/mol
    heat_capacity: np.ndarray  #: [T] J/K/mol, equation (2)

    @property
    def stable(self) -> bool:
        """Whether no mode is imaginary."""
        return self.lowest > -TOLERANCE

    @property
    def imaginary(self) -> tuple[tuple[tuple[float, float, float], float], ...]:
        """Wave vectors and lowest frequencies (THz) of imaginary modes, at the ends and minima of path segments."""
        found: dict[tuple[float, float, float], float] = {}
        for qpoints, bands in zip(self.qpoints, self.bands, strict=True):
            lowest = bands.min(axis=1)
            for k in {0, int(lowest.argmin()), len(lowest) - 1}:
                if lowest[k] < -TOLERANCE:
                    x, y, z = (float(x) for x in np.round(qpoints[k], 4))
                    found[x, y, z] = float(lowest[k])
        return tuple(sorted(found.items(), key=lambda item: item[1]))

    def heat_capacity_at(self, temperature: float) -> float:
        """Heat capacity (J/K/mol) at a temperature (K) within the range."""
        return float(np.interp(temperature, self.temperatures, self.heat_capacity))

    def to_json(self) -> dict[str, Any]:
        """All fields, with units in the keys."""
        return {
            "formula": self.formula,
            "supercell": list(self.supercell),
            "stable": self.stable,
            "lowest_THz": self.lowest,
            "imaginary": [{"qpoint": list(q), "frequency_THz": f} for q, f in self.imaginary],
            "bands": [
                {
                    "ends": list(ends),
                    "distances_per_A": d.tolist(),
                    "qpoints": q.tolist(),
                    "frequencies_THz": b.tolist(),
                }
                for ends, d, q, b in zip(self.labels, self.distances, self.qpoints, self.bands, strict=True)
            ],
            "mesh": list(self.mesh),
            "dos_frequencies_THz": self.dos_frequencies.tolist(),
            "dos_per_THz": self.dos.tolist(),
            "temperatures_K": self.temperatures.tolist(),
            "free_energy_kJ_mol": self.free_energy.tolist(),
            "entropy_J_K_mol": self.entropy.tolist(),
            "heat_capacity_J_K_mol": self.heat_capacity.tolist(),
        }

    def plot(self, path: Path) -> None:
        """Save a plot of the band structure, density of states and heat capacity as PNG."""
        from gnnpot.runs.pages import COLORS, new_figure, tidy

        figure = new_figure(width=12)
        grid = figure.add_gridspec(1, 3, width_ratios=(4, 1.2, 2.2))
        bands, dos, heat = (figure.add_subplot(grid[k]) for k in range(3))
        self._draw_bands(bands)
        dos.plot(self.dos, self.dos_frequencies, color=COLORS[0], linewidth=1.4)
        dos.fill_betweenx(self.dos_frequencies, self.dos, color=COLORS[0], alpha=0.15, linewidth=0)
        dos.set(xlabel="states per THz", ylim=bands.get_ylim(), xlim=(0, None), yticklabels=[])
        limit = 3 * GAS_CONSTANT * self.bands[0].shape[1] / 3
        heat.axhline(limit, color="black", linewidth=0.7, linestyle=":")
        heat.text(self.temperatures[-1], limit, "3 n R ", ha="right", va="bottom", fontsize=8)
        heat.plot(self.temperatures, self.heat_capacity, color=COLORS[1], linewidth=1.8)
        heat.set(xlabel="temperature, K", ylabel=f"$C_V$, J/K/mol {self.formula}", ylim=(0, 1.1 * limit))
        for axes in (dos, heat):
            tidy(axes)
        verdict = "no imaginary modes" if self.stable else f"IMAGINARY MODES, to {-self.lowest:.2f}i THz"
        figure.suptitle(f"{self.formula}, supercell {'x'.join(map(str, self.supercell))}: {verdict}", fontsize=11)
        figure.savefig(path)

    def _draw_bands(self, axes: Any) -> None:
        from gnnpot.runs.pages import COLORS, tidy

        tidy(axes)
        axes.grid(False)
        ticks: dict[float, str] = {}
        for distance, frequencies, ends in zip(self.distances, self.bands, self.labels, strict=True):
            axes.plot(distance, frequencies, color=COLORS[0], linewidth=1.2)
            for place, name in ((float(distance[0]), ends[0]), (float(distance[-1]), ends[1])):
                known = next((x for x in ticks if abs(x - place) < 1e-6), place)
                before = ticks.get(known, name)
                ticks[known] = name if before == name else f"{before}|{name}"
        for place in ticks:
            axes.axvline(place, color="#9fb0c0", linewidth=0.7)
        axes.axhline(0, color="black", linewidth=0.7)
        axes.set_xticks(list(ticks), list(ticks.values()))
        axes.set(ylabel="frequency, THz (imaginary: below 0)", xlim=(min(ticks), max(ticks)))


@dataclass(frozen=True, slots=True)
class PhononsConfig:
    """Options of `calc`.

    Args:
        supercell: Repeats of the cell for displacements; default: the least for which the supercell reaches `length`.
        length: Å, minimum height of the supercell along each vector.
        displacement: Å, displacement of an atom.
        mesh_length: Å, length of the supercell that the mesh of wave vectors corresponds to.
        temperatures: K, temperatures of heat capacity, entropy and free energy.
        relax: Relax cell and positions first.
        fmax: eV/Å, convergence threshold of the largest force in this relaxation.
    """

    supercell: Annotated[tuple[int, int, int] | None, INTEGER_FROM_1] = None
    length: Annotated[float, POSITIVE] = 10.0
    displacement: Annotated[float, DISPLACEMENT] = 0.01
    mesh_length: Annotated[float, POSITIVE] = 100.0
    temperatures: Annotated[tuple[float, ...], NOT_NEGATIVE] = tuple(range(0, 1001, 10))
    relax: bool = True
    fmax: Annotated[float, POSITIVE] = 1e-3

    def __post_init__(self) -> None:
        check_fields(self)


def calc(
    atoms: StructureLike,
    calculator: BaseCalculator,
    config: PhononsConfig | None = None,
    *,
    progress: Progress = no_progress,
) -> Phonons:
    """Calculate the phonons of a crystal.

    Args:
        atoms: Crystal; its masses are used.
        calculator: Any ASE calculator.
        config: Options; default: `PhononsConfig()`.
        progress: Called with the progress of the relaxation and the number of displacements done.

    Returns:
        Band structure and density of states (THz), and thermodynamic functions over temperature.

    Raises:
        DataError: The structure is not a crystal, or atoms of one element have different masses.
        MissingExtraError: phonopy or seekpath is not installed.
        SimulationError: The relaxation fails.
    """
    config = config or PhononsConfig()
    crystal = crystal_of(atoms, "phonons")
    repeated = config.supercell or repeats(crystal.cell, config.length)
    if config.relax:
        what = "phonons: relaxation"
        crystal = relaxed(crystal, calculator, cell="full", fmax=config.fmax, what=what, progress=progress)
    phonopy = with_force_constants(crystal, calculator, repeated, displacement=config.displacement, progress=progress)
    return _result(phonopy, repeated, config.mesh_length, np.asarray(config.temperatures, dtype=float))


def with_force_constants(
    crystal: Atoms,
    calculator: BaseCalculator,
    supercell: tuple[int, int, int],
    *,
    displacement: float = 0.01,
    what: str = "phonons",
    progress: Progress = no_progress,
) -> Any:
    """Calculate the force constants of a relaxed crystal; returns an object of `phonopy.Phonopy`.

    Args:
        crystal: Relaxed crystal.
        calculator: Any ASE calculator.
        supercell: Repeats of the cell.
        displacement: Displacement of an atom, Å.
        what: Name of the calculation, for the progress.
        progress: Called with the number of displacements done.
    """
    with needs_extra("phonons"):
        from phonopy import Phonopy
        from phonopy.structure.cells import guess_primitive_matrix

    cell = phonopy_atoms(crystal)
    # Any, since phonopy annotates results as optional
    phonopy: Any = Phonopy(cell, np.diag(supercell), guess_primitive_matrix(cell))
    phonopy.generate_displacements(distance=displacement)
    phonopy.forces = displacement_forces(phonopy, calculator, what, progress)
    phonopy.produce_force_constants()
    phonopy.symmetrize_force_constants()
    return phonopy


def phonopy_atoms(crystal: Atoms) -> Any:
    """Convert a crystal to phonopy's atoms, with its masses.

    phonopy requires right-handed cells. The vectors of a left-handed cell are reversed, which does not change the
    lattice, the positions or the repeats along each vector.

    Raises:
        DataError: Atoms of one element have different masses, which symmetry analysis does not distinguish.
    """
    with needs_extra("phonons"):
        from phonopy.structure.atoms import PhonopyAtoms

    masses, side = crystal.get_masses(), crystal.cell.handedness
    for symbol in sorted(set(crystal.symbols)):
        if np.ptp(masses[crystal.symbols == symbol]) > 0:
            raise DataError(
                f"{crystal.get_chemical_formula()}: its atoms of {symbol} have different masses, which are not "
                "supported with symmetry; give all of them the same mass"
            )
    return PhonopyAtoms(
        numbers=crystal.numbers,
        cell=side * crystal.cell.array,
        scaled_positions=side * crystal.get_scaled_positions(),
        masses=masses,
    )


def displacement_forces(phonopy: Any, calculator: BaseCalculator, what: str, progress: Progress) -> np.ndarray:
    """Calculate the forces in displaced supercells.

    Args:
        phonopy: Object of phonopy or phono3py with displacements.
        calculator: Any ASE calculator.
        what: Name of the calculation, for the progress.
        progress: Called with the number of displacements done.

    Returns:
        Forces less the residual forces without displacements, [D, N, 3] eV/Å; 0 for pairs left out by phono3py.
    """
    moved = phonopy.supercells_with_displacements
    at_rest = forces_of(ase_atoms(phonopy.supercell), calculator)
    forces = np.zeros((len(moved), *at_rest.shape))
    for k, displaced in enumerate(moved):
        progress(f"{what}: displacements", k, len(moved))
        if displaced is not None:
            forces[k] = forces_of(ase_atoms(displaced), calculator) - at_rest
    progress(f"{what}: displacements", len(moved), len(moved))
    return forces


def thermal_properties(phonopy: Any, temperatures: Sequence[float] | np.ndarray) -> Any:
    """Calculate thermodynamic functions of the primitive cell, equations (1) and (2), on the last mesh of `phonopy`.

    Modes below `ZERO_FREQUENCY`, also imaginary ones, are left out. The acoustic modes at Γ are among them: their
    frequencies are zero up to rounding errors, whose signs would otherwise decide whether phonopy includes them.

    Args:
        phonopy: Object of phonopy with force constants, after `run_mesh`.
        temperatures: K.

    Returns:
        Object of phonopy with `free_energy` (kJ/mol), `entropy` and `heat_capacity` (J/K/mol), each an array [T].
    """
    phonopy.run_thermal_properties(temperatures=temperatures, cutoff_frequency=ZERO_FREQUENCY)
    return phonopy.thermal_properties


def ase_atoms(atoms: Any) -> Atoms:
    """Convert phonopy's atoms to ASE `Atoms`."""
    return Atoms(numbers=atoms.numbers, scaled_positions=atoms.scaled_positions, cell=atoms.cell, pbc=True)


def _result(phonopy: Any, supercell: tuple[int, int, int], mesh_length: float, temperatures: np.ndarray) -> Phonons:
    segments, ends = _path(phonopy.primitive)
    phonopy.run_band_structure(segments)
    path = phonopy.band_structure
    phonopy.run_mesh(mesh_length)
    mesh = phonopy.mesh
    phonopy.run_total_dos(use_tetrahedron_method=True)
    dos = phonopy.total_dos
    bands = tuple(np.asarray(f) for f in path.frequencies)
    lowest = min(float(mesh.frequencies.min()), *(float(f.min()) for f in bands))
    free, entropy, heat = (np.full(len(temperatures), np.nan) for _ in range(3))
    if lowest > -TOLERANCE:
        found = thermal_properties(phonopy, temperatures)
        free, entropy, heat = found.free_energy, found.entropy, found.heat_capacity
    return Phonons(
        formula=ase_atoms(phonopy.primitive).get_chemical_formula(),
        supercell=supercell,
        distances=tuple(np.asarray(d) for d in path.distances),
        qpoints=tuple(np.asarray(q) for q in path.qpoints),
        bands=bands,
        labels=ends,
        dos_frequencies=np.asarray(dos.frequency_points),
        dos=np.asarray(dos.dos),
        mesh=(int(mesh.mesh_numbers[0]), int(mesh.mesh_numbers[1]), int(mesh.mesh_numbers[2])),
        lowest=lowest,
        temperatures=temperatures,
        free_energy=np.asarray(free),
        entropy=np.asarray(entropy),
        heat_capacity=np.asarray(heat),
    )


def _path(primitive: Any) -> tuple[list[np.ndarray], tuple[tuple[str, str], ...]]:
    """Wave vectors of each segment of seekpath's path, in reciprocal vectors of `primitive`, and names of its ends.

    For some lattices (triclinic, and those with C- or A-centred cells), seekpath's primitive cell differs from it.
    """
    with needs_extra("phonons"):
        from phonopy.phonon.band_structure import get_band_qpoints
        from seekpath import get_path_orig_cell

    found = get_path_orig_cell(primitive.totuple())
    # removes rounding errors and negative zeros
    points = {name: np.round(place, 12) + 0.0 for name, place in found["point_coords"].items()}
    lines = [[points[start], points[end]] for start, end in found["path"]]
    segments = get_band_qpoints(lines, npoints=51, rec_lattice=np.linalg.inv(primitive.cell))
    return segments, tuple((_named(start), _named(end)) for start, end in found["path"])


def _named(point: str) -> str:
    """Replace names of Greek letters in seekpath's name of a point, such as GAMMA or SIGMA_0, by the letters."""
    for name, letter in (("GAMMA", "Γ"), ("SIGMA", "Σ"), ("DELTA", "Δ"), ("LAMBDA", "Λ")):
        point = point.replace(name, letter)
    return point
