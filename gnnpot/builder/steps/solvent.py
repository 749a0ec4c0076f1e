"""Rigid molecules packed without overlaps, in a box or as a layer on a surface.

The molecules start on a lattice with random orientations. Then they are moved and rotated along the negative gradient
of the sum of max(0, d0 - d)² over pairs of atoms of different molecules, where d0 is the smallest allowed distance,
until the sum is zero (the idea of Packmol, Martínez et al., J. Comput. Chem. 30, 2157, 2009).
"""

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers, vdw_radii
from ase.neighborlist import primitive_neighbor_list
from scipy.spatial.transform import Rotation

from gnnpot.builder.recipe import Solvent
from gnnpot.builder.state import State
from gnnpot.builder.steps import molecule
from gnnpot.builder.steps.slab import add_vacuum

#: densities of liquids at room temperature, of NH3, N2, O2 and CH4 near their boiling points, g/cm³ (CRC Handbook of
#: Chemistry and Physics)
DENSITIES = {
    "H2O": 0.997, "CH3OH": 0.791, "C2H5OH": 0.789, "CH3CN": 0.786, "C6H6": 0.877, "toluene": 0.867, "CH3COCH3": 0.784,
    "DMSO": 1.1, "THF": 0.889, "DMF": 0.944, "CHCl3": 1.489, "CCl4": 1.594, "NH3": 0.682, "CH3COOH": 1.049,
    "HCOOH": 1.22,
    "ethylene carbonate": 1.32, "propylene carbonate": 1.2, "dimethyl carbonate": 1.069, "ethylene glycol": 1.113,
    "isopropanol": 0.785, "propanol": 0.803, "hexane": 0.661, "octane": 0.703, "cyclohexane": 0.779,
    "diethyl ether": 0.713,
    "phenol": 1.07, "aniline": 1.02, "C5H5N": 0.982,
    "N2": 0.807, "O2": 1.141, "CH4": 0.423,
}  # fmt: skip
#: densities of liquid elements at their melting points, of noble gases at their boiling points, of Hg at 25 °C, g/cm³
#: (CRC Handbook of Chemistry and Physics)
ELEMENTS = {
    "Li": 0.512, "Na": 0.927, "K": 0.828, "Rb": 1.46, "Cs": 1.843, "Mg": 1.584, "Ca": 1.378, "Al": 2.375, "Ga": 6.08,
    "In": 7.02, "Pb": 10.66, "Bi": 10.05, "Cu": 8.02, "Ag": 9.32, "Au": 17.31, "Zn": 6.57, "Ni": 7.81, "Pd": 10.38,
    "Ne": 1.207, "Ar": 1.396, "Kr": 2.413, "Xe": 2.942, "Hg": 13.534,
}  # fmt: skip
#: amu/Å³ in g/cm³
AMU = 1.66053907
#: smallest distance of two atoms as a fraction of the sum of van der Waals radii; less for hydrogen, for hydrogen bonds
CONTACT, CONTACT_H = 0.72, 0.62
ABOVE_SURFACE = 2.3
MANY = 10**9
#: smallest width of the surface cell for a layer of liquid, Å
LAYER_WIDTH = 9.0


def solvent(step: Solvent, state: State) -> None:
    """Create a box of molecules, or add a layer of molecules to the slab."""
    on_surface = bool(len(state.atoms))
    kinds = [molecule.make(amount.name, state) for amount in step.molecules]
    if on_surface and not state.is_surface:
        raise state.error("solvent_on_what")
    if on_surface and not state.surface.repeated:
        lengths = np.linalg.norm(state.atoms.cell[:2], axis=1)
        repeat = tuple(max(1, int(np.ceil(LAYER_WIDTH / length - 0.05))) for length in lengths)
        state.check_size(len(state.atoms) * repeat[0] * repeat[1])
        state.surface.repeated = True
        state.atoms = state.atoms.repeat((*repeat, 1))
        state.note("surface_repeat", repeat="×".join(map(str, repeat)))
    region = _layer(step, kinds, state) if on_surface else _box(step, kinds, state)
    low, cell, numbers = region
    state.check_size(len(state.atoms) + sum(n * len(k) for n, k in zip(numbers, kinds, strict=True)))
    packed = _packed(kinds, numbers, low, cell, state.atoms if on_surface else None, step.seed, state)
    if not on_surface:
        state.atoms = Atoms(packed.numbers, positions=packed.positions, cell=cell, pbc=True)
        return
    constraints = state.atoms.constraints
    state.atoms.set_constraint()
    height = state.surface.vacuum
    packed.set_tags(0)
    joined = state.atoms + packed
    if "layer" in joined.arrays:
        joined.arrays["layer"][-len(packed) :] = 10_000
    state.atoms = add_vacuum(joined, height)
    state.atoms.set_constraint(constraints)


def _density(step: Solvent, state: State) -> float:
    if step.density is not None:
        return step.density
    names = [amount.name for amount in step.molecules]
    # that of the solvent: of the molecule whose number is open, or the most frequent one
    main = max(step.molecules, key=lambda amount: amount.number or MANY).name
    if all(name in atomic_numbers for name in names):
        if len(names) > 1 or names[0] not in ELEMENTS:
            raise state.error("density_of", name=", ".join(names))
        density = ELEMENTS[names[0]]
    else:
        density = DENSITIES.get(molecule.identify(main) or "", 1.0)
    state.note("density", density=f"{density:g}", name=main)
    return density


def _box(step: Solvent, kinds: list[Atoms], state: State) -> tuple[float, np.ndarray, list[int]]:
    """(lowest height, which is 0; cell; numbers of molecules) of a box."""
    amounts = step.molecules
    if step.box is None:
        numbers = [amount.number or (64 if len(amounts) == 1 else None) for amount in amounts]
        if amounts[0].number is None and len(amounts) == 1:
            state.note("molecules", number=64)
        whole = [n for n in numbers if n is not None]
        if len(whole) < len(numbers):
            raise state.error("how_many_molecules")
        mass = sum(n * k.get_masses().sum() for n, k in zip(whole, kinds, strict=True))
        edge = (mass * AMU / _density(step, state)) ** (1 / 3)
        state.note("box", edge=f"{edge:.2f}")
        return 0.0, np.eye(3) * edge, whole
    filled = _fill(step, kinds, float(np.prod(step.box)), state)
    for amount, count in zip(amounts, filled, strict=True):
        if amount.number is None:
            state.note("filled", number=count, name=amount.name)
    return 0.0, np.diag(step.box), filled


def _fill(step: Solvent, kinds: list[Atoms], volume: float, state: State) -> list[int]:
    """Numbers of molecules in a volume: the given numbers, and for other molecules, those that the density requires."""
    amounts = step.molecules
    if all(a.number is not None for a in amounts):
        return [a.number or 0 for a in amounts]
    density = _density(step, state)
    state.check_size(volume * density / AMU / max(k.get_masses().sum() for k in kinds))
    given = sum((a.number or 0) * k.get_masses().sum() for a, k in zip(amounts, kinds, strict=True))
    open_ones = sum(a.number is None for a in amounts)
    rest = max(0.0, density * volume / AMU - given) / open_ones
    numbers = [a.number or round(rest / k.get_masses().sum()) for a, k in zip(amounts, kinds, strict=True)]
    if min(numbers) < 1:
        raise state.error("box_small")
    return [int(n) for n in numbers]


def _layer(step: Solvent, kinds: list[Atoms], state: State) -> tuple[float, np.ndarray, list[int]]:
    """(lowest height, cell, numbers of molecules) of a layer on the slab."""
    atoms = state.atoms
    area = float(np.linalg.norm(np.cross(atoms.cell[0], atoms.cell[1])))
    thickness = step.thickness
    if thickness is None and step.molecules[0].number is not None:
        mass = sum((a.number or 0) * k.get_masses().sum() for a, k in zip(step.molecules, kinds, strict=True))
        thickness = mass * AMU / _density(step, state) / area
    if thickness is None:
        thickness = 10.0
        state.note("layer_thickness", thickness="10")
    numbers = _fill(step, kinds, area * thickness, state)
    top = float(atoms.positions[:, 2].max())
    cell = atoms.cell[:].copy()
    cell[2] = [0, 0, thickness]
    return top + ABOVE_SURFACE - 0.8, cell, numbers


def _packed(
    kinds: list[Atoms],
    numbers: list[int],
    low: float,
    cell: np.ndarray,
    obstacle: Atoms | None,
    seed: int,
    state: State,
) -> Atoms:
    """The molecules, packed without overlaps; an error if they do not fit."""
    rng = np.random.default_rng(seed)
    bodies = [kinds[i] for i in rng.permutation(np.repeat(np.arange(len(kinds)), numbers))]
    open_top = obstacle is not None
    centres = _lattice(len(bodies), cell, rng)
    centres[:, 2] += low
    packing = _Packing(bodies, centres, cell, obstacle, low, rng)
    if not packing.relax(1500):
        raise state.error("no_room", number=len(bodies), open=open_top)
    state.note("seed", seed=seed)
    order = np.argsort([len(np.unique(b.numbers)) * 1000 + b.numbers.sum() for b in bodies], kind="stable")
    positions = packing.positions()
    starts = np.cumsum([0, *(len(b) for b in bodies)])
    rows = np.concatenate([np.arange(starts[i], starts[i + 1]) for i in order])
    return Atoms(packing.numbers[rows], positions=positions[rows])


def _lattice(number: int, cell: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """`number` points that are spread evenly over a cell."""
    lengths = np.linalg.norm(cell, axis=1)
    edge = (np.prod(lengths) / number) ** (1 / 3)
    counts = np.maximum(1, np.round(lengths / edge)).astype(int)
    while np.prod(counts) < number:
        counts[int(np.argmax(lengths / counts))] += 1
    grid = np.stack(np.meshgrid(*(np.arange(n) for n in counts), indexing="ij"), axis=-1).reshape(-1, 3)
    chosen = grid[np.sort(rng.choice(len(grid), number, replace=False))]
    return ((chosen + 0.5) / counts) @ cell


class _Packing:
    """Rigid molecules that repel each other."""

    def __init__(
        self,
        bodies: list[Atoms],
        centres: np.ndarray,
        cell: np.ndarray,
        obstacle: Atoms | None,
        low: float,
        rng: np.random.Generator,
    ) -> None:
        self.bodies = bodies
        self.centres = centres
        self.turns = Rotation.random(len(bodies), random_state=rng)
        self.body = np.repeat(np.arange(len(bodies)), [len(b) for b in bodies])
        self.numbers = np.concatenate([b.numbers for b in bodies])
        self.rest = np.concatenate([b.positions - b.positions.mean(axis=0) for b in bodies])
        self.obstacle = np.zeros((0, 3)) if obstacle is None else obstacle.positions
        obstacle_numbers = np.zeros(0, int) if obstacle is None else obstacle.numbers
        self.cell = cell.copy()
        self.low, self.high = low, low + cell[2, 2]
        self.pbc = (True, True, obstacle is None)
        if obstacle is not None:
            self.cell[2] = [0, 0, obstacle.cell[2, 2] + cell[2, 2] + 20.0]
        everything = np.concatenate([self.numbers, obstacle_numbers])
        radii = np.nan_to_num(vdw_radii[everything], nan=1.8)
        self.limits = CONTACT * radii
        self.limits[everything == 1] = CONTACT_H * radii[everything == 1]
        self.sizes = np.bincount(self.body)

    def positions(self) -> np.ndarray:
        """Return the positions of the atoms of all molecules."""
        return self.turns[self.body].apply(self.rest) + self.centres[self.body]

    def relax(self, steps: int) -> bool:
        """Move the molecules in at most `steps` steps until nothing overlaps; return whether this was reached."""
        for step in range(steps):
            positions = self.positions()
            push = self._push(positions)
            if np.abs(push).max(initial=0.0) < 0.06:
                return True
            force = np.zeros_like(self.centres)
            np.add.at(force, self.body, push)
            arm = positions - self.centres[self.body]
            torque = np.zeros_like(self.centres)
            np.add.at(torque, self.body, np.cross(arm, push))
            inertia = np.bincount(self.body, (arm**2).sum(axis=1), minlength=len(self.bodies)) + 0.5
            shake = 0.02 if step < steps // 2 else 0.0
            noise = np.random.default_rng(step).normal(scale=shake, size=force.shape) if step % 10 == 0 else 0.0
            self.centres = self.centres + np.clip(0.35 * force, -0.4, 0.4) + noise
            self.turns = Rotation.from_rotvec(np.clip(0.5 * torque / inertia[:, None], -0.4, 0.4)) * self.turns
        return False

    def _push(self, positions: np.ndarray) -> np.ndarray:
        """Displacement of each atom that removes its overlaps with other molecules and with the walls of a layer."""
        everything = np.concatenate([positions, self.obstacle])
        first, second, vectors = primitive_neighbor_list(
            "ijD", self.pbc, self.cell, everything, float(2 * self.limits.max()), self_interaction=False
        )
        number = len(positions)
        body = np.concatenate([self.body, np.full(len(self.obstacle), -1)])
        keep = (first < number) & (body[first] != body[second])
        first, second, vectors = first[keep], second[keep], vectors[keep]
        lengths = np.maximum(np.linalg.norm(vectors, axis=1), 1e-3)
        overlap = np.maximum(0.0, self.limits[first] + self.limits[second] - lengths)
        push = np.zeros_like(positions)
        np.add.at(push, first, -(overlap / lengths)[:, None] * vectors)
        if not self.pbc[2]:
            push[:, 2] -= np.maximum(0.0, positions[:, 2] - self.high)
            push[:, 2] += np.maximum(0.0, self.low - positions[:, 2])
        return push
