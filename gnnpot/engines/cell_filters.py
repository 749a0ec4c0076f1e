"""ASE filters that relax all or selected strain components of a cell.

    choice = choose_cell(atoms, "auto")
    target = StrainFilter(atoms, choice, pressure=0.0)          # for an ASE optimiser

| freedom  | what may change                                                            |
|----------|----------------------------------------------------------------------------|
| `full`   | all six components of the strain                                           |
| `none`   | nothing                                                                    |
| `ab`     | strains within the plane of the first two cell vectors                     |
| `shape`  | the shape, at constant volume                                              |
| `volume` | the volume, at constant shape                                              |
| `auto`   | strains along the directions that are periodic and have no vacuum          |
"""

import warnings
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from ase import Atoms
from ase.constraints import FixSymmetry
from ase.filters import FrechetCellFilter
from ase.stress import full_3x3_to_voigt_6_stress, voigt_6_to_full_3x3_stress

from gnnpot.errors import DataError

CellFreedom = Literal["auto", "full", "none", "ab", "shape", "volume"]
CELL_FREEDOMS: tuple[str, ...] = get_args(CellFreedom)

#: Å, gap between atomic centres along a cell vector above which there is a vacuum: longer than bonds and contacts
VACUUM = 6.0


@dataclass(frozen=True, slots=True)
class CellChoice:
    """Strains of a cell that are free to relax."""

    kind: Literal["full", "none", "plane", "line", "shape", "volume"]
    axes: tuple[int, ...] = ()  #: for `plane` and `line`: indices of the cell vectors that may change
    vacuum: tuple[int, ...] = ()  #: indices of the cell vectors along which there is a vacuum, or no periodicity

    @property
    def described(self) -> str:
        """Description for messages and reports."""
        names = {"full": "all of the cell", "none": "nothing", "shape": "its shape, at constant volume"}
        if self.kind in ("plane", "line"):
            moved = "vectors " + " and ".join("abc"[k] for k in self.axes)
        else:
            moved = names.get(self.kind, "its volume, at constant shape")
        if not self.vacuum:
            return moved
        return f"{moved}; vacuum along {' and '.join('abc'[k] for k in self.vacuum)}"


def vacuum_directions(atoms: Atoms) -> tuple[int, ...]:
    """Indices of the cell vectors along which the structure is not periodic, or has a gap larger than `VACUUM`."""
    found = []
    scaled = atoms.get_scaled_positions(wrap=True)
    for k in range(3):
        if atoms.pbc[k]:
            height = 1 / np.linalg.norm(atoms.cell.reciprocal()[k])
            places = np.sort(scaled[:, k] % 1.0)
            gap = height * float(np.diff(np.append(places, places[0] + 1.0)).max())
        if not atoms.pbc[k] or gap > VACUUM:
            found.append(k)
    return tuple(found)


def choose_cell(atoms: Atoms, freedom: CellFreedom) -> CellChoice:
    """Return the free strains that `freedom` means for a structure. Raises `DataError` if it is not applicable."""
    if freedom not in CELL_FREEDOMS:
        raise DataError(f"cell: '{freedom}' is not known; give one of {', '.join(CELL_FREEDOMS)}")
    what = atoms.get_chemical_formula()
    if freedom == "none":
        return CellChoice("none")
    if atoms.cell.rank < 3 or not atoms.pbc.any():
        if freedom == "auto":
            return CellChoice("none", vacuum=tuple(int(k) for k in np.flatnonzero(~atoms.pbc)))
        raise DataError(f"{what}: is not periodic in three directions, so its cell can't be relaxed; give cell='none'")
    if freedom == "auto":
        return _without_vacuum(vacuum_directions(atoms))
    if freedom == "ab":
        if not atoms.pbc[:2].all():
            raise DataError(f"{what}: is not periodic along a and b, so these can't be relaxed; give cell='none'")
        return CellChoice("plane", (0, 1))
    if not atoms.pbc.all():
        raise DataError(f"{what}: is not periodic in three directions, so its cell can't be relaxed; give cell='auto'")
    return CellChoice(freedom)


def _without_vacuum(vacuum: tuple[int, ...]) -> CellChoice:
    free = tuple(k for k in range(3) if k not in vacuum)
    kinds: dict[int, Literal["none", "line", "plane", "full"]] = {0: "none", 1: "line", 2: "plane", 3: "full"}
    return CellChoice(kinds[len(free)], free if len(free) in (1, 2) else (), vacuum)


class StrainFilter(FrechetCellFilter):
    """`FrechetCellFilter` of ASE with the forces on the cell projected onto the free strains."""

    def __init__(self, atoms: Atoms, choice: CellChoice, pressure: float) -> None:
        self.choice = choice
        isotropic = choice.kind == "volume"
        super().__init__(
            atoms, scalar_pressure=pressure, hydrostatic_strain=isotropic, constant_volume=choice.kind == "shape"
        )

    def get_positions(self) -> np.ndarray:
        # SciPy warns of errors of 5e-13 in the logarithm of the strain, which do not matter for a relaxation
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="logm result may be inaccurate")
            return super().get_positions()

    def get_forces(self, **kwargs: Any) -> np.ndarray:
        forces = super().get_forces(**kwargs)
        if self.choice.axes:
            forces[-3:] = projected(forces[-3:], self.atoms, self.choice)
        return forces


def projected(tensor: np.ndarray, atoms: Atoms, choice: CellChoice) -> np.ndarray:
    """Project a symmetric tensor [3, 3] onto the free strains."""
    if choice.kind == "none":
        return np.zeros((3, 3))
    if choice.kind == "volume":
        return np.trace(tensor) / 3 * np.eye(3)
    if choice.kind == "shape":
        return tensor - np.trace(tensor) / 3 * np.eye(3)
    if not choice.axes:
        return tensor
    # an orthonormal basis of the plane or line of the vectors that may change
    basis, _ = np.linalg.qr(atoms.cell.array[list(choice.axes)].T)
    onto = basis @ basis.T
    return onto @ tensor @ onto


def stress_left(atoms: Atoms, choice: CellChoice, pressure: float) -> float:
    """max |σ + p| (eV/Å³) over the free components; symmetry is enforced by the constraints of the atoms."""
    tensor = voigt_6_to_full_3x3_stress(atoms.get_stress()) + pressure * np.eye(3)
    return float(np.abs(full_3x3_to_voigt_6_stress(projected(tensor, atoms, choice))).max())


def keep_symmetry(atoms: Atoms, tolerance: float) -> str:
    """Add a constraint that keeps the symmetry of `atoms` within `tolerance` (Å), and return the space group.

    The space group is found for the cell repeated along all three vectors, for any `pbc`. Raises `DataError` if no
    symmetry is found.
    """
    what = atoms.get_chemical_formula()
    if atoms.cell.rank < 3:
        raise DataError(f"{what}: has no cell of three vectors, whose symmetry could be kept; leave out symmetry")
    try:
        constraint = FixSymmetry(atoms, symprec=tolerance)
    except Exception as error:  # noqa: BLE001 - what spglib raises depends on its version
        raise DataError(
            f"{what}: no symmetry is found within {tolerance} Å ({error}); give another tolerance"
        ) from None
    atoms.set_constraint([*atoms.constraints, constraint])
    return _space_group(atoms, tolerance)


def space_group(atoms: Atoms, tolerance: float = 0.01) -> str:
    """Name and number of the space group of a crystal within `tolerance` (Å); empty if there is none."""
    return _space_group(atoms, tolerance) if atoms.pbc.all() else ""


def _space_group(atoms: Atoms, tolerance: float) -> str:
    import spglib

    cell = (atoms.cell.array, atoms.get_scaled_positions(), atoms.numbers)
    found = spglib.get_spacegroup(cell, symprec=tolerance)
    return found or ""
