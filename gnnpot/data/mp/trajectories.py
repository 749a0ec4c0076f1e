"""Conversion of rows of the Materials Project's table of trajectories to a `FrameBatch`.

| column of the table (emmet's `RelaxTrajectory`) | meaning                                                        |
|-------------------------------------------------|----------------------------------------------------------------|
| identifier                                      | task, eight letters                                            |
| run_type, task_type                             | GGA, GGA+U, r2SCAN …; Structure Optimization, Static …         |
| elements                                        | atomic numbers of N atoms, the same in all S ionic steps       |
| cart_coords                                     | [S][N][3] Å; may be missing for some steps                     |
| lattice                                         | [S][3][3] Å, or [1][3][3] if it was constant                   |
| energy, e_fr_energy                             | [S] eV: VASP's energy for sigma -> 0, and the free energy      |
| forces                                          | [S][N][3] eV/Å                                                 |
| stress                                          | [S][3][3] kbar, positive under compression, as in VASP         |
| num_electronic_steps, electronic_steps          | [S], and [S][n] with e_fr_energy of each electronic step       |

The forces are minus the derivative of the free energy `e_fr_energy`; `energy` differs from it by half the entropy
term of the smearing. If the labels and the coordinates of a trajectory differ in the number of steps, labels can't be
assigned to steps; its frames are removed and counted.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gnnpot.data.mp.batch import FrameBatch, spread
from gnnpot.data.mp.filters import functional
from gnnpot.data.readers import reduced_formula
from gnnpot.data.stress import PRESETS
from gnnpot.errors import DataError
from gnnpot.units import KBAR, stress_to_voigt

#: stress convention of the table
STRESS = PRESETS["vasp-kbar"]
ENERGY_COLUMN = {"free": "e_fr_energy", "zero": "energy"}
SOURCE, CODE = "Materials Project", "VASP"
_VECTORS = pa.list_(pa.list_(pa.list_(pa.float64())))
_NUMBERS = pa.list_(pa.float64())
#: types to which the columns are converted, for any type of lists in the files
TYPES: dict[str, pa.DataType] = {
    "identifier": pa.string(),
    "run_type": pa.string(),
    "task_type": pa.string(),
    "elements": pa.list_(pa.int64()),
    "cart_coords": _VECTORS,
    "lattice": _VECTORS,
    "energy": _NUMBERS,
    "e_fr_energy": _NUMBERS,
    "forces": _VECTORS,
    "stress": _VECTORS,
    "num_electronic_steps": pa.list_(pa.int64()),
    "electronic_steps": pa.list_(pa.list_(pa.struct([("e_fr_energy", pa.float64())]))),
}


@dataclass(frozen=True, slots=True)
class MPTask:
    """Properties of a task from the API of the Materials Project."""

    material_id: str = ""
    deprecated: bool = False
    final_energy: float = float("nan")  #: lowest last energy of the material's tasks of the run type, eV per atom
    magmoms: tuple[float, ...] = ()  #: magnetic moments of the last ionic step, µB


def to_batch(
    rows: Mapping[str, pa.Array], energy: str, tasks: Mapping[tuple[str, str], MPTask]
) -> tuple[FrameBatch, dict[str, int]]:
    """Convert trajectories to frames; return them and the number of rejected frames by reason.

    Args:
        rows: Columns of the types `TYPES`.
        energy: "free" or "zero".
        tasks: Tasks by (identifier, run type); empty without material ids.
    """
    shape = _Shape(_lengths(rows["elements"]), _lengths(rows["cart_coords"]))
    energies = shape.per_step(rows[ENERGY_COLUMN[energy]])
    stress = shape.tensors(rows["stress"])
    kept, counts = _readable(rows, shape)
    words, looked_up = _words(rows, tasks)
    atoms = np.repeat(shape.sizes, shape.steps)
    last = shape.last_of_run(energies) / np.maximum(shape.sizes, 1)
    final = np.array([t.final_energy for t in looked_up]) if tasks else last
    step = np.arange(len(atoms)) - np.repeat(np.cumsum(shape.steps) - shape.steps, shape.steps)
    batch = FrameBatch(
        sizes=atoms,
        numbers=spread(_flat(rows["elements"]).astype(np.int16), shape.sizes, shape.steps),
        positions=shape.vectors(rows["cart_coords"]),
        cell=shape.cells(rows["lattice"]),
        energy=energies,
        forces=shape.vectors(rows["forces"]),
        stress=stress_to_voigt(-KBAR * stress),
        magmoms=_magmoms(shape, looked_up),
        electronic_steps=_counts(shape.per_step(rows["num_electronic_steps"])),
        electronic_change=_last_change(rows, shape) / atoms,
        final_energy=np.repeat(final, shape.steps),
        task_offset=np.repeat(last - final, shape.steps) if tasks else np.full(len(atoms), np.nan),
        deprecated=np.repeat(np.array([t.deprecated for t in looked_up], dtype=bool), shape.steps),
        step=step,
        run=shape.run,
        words=words,
    )
    return batch.select(kept), counts


@dataclass(frozen=True, eq=False)
class _Shape:
    """Sizes of R trajectories."""

    sizes: np.ndarray  #: [R] int64, number of atoms
    steps: np.ndarray  #: [R] int64, number of ionic steps

    @property
    def run(self) -> np.ndarray:
        """[F] index of the trajectory of each frame."""
        return np.repeat(np.arange(len(self.steps)), self.steps)

    def fits(self, column: pa.Array) -> np.ndarray:
        """Return [R] bool: whether a column has one entry per step."""
        return _lengths(column) == self.steps

    def per_step(self, column: pa.Array) -> np.ndarray:
        """Return [F], the numbers of a column; NaN if missing."""
        fits, out = self.fits(column), np.full(int(self.steps.sum()), np.nan)
        values = pc.fill_null(column.flatten().cast(pa.float64()), np.nan).to_numpy(zero_copy_only=False)
        out[np.repeat(fits, self.steps)] = values[np.repeat(fits, _lengths(column))]
        return out

    def tensors(self, column: pa.Array) -> np.ndarray:
        """Return [F, 3, 3], the tensors of a column; NaN if missing."""
        out = np.full((int(self.steps.sum()), 9), np.nan)
        steps = column.flatten()
        numbers = steps.flatten().flatten()
        complete = (_lengths(steps) == 3) & (_numbers_of(steps) == 9)
        there = np.repeat(self.fits(column), _lengths(column))
        values = numbers.to_numpy(zero_copy_only=False)[np.repeat(complete & there, _numbers_of(steps))]
        rows = np.flatnonzero(np.repeat(self.fits(column), self.steps))
        out[rows[complete[there]]] = values.reshape(-1, 9)
        return out.reshape(-1, 3, 3)

    def cells(self, column: pa.Array) -> np.ndarray:
        """Return [F, 3, 3], the lattices of a column with one for each step, or one for all; NaN if missing."""
        out = self.tensors(column)
        constant = (_lengths(column) == 1) & (self.steps != 1)
        if constant.any():
            single = _Shape(self.sizes[constant], np.ones(int(constant.sum()), dtype=np.int64))
            cells = single.tensors(column.filter(pa.array(constant)))
            out[np.repeat(constant, self.steps)] = np.repeat(cells, self.steps[constant], axis=0)
        return out

    def has_vectors(self, column: pa.Array) -> np.ndarray:
        """Return [F] bool: whether a step has a vector for each atom."""
        steps = column.flatten()
        atoms = np.repeat(self.sizes, _lengths(column))
        complete = (_lengths(steps) == atoms) & (_numbers_of(steps) == 3 * atoms)
        fits, out = self.fits(column), np.zeros(int(self.steps.sum()), dtype=bool)
        out[np.repeat(fits, self.steps)] = complete[np.repeat(fits, _lengths(column))]
        return out

    def vectors(self, column: pa.Array) -> np.ndarray:
        """Return [A, 3], the vectors of a column with one for each atom of each step; NaN for steps without them."""
        there = self.has_vectors(column)
        atoms = np.repeat(self.sizes, self.steps)
        steps = column.flatten()
        values = steps.flatten().flatten().to_numpy(zero_copy_only=False)
        if there.all() and len(values) == 3 * atoms.sum():
            return values.reshape(-1, 3)
        out = np.full((int(atoms.sum()), 3), np.nan)
        read = np.zeros(len(steps), dtype=bool)
        fits = self.fits(column)
        read[np.repeat(fits, _lengths(column))] = there[np.repeat(fits, self.steps)]
        out[np.repeat(there, atoms)] = values[np.repeat(read, _numbers_of(steps))].reshape(-1, 3)
        return out

    def last_of_run(self, values: np.ndarray) -> np.ndarray:
        """Return [R], the last of `values` [F] of each trajectory; NaN for trajectories without steps."""
        out = np.full(len(self.steps), np.nan)
        some = self.steps > 0
        out[some] = values[np.cumsum(self.steps)[some] - 1]
        return out


def last_energies(elements: pa.Array, energies: pa.Array) -> np.ndarray:
    """Return [R], the last of the `energies` of each trajectory, eV per atom; NaN if missing."""
    shape = _Shape(_lengths(elements), _lengths(energies))
    return shape.last_of_run(shape.per_step(energies)) / np.maximum(shape.sizes, 1)


def _readable(rows: Mapping[str, pa.Array], shape: _Shape) -> tuple[np.ndarray, dict[str, int]]:
    """Return [F] bool: frames with consistent coordinates, lattice and labels; and the number of others by reason."""
    lattice = _lengths(rows["lattice"])
    checks = {
        "no coordinates of all atoms": ~shape.has_vectors(rows["cart_coords"]),
        "no lattice of its step": np.repeat((lattice != shape.steps) & (lattice != 1), shape.steps),
    }
    unfit = np.zeros(len(shape.steps), dtype=bool)
    for name in ("energy", "e_fr_energy", "forces", "stress"):
        if name in rows:
            unfit |= (_lengths(rows[name]) != shape.steps) & rows[name].is_valid().to_numpy(zero_copy_only=False)
    checks["labels of another number of steps"] = np.repeat(unfit, shape.steps)
    kept, counts = np.ones(int(shape.steps.sum()), dtype=bool), {}
    for reason, out in checks.items():
        counts[reason] = int((kept & out).sum())
        kept &= ~out
    return kept, {reason: n for reason, n in counts.items() if n}


def _words(
    rows: Mapping[str, pa.Array], tasks: Mapping[tuple[str, str], MPTask]
) -> tuple[dict[str, np.ndarray], list[MPTask]]:
    """Return the provenance and the task of each trajectory."""
    names = rows["identifier"].to_pylist()
    runs = rows["run_type"].to_pylist()
    offsets = np.concatenate([[0], np.cumsum(_lengths(rows["elements"]))])
    elements = _flat(rows["elements"])
    looked_up = [tasks.get(key, MPTask()) for key in zip(names, runs, strict=True)]
    material = [
        task.material_id or reduced_formula(elements[a:b])
        for task, a, b in zip(looked_up, offsets[:-1], offsets[1:], strict=True)
    ]
    words = {
        "source": [SOURCE] * len(names),
        "task": [f"{name}-{run}" for name, run in zip(names, runs, strict=True)],
        "material_id": material,
        "code": [CODE] * len(names),
        "functional": [functional(run) for run in runs],
        "pseudopotentials": [""] * len(names),
        "config_type": rows["task_type"].to_pylist(),
        "hubbard_u": [None if run.endswith("+U") else "{}" for run in runs],
    }
    return {name: np.array(values, dtype=object) for name, values in words.items()}, looked_up


def _magmoms(shape: _Shape, tasks: list[MPTask]) -> np.ndarray:
    """Return [A], magnetic moments of the last step of each trajectory whose task has them; NaN for other frames."""
    out = np.full(int((shape.sizes * shape.steps).sum()), np.nan)
    ends = np.cumsum(shape.sizes * shape.steps)
    for end, size, task in zip(ends, shape.sizes, tasks, strict=True):
        if len(task.magmoms) == size:
            out[end - size : end] = task.magmoms
    return out


def _last_change(rows: Mapping[str, pa.Array], shape: _Shape) -> np.ndarray:
    """Return [F], the absolute energy change in the last electronic step, eV; NaN if not read or unknown."""
    out = np.full(int(shape.steps.sum()), np.nan)
    column = rows.get("electronic_steps")
    if column is None:
        return out
    fits = shape.fits(column)
    steps = column.flatten()
    ends = np.cumsum(_lengths(steps))
    energies = pc.struct_field(steps.flatten(), "e_fr_energy").cast(pa.float64())
    energies = pc.fill_null(energies, np.nan).to_numpy(zero_copy_only=False)
    change = np.full(len(steps), np.nan)
    two = _lengths(steps) >= 2
    change[two] = np.abs(energies[ends[two] - 1] - energies[ends[two] - 2])
    out[np.repeat(fits, shape.steps)] = change[np.repeat(fits, _lengths(column))]
    return out


def _counts(values: np.ndarray) -> np.ndarray:
    return np.where(np.isnan(values), -1, values).astype(np.int64)


def _lengths(column: pa.Array) -> np.ndarray:
    """Return the number of entries of each row of a list column; 0 for null."""
    return pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False).astype(np.int64)


def _numbers_of(steps: pa.Array) -> np.ndarray:
    """Return the total number of values in each row of a column of lists of vectors."""
    ends = np.concatenate([[0], np.cumsum(_lengths(steps.flatten()))])
    lengths = _lengths(steps)
    after = np.cumsum(lengths)
    return ends[after] - ends[after - lengths]


def _flat(column: pa.Array) -> np.ndarray:
    return column.flatten().to_numpy(zero_copy_only=False)


def as_columns(batch: pa.RecordBatch, names: Sequence[str], constant: Mapping[str, object]) -> dict[str, pa.Array]:
    """Return columns of a batch, converted to `TYPES`; columns that the table does not have are null.

    `constant` are the values of partition columns, which are in the names of folders, not in the files.

    Raises `DataError` if a column can't be converted.
    """
    columns = {}
    for name in names:
        wanted = TYPES[name]
        if name in constant:
            columns[name] = pa.array([constant[name]] * batch.num_rows, type=wanted)
            continue
        if name not in batch.schema.names:
            columns[name] = pa.nulls(batch.num_rows, type=wanted)
            continue
        array = batch.column(name)
        if array.type != wanted:
            try:
                array = array.cast(wanted)
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
                problem = " ".join(str(error).split())[:120]
                raise DataError(f"the table's column '{name}' is {batch.schema.field(name).type}: {problem}") from None
        columns[name] = array
    return columns
