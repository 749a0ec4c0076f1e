"""Tables of trajectories with the Materials Project's schema, made of the bundled frames."""

from itertools import groupby
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from deltalake import WriterProperties, write_deltalake
from emmet.core.arrow import arrowize
from emmet.core.mpid import AlphaID
from emmet.core.trajectory import RelaxTrajectory

from gnnpot.data import Frame, bundled_path, read_frames
from gnnpot.units import KBAR, stress_from_voigt

SCHEMA = pa.schema(arrowize(RelaxTrajectory))
SMEARING = 0.003  # eV, between the free energy and that for sigma -> 0


def identifier(number: int) -> str:
    return str(AlphaID(number, padlen=8))


def row(frames: list[Frame], number: int, run_type="GGA", task_type="Structure Optimization", **changes) -> dict:
    """A trajectory as the table has it: kbar, positive under compression."""
    energies = [f.energy for f in frames]
    columns = {
        "elements": frames[0].numbers.tolist(),
        "cart_coords": [f.positions.tolist() for f in frames],
        "num_ionic_steps": len(frames),
        "lattice": [f.cell.tolist() for f in frames],
        "energy": [e + SMEARING for e in energies],
        "e_fr_energy": energies,
        "e_wo_entrp": [e + 2 * SMEARING for e in energies],
        "forces": [f.forces.tolist() for f in frames],
        "stress": [(-stress_from_voigt(f.stress) / KBAR).tolist() for f in frames],
        "electronic_steps": [[{"e_fr_energy": e + change} for change in (0.1, 1e-5, 0.0)] for e in energies],
        "num_electronic_steps": [3] * len(frames),
        "identifier": identifier(number),
        "task_type": task_type,
        "run_type": run_type,
    }
    return columns | changes


def write_table(path: Path, rows: list[dict], group: int = 8, **options) -> str:
    """A Delta table at `path`, with `group` rows to a row group; its URI."""
    table = pa.Table.from_pylist(rows, schema=SCHEMA)
    properties = WriterProperties(max_row_group_size=group)
    write_deltalake(str(path), table, writer_properties=properties, **options)
    return str(path)


@pytest.fixture(scope="session")
def trajectories() -> list[list[Frame]]:
    """The bundled frames, neighbours of one crystal with the same atoms together."""
    frames = read_frames(bundled_path())
    return [list(group) for _, group in groupby(frames, key=lambda f: (f.provenance.material_id, f.numbers.tobytes()))]


@pytest.fixture
def rows(trajectories) -> list[dict]:
    """A row for each of them, alternately GGA, GGA+U and r2SCAN."""
    kinds = ["GGA", "GGA+U", "r2SCAN"]
    return [row(frames, 100 + k, kinds[k % 3]) for k, frames in enumerate(trajectories)]


@pytest.fixture
def table(rows, tmp_path) -> str:
    return write_table(tmp_path / "table", rows)


def same_files(a: Path, b: Path) -> bool:
    """Whether two folders hold the same files, byte by byte."""
    names = [sorted(p.name for p in folder.iterdir()) for folder in (a, b)]
    return names[0] == names[1] and all((a / n).read_bytes() == (b / n).read_bytes() for n in names[0])


def random_cell(rng: np.random.Generator, skew: float = 0.5) -> np.ndarray:
    """A cell of 3 to 12 Å, skewed."""
    return np.diag(rng.uniform(3, 12, 3)) + skew * rng.normal(size=(3, 3))
