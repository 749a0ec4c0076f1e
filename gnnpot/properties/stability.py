"""Stability of crystals in relaxations and in molecular dynamics at high temperature.

    outcome, relaxed = relaxation_outcome(atoms, calculator)
    outcome = dynamics_outcome(relaxed, calculator, temperature=1000, steps=10_000, folder=Path("runs/md-1"))
    outcome.exploded, outcome.reason

A relaxation counts as exploded if

- a value is not finite, or a force or the volume exceeds the limits of `engines.relax`;
- the final volume is less than half or more than twice the initial volume;
- the final distance between two atoms is less than half the sum of their covalent radii.

A crystal whose structure was determined under pressure expands when it is relaxed. If the potential predicts a pressure
for the initial structure, the limit of twice the volume is therefore relative to the volume at which the uniformly
scaled crystal has zero pressure.

Molecular dynamics counts as exploded if a value is not finite, the temperature exceeds three times that of the
thermostat, or two atoms are closer than half the sum of their covalent radii in any frame. Bonds need not be
identified, since no bond is that short.
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

#: smallest allowed distance, divided by the sum of covalent radii; distances in crystals and melts are larger
CLOSEST = 0.5
#: smallest and largest allowed ratio of final to initial volume
VOLUME_RATIOS = 0.5, 2.0
#: largest ratio of volumes in the search for the volume at zero pressure, and the step of the search
MOST_EXPANDED, EXPANSION_STEP = 3.0, 0.05
#: largest allowed temperature, divided by the temperature of the thermostat
HOTTEST = 3.0
#: steps of molecular dynamics between the frames in which distances are checked
INTERVAL = 20


@dataclass(frozen=True, slots=True)
class RelaxationOutcome:
    """Outcome of a relaxation."""

    exploded: bool
    reason: str  #: reason why it counts as exploded; empty otherwise
    converged: bool
    steps: int
    fmax: float | None  #: eV/Å, final largest force
    volume_ratio: float | None  #: final volume divided by the initial volume
    closest: float | None  #: smallest final distance, divided by the sum of covalent radii
    #: if the volume more than doubled: volume at zero pressure under uniform scaling, divided by the initial volume
    free_volume_ratio: float = 1.0


@dataclass(frozen=True, slots=True)
class DynamicsOutcome:
    """Outcome of a molecular dynamics run."""

    exploded: bool
    reason: str  #: reason why it counts as exploded; empty otherwise
    atoms: int  #: number of atoms
    steps: int  #: number of steps done
    temperature: float | None  #: K, mean over the frames
    hottest: float | None  #: K, maximum over the frames
    closest: float | None  #: smallest distance in the frames, divided by the sum of covalent radii


def closest_approach(atoms: Atoms) -> float:
    """Smallest distance of two atoms or images, divided by the sum of their covalent radii.

    Pairs with distances above twice the largest covalent radius are ignored; infinite if there are no others.
    """
    radii = covalent_radii[atoms.numbers]
    found = neighbor_list(atoms.positions, atoms.cell.array, atoms.pbc, 2 * float(radii.max()))
    centre, neighbor = found.edge_index
    ratios = found.distances / (radii[centre] + radii[neighbor])
    return float(ratios.min()) if len(ratios) else float("inf")


def free_volume_ratio(atoms: Atoms, calculator: AseCalculator) -> float:
    """Volume at which a uniformly scaled crystal has zero pressure, divided by the volume of the crystal.

    The ratio is 1 if the pressure of the crystal is not positive, or if it is still positive at `MOST_EXPANDED` times
    the volume. Pressures are calculated by the calculator.
    """
    before = 0.0
    for ratio in np.arange(1.0, MOST_EXPANDED + EXPANSION_STEP / 2, EXPANSION_STEP):
        scaled = scaled_to(atoms, ratio * atoms.get_volume())
        scaled.calc = calculator
        pressure = -float(scaled.get_stress()[:3].mean())
        if pressure <= 0:
            # linear interpolation between two steps
            return float(ratio - EXPANSION_STEP * pressure / (pressure - before)) if ratio > 1 else 1.0
        before = pressure
    return 1.0


def relaxation_outcome(
    atoms: Atoms, calculator: AseCalculator, *, fmax: float = 0.05, stress_max: float = 0.1 * GPA, steps: int = 500
) -> tuple[RelaxationOutcome, Atoms | None]:
    """Relax positions and cell, to forces of `fmax` (eV/Å) and stresses of `stress_max` (eV/Å³) or for `steps` steps.

    The relaxed crystal is `None` if it has exploded. Raises `DataError` if the given crystal is invalid.
    """
    try:
        with warnings.catch_warnings():
            # SciPy warns of errors of about 1e-12 in the logarithm of the strain
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
    """Run or resume NVT dynamics (Bussi thermostat) in `folder`, and check whether it explodes.

    `temperature` is in K and `timestep` in fs. Raises `DataError` if the given crystal is invalid.
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
        # a run that was stopped before its first frame is started again
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


def near_cubic_supercell(atoms: Atoms, least: int = 48, most: int = 110) -> Atoms:
    """Supercell with at least `least` atoms and a shape as close to a cube as possible with up to `most` atoms.

    If the cell has more than half of `most` atoms, supercells with up to twice its atoms are considered.
    """
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
