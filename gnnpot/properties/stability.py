"""Whether crystals hold together: relaxed, and hot.

    outcome, relaxed = relaxation_outcome(atoms, calculator)
    outcome = dynamics_outcome(relaxed, calculator, temperature=1000, steps=10_000, folder=Path("runs/md-1"))
    outcome.exploded, outcome.reason

A relaxation has exploded if a number in it is not finite, a force or the volume leaves what `engines.relax` allows, the
volume ends at less than half or more than twice what it was, or two atoms end up closer than half the sum of their
covalent radii. A crystal that was found under pressure grows when it is let go: where the potential itself finds that,
"more than twice" is counted from the volume at which the crystal, scaled uniformly, has no pressure. Molecular dynamics
has, if a number is not finite, the temperature passes three times the thermostat's, or two atoms come closer than that
in any frame. Which of two atoms are bound does not matter: no bond is half as long.
"""

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator as AseCalculator
from ase.data import covalent_radii
from ase.io.trajectory import Trajectory

from gnnpot.engines.md import MDConfig, run_md
from gnnpot.engines.relax import RelaxConfig, relax
from gnnpot.errors import DataError, SimulationError
from gnnpot.graphs.neighbors import neighbor_list
from gnnpot.properties.equation_of_state import scaled_to
from gnnpot.units import GPA

#: of the sum of the covalent radii; no two atoms of a crystal or a melt stand closer
CLOSEST = 0.5
#: the least and largest ratio of volumes, after and before, of a crystal that is still the same
VOLUME_RATIOS = 0.5, 2.0
#: the largest volume, over its own, at which a crystal is tried for having no pressure, and the step up to it
MOST_EXPANDED, EXPANSION_STEP = 3.0, 0.05
#: times the thermostat's temperature
HOTTEST = 3.0
#: steps of molecular dynamics between frames, which are what is looked at
INTERVAL = 20


@dataclass(frozen=True, slots=True)
class RelaxationOutcome:
    """How a relaxation ended."""

    exploded: bool
    reason: str  #: of the explosion
    converged: bool
    steps: int
    fmax: float | None  #: eV/Å, left at the end
    volume_ratio: float | None  #: after over before
    closest: float | None  #: smallest distance over the sum of the covalent radii, at the end
    #: of a crystal that grew to more than twice: the volume without pressure, scaled uniformly, over that before
    free_volume_ratio: float = 1.0


@dataclass(frozen=True, slots=True)
class DynamicsOutcome:
    """How a run of molecular dynamics ended."""

    exploded: bool
    reason: str  #: of the explosion
    atoms: int
    steps: int  #: that were done
    temperature: float | None  #: K, mean
    hottest: float | None  #: K, of the frames
    closest: float | None  #: smallest distance over the sum of the covalent radii, of the frames


def closest_approach(atoms: Atoms) -> float:
    """The smallest distance of two atoms, images counted, over the sum of their covalent radii; infinite for none.

    Atoms further apart than the sum of the largest radii don't count.
    """
    radii = covalent_radii[atoms.numbers]
    found = neighbor_list(atoms.positions, atoms.cell.array, atoms.pbc, 2 * float(radii.max()))
    centre, neighbor = found.edge_index
    ratios = found.distances / (radii[centre] + radii[neighbor])
    return float(ratios.min()) if len(ratios) else float("inf")


def free_volume_ratio(atoms: Atoms, calculator: AseCalculator) -> float:
    """The volume at which a crystal, scaled uniformly, has no pressure, over the volume that it has.

    1 for a crystal that is not under pressure, or still is at `MOST_EXPANDED` times its volume. Pressures are those of
    the calculator: whether it is right about them is another question.
    """
    before = 0.0
    for ratio in np.arange(1.0, MOST_EXPANDED + EXPANSION_STEP / 2, EXPANSION_STEP):
        scaled = scaled_to(atoms, ratio * atoms.get_volume())
        scaled.calc = calculator
        pressure = -float(scaled.get_stress()[:3].mean())
        if pressure <= 0:
            # a straight line between two steps
            return float(ratio - EXPANSION_STEP * pressure / (pressure - before)) if ratio > 1 else 1.0
        before = pressure
    return 1.0


def relaxation_outcome(
    atoms: Atoms, calculator: AseCalculator, *, fmax: float = 0.05, stress_max: float = 0.1 * GPA, steps: int = 500
) -> tuple[RelaxationOutcome, Atoms | None]:
    """Relax positions and cell, to forces of `fmax` eV/Å and stresses of `stress_max` eV/Å³ or for `steps` steps.

    The relaxed crystal is `None` if it has exploded. Raises what is wrong with the crystal itself, as `DataError`.
    """
    try:
        with warnings.catch_warnings():
            # SciPy's logarithm of the cell is good to 1e-12 only
            warnings.filterwarnings("ignore", "logm result may be inaccurate", RuntimeWarning)
            result = relax(atoms, calculator, RelaxConfig(fmax=fmax, stress_max=stress_max, steps=steps))
        if result.volume is None or result.initial_volume is None:
            raise DataError(f"{atoms.get_chemical_formula()}: has no volume; give a crystal")
        ratio = result.volume / result.initial_volume
        free = free_volume_ratio(atoms, calculator) if ratio > VOLUME_RATIOS[1] else 1.0
    except SimulationError as error:
        return RelaxationOutcome(True, str(error), False, steps, None, None, None), None
    closest = closest_approach(result.atoms)
    reason = ""
    if not VOLUME_RATIOS[0] <= ratio <= VOLUME_RATIOS[1] * free:
        reason = f"the volume became {ratio:.2f} of what it was"
    elif closest < CLOSEST:
        reason = f"two atoms stand at {closest:.2f} of the sum of their radii"
    outcome = RelaxationOutcome(bool(reason), reason, result.converged, result.steps, result.fmax, ratio, closest, free)
    return outcome, None if reason else result.atoms


def dynamics_outcome(
    atoms: Atoms,
    calculator: AseCalculator,
    folder: Path,
    *,
    temperature: float = 1000.0,
    steps: int = 10_000,
    timestep: float = 1.0,
    seed: int = 0,
) -> DynamicsOutcome:
    """Run NVT (Bussi's thermostat) in `folder`, resuming what is there, and see whether it explodes.

    `temperature` K, `timestep` fs. Raises what is wrong with the crystal itself, as `DataError`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    trajectory, log = folder / "md.traj", folder / "md.log"
    config = MDConfig(
        temperature=temperature,
        timestep=timestep,
        steps=steps,
        seed=seed,
        interval=INTERVAL,
        max_temperature=HOTTEST * temperature,
    )
    reason = ""
    try:
        # a run that was stopped before its first frame begins again
        resume = trajectory.exists() and trajectory.stat().st_size > 0
        run_md(atoms, calculator, config, trajectory=trajectory, log=log, resume=resume, overwrite=True)
    except SimulationError as error:
        reason = str(error)
    with Trajectory(str(trajectory)) as frames:
        closest = min(closest_approach(frame) for frame in frames)
    samples = np.loadtxt(log, ndmin=2)
    if not reason and closest < CLOSEST:
        reason = f"two atoms came to {closest:.2f} of the sum of their radii"
    temperatures = samples[:, 2]
    return DynamicsOutcome(
        exploded=bool(reason),
        reason=reason,
        atoms=len(atoms),
        steps=int(samples[-1, 0]),
        temperature=float(temperatures.mean()),
        hottest=float(temperatures.max()),
        closest=closest,
    )


def hot_cell(atoms: Atoms, least: int = 48, most: int = 110) -> Atoms:
    """A supercell of at least `least` atoms, as near to a cube as `most` atoms allow, else the smallest there is."""
    lengths = atoms.cell.lengths()

    def shape(repeats: tuple[int, ...]) -> float:
        sides = lengths * repeats
        return float(sides.max() / sides.min())

    cells = max(most, 2 * len(atoms)) // len(atoms)
    choices = [
        (a, b, c)
        for a in range(1, cells + 1)
        for b in range(1, cells // a + 1)
        for c in range(1, cells // (a * b) + 1)
        if a * b * c * len(atoms) >= least
    ]
    return atoms.repeat(min(choices, key=lambda r: (shape(r), r))) if choices else atoms.copy()
