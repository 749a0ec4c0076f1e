"""Reader of ASE trajectories (`.traj`), which are written by GPAW, the optimisers of ASE and `gnnpot md`.

Units and signs are those of ASE: eV, Å, stress in eV/Å³, positive under tension, xx yy zz yz xz xy. Labels are the
stored results; the free energy takes precedence over the energy. Forces do not include constraints. The code is the
name of the calculator.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from ase import Atoms

from gnnpot.data.frame import FrameError
from gnnpot.data.readers.base import DAMAGE, Reader
from gnnpot.data.readers.records import Record, fixed_atoms
from gnnpot.data.stress import PRESETS, StressConvention
from gnnpot.errors import DataError


@dataclass(frozen=True)
class AseTrajectoryReader(Reader):
    """`format="ase-traj"`."""

    format: ClassVar[str] = "ase-traj"
    stress_convention: ClassVar[StressConvention | None] = PRESETS["ase"]

    @classmethod
    def matches(cls, name: str) -> bool:
        return name.endswith(".traj")

    @classmethod
    def recognises(cls, head: bytes) -> bool:
        return head.startswith(b"- of UlmASE-Trajectory")

    def records(self) -> Iterator[Record | FrameError]:
        from ase.io.trajectory import Trajectory
        from ase.io.ulm import InvalidULMFileError

        try:
            with Trajectory(str(self.path)) as frames:
                for k in range(len(frames)):
                    yield _record(frames[k])
        except (InvalidULMFileError, OSError, *DAMAGE) as error:
            problem = " ".join(str(error).split()) or type(error).__name__
            raise DataError(
                f"{self.path}: can't be read as an ASE trajectory ({problem}); check that it is one and is complete"
            ) from None


def _record(atoms: Atoms) -> Record:
    results = dict(atoms.calc.results) if atoms.calc is not None else {}
    info = {**atoms.info, **results}
    if atoms.calc is not None:
        xc = (getattr(atoms.calc, "parameters", None) or {}).get("xc", "")
        info.setdefault("code", atoms.calc.name)
        info.setdefault("functional", xc.get("name", "") if isinstance(xc, dict) else str(xc))
    return Record(atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc, info, results, fixed_atoms(atoms))
