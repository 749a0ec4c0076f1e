"""A labelled frame: one crystal or molecule, what a calculation says of it, and where that comes from.

    frame = Frame.from_atoms(atoms, provenance=Provenance(source="my.extxyz", material_id="NaCl"))
    frame.energy, frame.forces, frame.stress      # eV, eV/Å, eV/Å³ (Voigt); None where there is no label

A frame is checked at the door: whoever holds one may rely on shapes, finite numbers, distinct atoms and a cell with
a volume along each periodic direction.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.data import atomic_numbers, chemical_symbols

from gnnpot.errors import DataError
from gnnpot.units import stress_to_voigt

#: Atoms closer than this (Å) stand at one place; no bond comes near it (H-H is 0.74 Å).
MIN_DISTANCE = 0.05
#: The neighbour search looks this far (Å): a finer grid of cells than this costs more than the pairs that it saves.
SEARCH_RADIUS = 2.0
#: Cells with a smaller volume per periodic length³ than this are flat.
MIN_CELL_DETERMINANT = 1e-6


class FrameError(DataError):
    """One frame that can't be used: `where` it is, the `reason` in a few words to count by, the `problem` in full."""

    def __init__(self, where: str, reason: str, problem: str) -> None:
        super().__init__(f"{where}: {problem}")
        self.where, self.reason, self.problem = where, reason, problem

    def at(self, where: str) -> "FrameError":
        """The same error, told of another place."""
        return FrameError(where, self.reason, self.problem)


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a frame's labels come from. Empty strings and `None` mean: the source does not say."""

    source: str = ""  #: data set or file
    source_id: str = ""  #: the frame's id there
    material_id: str = ""  #: frames of one material share it; splits keep them together
    code: str = ""  #: program and version
    functional: str = ""  #: exchange-correlation functional
    hubbard_u: Mapping[str, float] | None = None  #: U by element, eV; `{}`: calculated without U
    pseudopotentials: str = ""  #: family and version
    config_type: str = ""  #: how the structure was made, in the source's words


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One structure with its labels, in the units of `gnnpot.units`.

    Raises `DataError`, naming `provenance.source` and `source_id`, if anything in it can't be trusted.
    """

    numbers: np.ndarray  #: [N] atomic numbers, 1..118
    positions: np.ndarray  #: [N, 3] Å
    cell: np.ndarray  #: [3, 3] rows are lattice vectors, Å; zeros without periodicity
    pbc: np.ndarray  #: [3] bool
    energy: float | None = None  #: eV, of the whole cell
    forces: np.ndarray | None = None  #: [N, 3] eV/Å
    stress: np.ndarray | None = None  #: [6] eV/Å³, Voigt xx yy zz yz xz xy, positive under tension
    magmoms: np.ndarray | None = None  #: [N] µB
    provenance: Provenance = field(default_factory=Provenance)

    def __post_init__(self) -> None:
        set_ = object.__setattr__
        set_(self, "numbers", np.asarray(self.numbers, dtype=np.int64).reshape(-1))
        set_(self, "pbc", np.broadcast_to(np.asarray(self.pbc, dtype=bool), (3,)).copy())
        if self.energy is not None:
            set_(self, "energy", float(self.energy))
        n = len(self.numbers)
        shapes = {"positions": (n, 3), "cell": (3, 3), "forces": (n, 3), "stress": (6,), "magmoms": (n,)}
        for name, shape in shapes.items():
            value = getattr(self, name)
            if value is None:
                continue
            value = np.asarray(value, dtype=np.float64)
            if value.shape != shape:
                problem = f"{name} has shape {value.shape}, expected {shape}; mend or remove this frame"
                raise FrameError(self.where, f"{name} of a wrong shape", problem)
            set_(self, name, value)
        self._check()

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def where(self) -> str:
        """`source` and `source_id`, for messages."""
        p = self.provenance
        return f"{p.source or 'frame'}{f' [{p.source_id}]' if p.source_id else ''}"

    @property
    def symbols(self) -> list[str]:
        return [chemical_symbols[z] for z in self.numbers]

    @property
    def volume(self) -> float:
        """Å³; 0 for a molecule without a cell."""
        return float(abs(np.linalg.det(self.cell)))

    def _check(self) -> None:
        if len(self.numbers) == 0:
            raise FrameError(self.where, "no atoms", "there are no atoms; remove this frame")
        if self.numbers.min() < 1 or self.numbers.max() > 118:
            bad = [int(z) for z in np.unique(self.numbers) if not 1 <= z <= 118]
            problem = f"atomic numbers {bad} are no elements (1 to 118); mend or remove this frame"
            raise FrameError(self.where, "unknown element", problem)
        for name in ("positions", "cell", "energy", "forces", "stress", "magmoms"):
            value = getattr(self, name)
            if value is not None and not np.all(np.isfinite(value)):
                problem = f"{name} has NaN or infinite values; mend or remove this frame"
                raise FrameError(self.where, f"{name} not finite", problem)
        check_cell(self.cell, self.pbc, self.where)
        check_distances(self.positions, self.cell, self.pbc, self.where)

    @classmethod
    def from_atoms(cls, atoms: Atoms, provenance: Provenance | None = None, labels: bool = True) -> "Frame":
        """A frame of ASE `atoms` with the labels of its calculator's stored results (nothing is calculated).

        The energy is the force-consistent (free) energy where the results have one.
        """
        results = dict(atoms.calc.results) if labels and atoms.calc is not None else {}
        stress = results.get("stress")
        if stress is not None and np.shape(stress) != (6,):
            stress = stress_to_voigt(np.reshape(stress, (3, 3)))
        return cls(
            numbers=atoms.numbers,
            positions=atoms.positions,
            cell=atoms.cell.array,
            pbc=atoms.pbc,
            energy=results.get("free_energy", results.get("energy")),
            forces=results.get("forces"),
            stress=stress,
            magmoms=results.get("magmoms"),
            provenance=provenance or Provenance(),
        )

    @classmethod
    def trusted(cls, **fields: object) -> "Frame":
        """A frame of fields that were checked before, and have the right types; for stores that guard their bytes."""
        frame = object.__new__(cls)
        for name in cls.__slots__:
            object.__setattr__(frame, name, fields.get(name))
        return frame

    def to_atoms(self) -> Atoms:
        """ASE atoms, with the labels in a `SinglePointCalculator`."""
        atoms = Atoms(self.numbers, self.positions, cell=self.cell, pbc=self.pbc)
        names = ("energy", "forces", "stress", "magmoms")
        labels = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        if labels:
            if "energy" in labels:
                labels["free_energy"] = labels["energy"]
            atoms.calc = SinglePointCalculator(atoms, **labels)
        return atoms

    def with_(self, **changes: object) -> "Frame":
        """A copy with some fields replaced, checked again."""
        return replace(self, **changes)


def check_cell(cell: np.ndarray, pbc: np.ndarray, where: str) -> None:
    """Raise `DataError` if the periodic lattice vectors do not span a volume."""
    vectors = cell[pbc]
    if len(vectors) == 0:
        return
    lengths = np.linalg.norm(vectors, axis=1)
    gram = np.linalg.det(vectors @ vectors.T)
    if lengths.min() == 0 or np.sqrt(max(gram, 0.0)) < MIN_CELL_DETERMINANT * np.prod(lengths):
        problem = "the periodic lattice vectors span no volume; give a cell or switch pbc off"
        raise FrameError(where, "cell without volume", problem)


def check_distances(positions: np.ndarray, cell: np.ndarray, pbc: np.ndarray, where: str) -> None:
    """Raise `DataError` if two atoms (or an atom and its image) stand closer than `MIN_DISTANCE`."""
    from vesin import NeighborList

    periodic = [bool(p) for p in pbc]
    i, j, d = NeighborList(cutoff=SEARCH_RADIUS, full_list=False).compute(
        points=positions, box=cell, periodic=periodic, quantities="ijd"
    )
    if len(d) and d.min() < MIN_DISTANCE:
        k = int(d.argmin())
        problem = f"atoms {int(i[k])} and {int(j[k])} stand {float(d[k]):.3f} Å apart, at one place; remove one of them"
        raise FrameError(where, "atoms at one place", problem)


def atomic_number(symbol: str, where: str = "element") -> int:
    """The atomic number of a symbol; raises `DataError` if it names no element."""
    z = atomic_numbers.get(symbol, 0)
    if z == 0:
        raise FrameError(where, "unknown element", f"'{symbol}' is no chemical element; mend or remove it")
    return z
