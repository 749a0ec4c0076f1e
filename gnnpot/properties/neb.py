"""Minimum energy path between two minima and its barrier, by the nudged elastic band method.

    result = calc(start, calculator, NebConfig(final=end))
    result = calc(crystal, calculator, NebConfig(ion="Li"))   # the shortest hop of a lithium ion to a vacancy
    result.barrier, result.reverse_barrier

Images between the two ends are relaxed perpendicularly to the path, springs keep them apart along the path, and the
highest image climbs to the saddle point (ASE's improved tangent method; Henkelman and Jónsson, J. Chem. Phys. 113, 9978
(2000); Henkelman, Uberuaga and Jónsson, 113, 9901 (2000)). The initial path is interpolated with the image dependent
pair potential (IDPP; Smidstrup et al., J. Chem. Phys. 140, 214106 (2014)).

With `ion`, the crystal is relaxed, and the inequivalent hops of its ions to a vacancy are found by symmetry
(`gnnpot.properties.hops`).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator
from ase.geometry import find_mic
from ase.io import write
from ase.mep import NEB
from ase.optimize import FIRE
from ase.utils.forcecurve import fit_images

from gnnpot.data.structures import StructureLike, as_atoms
from gnnpot.domains import INTEGER_FROM_0, INTEGER_FROM_1, POSITIVE, check_fields
from gnnpot.errors import ConfigError, DataError, SimulationError
from gnnpot.properties.hops import Hop, end_structures, find_hops
from gnnpot.properties.relaxed import crystal_of, relaxed, repeats
from gnnpot.runs.progress import Progress, no_progress

#: Å, largest displacement between the ends below which they are the same structure
_SAME = 0.01


@dataclass(frozen=True, eq=False)
class MinimumEnergyPath:
    """Minimum energy path."""

    formula: str
    images: tuple[Atoms, ...]  #: from the start to the end, with energies and forces
    distances: np.ndarray  #: [M] Å, distance of each image along the path
    energies: np.ndarray  #: [M] eV, energy of each image relative to the start
    fine_distances: np.ndarray  #: [F] Å, distances of the interpolation between images
    fine_energies: np.ndarray  #: [F] eV, energies interpolated by cubic polynomials with the forces along the path
    fmax: float  #: eV/Å, the largest remaining force on the band
    hop: str  #: description of the hop; empty if both ends were given
    hop_length: float  #: Å, distance between the ends for the atom that moves farthest

    @property
    def barrier(self) -> float:
        """Energy of the highest image relative to the start, eV; with `climb`, this image is the saddle point."""
        return float(self.energies.max())

    @property
    def reverse_barrier(self) -> float:
        """Energy of the highest image relative to the end, eV."""
        return float(self.energies.max() - self.energies[-1])

    def to_json(self) -> dict[str, Any]:
        """All fields, with units in the keys."""
        return {
            "formula": self.formula,
            "hop": self.hop,
            "hop_length_A": self.hop_length,
            "barrier_eV": self.barrier,
            "reverse_barrier_eV": self.reverse_barrier,
            "energy_difference_eV": float(self.energies[-1]),
            "fmax_eV_A": self.fmax,
            "distances_A": self.distances.tolist(),
            "energies_eV": self.energies.tolist(),
            "fine_distances_A": self.fine_distances.tolist(),
            "fine_energies_eV": self.fine_energies.tolist(),
            "images": [
                {"symbols": list(a.symbols), "positions_A": a.positions.tolist(), "cell_A": a.cell.array.tolist()}
                for a in self.images
            ],
        }

    def save_structures(self, path: Path) -> None:
        """Write the images as extended XYZ."""
        write(str(path), list(self.images), format="extxyz")

    def plot(self, path: Path) -> None:
        """Save a plot of the energy along the path as PNG."""
        from gnnpot.runs.pages import COLORS, new_figure, tidy

        figure = new_figure(width=5.6)
        axes = figure.add_subplot()
        axes.plot(self.fine_distances, self.fine_energies, color=COLORS[0], linewidth=1.6)
        axes.plot(self.distances, self.energies, "o", color=COLORS[0], markersize=5, label="images")
        top = int(self.energies.argmax())
        axes.annotate(
            f"barrier {self.barrier:.3f} eV", (self.distances[top], self.energies[top]), xytext=(0, 6),
            textcoords="offset points", ha="center",
        )  # fmt: skip
        axes.set(xlabel="distance along the path, Å", ylabel="energy above the start, eV")
        axes.set_title(f"{self.formula}, hop of {self.hop}" if self.hop else self.formula)
        axes.legend(frameon=False, fontsize=8)
        axes.margins(y=0.14)
        tidy(axes)
        figure.savefig(path)


@dataclass(frozen=True, slots=True)
class NebConfig:
    """Options of `calc`.

    Args:
        final: Final structure, with the same atoms in the same order and the same cell.
        ion: Element of the hopping ion, instead of `final`.
        hop: Index of the inequivalent hop, sorted by length from 0.
        longest: Å, maximum length of a hop.
        supercell: Repeats of the crystal; default: the least for which the supercell reaches `length`.
        length: Å, minimum height of the supercell along each vector.
        images: Number of images between the two ends.
        climb: Let the highest image climb to the saddle point.
        relax: Relax the ends (and the crystal) first.
        fmax: eV/Å, convergence threshold of the largest force on the band.
        steps: Maximum number of steps of the optimiser.
    """

    final: StructureLike | None = None
    ion: str | None = None
    hop: Annotated[int, INTEGER_FROM_0] = 0
    longest: Annotated[float, POSITIVE] = 5.0
    supercell: Annotated[tuple[int, int, int] | None, INTEGER_FROM_1] = None
    length: Annotated[float, POSITIVE] = 10.0
    images: Annotated[int, INTEGER_FROM_1] = 5
    climb: bool = True
    relax: bool = True
    fmax: Annotated[float, POSITIVE] = 0.03
    steps: Annotated[int, INTEGER_FROM_1] = 500

    def __post_init__(self) -> None:
        check_fields(self)
        if (self.final is None) == (self.ion is None):
            raise ValueError("give either final, the end, or ion, the element that hops")


def calc(
    atoms: StructureLike,
    calculator: BaseCalculator,
    config: NebConfig,
    *,
    progress: Progress = no_progress,
) -> MinimumEnergyPath:
    """Calculate the minimum energy path between two structures, or of the hop of an ion to a vacancy.

    Args:
        atoms: Initial structure, or the crystal if `ion` is given.
        calculator: Any ASE calculator.
        config: Final structure or hopping ion, and options.
        progress: Called with the progress of steps and relaxations.

    Returns:
        Images from the start to the end, with their energies (eV), and the barrier.

    Raises:
        ConfigError: There is no such hop.
        DataError: The ends do not have the same atoms and cell, or are the same structure.
        SimulationError: A relaxation or the path has not converged.
    """
    if config.final is not None:
        start, end, name = as_atoms(atoms).copy(), as_atoms(config.final).copy(), ""
        _check_ends(start, end)
    else:
        crystal = crystal_of(atoms, "neb")
        if config.relax:
            crystal = relaxed(crystal, calculator, cell="full", what="neb: crystal", progress=progress)
        found = _chosen_hop(crystal, str(config.ion), config.hop, config.longest)
        start, end = end_structures(crystal, config.supercell or repeats(crystal.cell, config.length), found)
        name = f"{config.ion} {found.start} to {found.end}, {found.length:.2f} Å"
    if config.relax:
        start, end = (
            relaxed(a, calculator, fmax=min(config.fmax, 0.01), what=f"neb: {what}", progress=progress)
            for a, what in ((start, "start"), (end, "end"))
        )
    band = _band(start, end, config.images, calculator)
    left = _optimise(band, config, progress)
    return _result(band, left, name)


def _chosen_hop(crystal: Atoms, ion: str, hop: int, longest: float) -> Hop:
    hops = find_hops(crystal, ion, longest)
    if not 0 <= hop < len(hops):
        raise ConfigError(f"hop: {hop} is not one of {len(hops)} within {longest} Å, counted from 0")
    return hops[hop]


def _check_ends(start: Atoms, end: Atoms) -> None:
    if len(start) != len(end) or (start.numbers != end.numbers).any():
        raise DataError("neb: start and end are not the same atoms in the same order; order them alike")
    if not np.allclose(start.cell.array, end.cell.array, atol=1e-6):
        raise DataError("neb: start and end have different cells; give both the same cell")
    if (start.pbc != end.pbc).any():
        raise DataError("neb: start and end are periodic along different vectors; give both the same pbc")


def _band(start: Atoms, end: Atoms, count: int, calculator: BaseCalculator) -> NEB:
    """Create the band with its initial path. Raises `DataError` if the ends are equal, or if fixed atoms differ."""
    if find_mic(end.positions - start.positions, start.cell, start.pbc)[1].max() < _SAME:
        raise DataError("neb: start and end are, or have relaxed to, one structure; give ends that are two minima")
    frames = [start.copy() for _ in range(count + 1)] + [end.copy()]
    band = NEB(frames, allow_shared_calculator=True, method="improvedtangent")
    try:
        band.interpolate("idpp" if len(start) > 1 else "linear", mic=bool(start.pbc.any()))
    except RuntimeError:
        # raised by ASE if constraints change the interpolated positions
        raise DataError(
            "neb: fixed atoms have different positions at the start and at the end; give them the same in both"
        ) from None
    for frame in frames:
        frame.calc = calculator
    return band


def _optimise(band: NEB, config: NebConfig, progress: Progress) -> float:
    """Relax the band and return the largest remaining force. Raises `SimulationError` if it exceeds `fmax`."""
    fmax, steps = config.fmax, config.steps
    left, done = np.inf, 0
    for climbing, limit in ((False, 3 * fmax), (True, fmax)) if config.climb else ((False, fmax),):
        band.climb = climbing
        with FIRE(band, logfile=None) as optimiser:
            for _ in optimiser.irun(fmax=limit, steps=steps - done):
                left = float(np.linalg.norm(band.get_forces().reshape(-1, 3), axis=1).max())
                progress("neb: path", done + optimiser.nsteps, steps, f"largest force {left:.4f} eV/Å")
            done += optimiser.nsteps
    progress("neb: path", steps, steps)
    if not left <= fmax:
        raise SimulationError(
            f"neb: the path has not converged after {done} steps (largest force {left:.3f} eV/Å); allow more steps, or "
            "larger forces (fmax)"
        )
    return left


def _result(band: NEB, left: float, name: str) -> MinimumEnergyPath:
    frames = []
    for image in band.images:
        frame = image.copy()
        frame.calc = None
        frame.info["energy"] = image.get_potential_energy()
        frame.arrays["forces"] = image.get_forces()
        frames.append(frame)
    fit = fit_images(band.images)
    lengths = find_mic(frames[-1].positions - frames[0].positions, frames[0].cell, frames[0].pbc)[1]
    energies = np.array([frame.info["energy"] for frame in frames])
    return MinimumEnergyPath(
        formula=frames[0].get_chemical_formula(),
        images=tuple(frames),
        distances=np.asarray(fit.path),
        energies=energies - energies[0],
        fine_distances=np.asarray(fit.fit_path),
        fine_energies=np.asarray(fit.fit_energies),
        fmax=left,
        hop=name,
        hop_length=float(lengths.max()),
    )
