"""Labelling tasks: distort a structure, calculate labels, check the limits."""

import json
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from ase import Atoms
from ase.calculators.calculator import BaseCalculator, CalculatorError, PropertyNotImplementedError
from ase.data import covalent_radii

from gnnpot.config import to_mapping
from gnnpot.data.frame import Frame, FrameError, Provenance
from gnnpot.data.readers import reduced_formula
from gnnpot.data.schema import fingerprint, schema, to_frames, to_table
from gnnpot.engines.fresh import fresh
from gnnpot.errors import GnnpotError, SimulationError, UnknownElementError
from gnnpot.sampling.config import LabelConfig, Limits
from gnnpot.sampling.distortions import AnyDistortion, DistortionError

#: exceptions of calculators for structures that they can't compute; torch also raises RuntimeError for unknown elements
_CALCULATOR_ERRORS = (GnnpotError, CalculatorError, RuntimeError, ArithmeticError, np.linalg.LinAlgError)


@dataclass(frozen=True)
class Labeller:
    """Calculator that labels, created in each process; `make` and `make_mover` must be importable there."""

    make: Callable[[], BaseCalculator]  #: creates the calculator
    name: str  #: name in `Provenance.code`: name, version, sha256 of the weights
    functional: str = ""  #: exchange-correlation functional of the labels
    make_mover: Callable[[], BaseCalculator] | None = None  #: creates that for `Melted` dynamics; default: the labeller
    mover: str = ""  #: name of the calculator of `make_mover`


@dataclass(frozen=True)
class LabelTask:
    """A call of a distortion for a structure."""

    number: int  #: number of the task
    structure: Frame
    distortion: AnyDistortion
    run: int  #: number of the call, below `distortion.runs`


class LabelWorker:
    """Worker that runs tasks sequentially; the result of a task does not depend on previous tasks."""

    def __init__(self, labeller: Labeller, config: LabelConfig) -> None:
        self.labeller, self.config = labeller, config
        self._calculator = labeller.make()
        self._mover = self._calculator if labeller.make_mover is None else labeller.make_mover()

    def __call__(self, tasks: Sequence[LabelTask]) -> list[bytes]:
        """Return the result of `do` for each task."""
        return [self.do(task) for task in tasks]

    def do(self, task: LabelTask) -> bytes:
        """Run a task; return the packed frames and the reasons for excluded frames."""
        frames: list[Frame] = []
        reasons: list[str] = []
        for outcome in self.outcomes(task):
            if isinstance(outcome, Frame):
                frames.append(outcome)
            else:
                reasons.append(outcome)
        return pack(frames, reasons)

    def outcomes(self, task: LabelTask) -> Iterator[Frame | str]:
        """Yield labelled frames, and a reason in place of each excluded frame."""
        distortion = task.distortion
        rng = task_rng(self.config.seed, task)
        mover = fresh(self._mover) if distortion.needs_calculator else None
        made = 0
        try:
            for k, atoms in enumerate(distortion.make(task.structure.to_atoms(), rng, mover)):
                made += 1
                yield self._labelled(atoms, self._provenance(task, task.run + k, atoms))
        except DistortionError as error:
            yield error.reason
        except _CALCULATOR_ERRORS as error:
            # if a dynamics run ends early, its remaining states are lost, too
            lost = (distortion.count if distortion.runs == 1 else 1) - made
            yield from [f"{distortion.kind}: {_reason(error)}"] * lost

    def _labelled(self, atoms: Atoms, provenance: Provenance) -> Frame | str:
        try:
            frame = Frame.from_atoms(atoms, provenance, labels=False)
            if (reason := _too_close_or_large(frame, self.config.limits)) is not None:
                return reason
            atoms.calc = fresh(self._calculator)
            atoms.get_forces()
            # some calculators only store the requested property
            atoms.get_potential_energy()
            _try_stress(atoms)
            labelled = Frame.from_atoms(atoms, provenance)
        except _CALCULATOR_ERRORS as error:
            return _reason(error)
        if not labelled.pbc.all():
            labelled = labelled.replace(stress=None)
        return _beyond(labelled, self.config.limits) or labelled

    def _provenance(self, task: LabelTask, k: int, atoms: Atoms) -> Provenance:
        p = task.structure.provenance
        material = reduced_formula(atoms.numbers) if task.distortion.other_material else p.material_id
        return Provenance(
            source=p.source,
            source_id=f"{p.source_id}; {task.distortion.words}; {k}; seed {self.config.seed}",
            material_id=material,
            code=self.labeller.name,
            functional=self.labeller.functional,
            config_type=task.distortion.words,
        )


def task_rng(seed: int, task: LabelTask) -> np.random.Generator:
    """Return the generator of a task, which depends only on seed, structure, distortion and number of the call."""
    words = json.dumps(to_mapping(task.distortion), sort_keys=True)
    structure = fingerprint(task.structure) & (2**64 - 1)
    return np.random.default_rng([seed, structure, zlib.crc32(words.encode()), task.run])


def pack(frames: list[Frame], reasons: list[str]) -> bytes:
    """Pack frames and reasons to bytes; the inverse is `unpack`."""
    words = json.dumps(reasons).encode()
    batches = to_table(frames).combine_chunks().to_batches() if frames else []
    return struct.pack("<I", len(words)) + words + b"".join(bytes(batch.serialize()) for batch in batches)


def unpack(content: bytes) -> tuple[list[Frame], list[str]]:
    """Unpack frames and reasons from the bytes of `pack`."""
    (length,) = struct.unpack_from("<I", content)
    reasons = json.loads(content[4 : 4 + length])
    rest = content[4 + length :]
    if not rest:
        return [], reasons
    return to_frames(pa.Table.from_batches([pa.ipc.read_record_batch(pa.py_buffer(rest), schema())])), reasons


def _try_stress(atoms: Atoms) -> None:
    if atoms.cell.rank == 3 and "stress" in getattr(atoms.calc, "implemented_properties", ()):
        try:
            atoms.get_stress()
        except (PropertyNotImplementedError, NotImplementedError):
            return


def _too_close_or_large(frame: Frame, limits: Limits) -> str | None:
    from vesin import NeighborList

    if len(frame) > limits.max_atoms:
        return f"more than {limits.max_atoms} atoms"
    if unwanted := sorted(set(frame.symbols) & set(limits.without)):
        return f"with {' and '.join(unwanted)}"
    (distances,) = NeighborList(cutoff=limits.min_distance, full_list=False).compute(
        points=frame.positions, box=frame.cell, periodic=[bool(p) for p in frame.pbc], quantities="d"
    )
    return f"atoms closer than {limits.min_distance:g} Å" if len(distances) else None


def _beyond(frame: Frame, limits: Limits) -> str | None:
    if frame.energy is None or frame.forces is None:
        return "labeller gives no energy or no forces"
    if np.linalg.norm(frame.forces, axis=1).max() > limits.max_force:
        return f"force above {limits.max_force:g} eV/Å"
    if frame.stress is not None and np.abs(frame.stress).max() > limits.max_stress:
        return f"stress above {limits.max_stress:g} eV/Å³"
    return "pair that attracts within its wall" if _is_attractive_pair(frame, limits.wall) else None


def _is_attractive_pair(frame: Frame, wall: float) -> bool:
    """Return whether a frame is an isolated pair, closer than `wall` sums of covalent radii, with attractive forces."""
    if len(frame) != 2 or frame.pbc.any() or frame.forces is None:
        return False
    apart = frame.positions[1] - frame.positions[0]
    close = np.linalg.norm(apart) < wall * covalent_radii[frame.numbers].sum()
    return bool(close and apart @ (frame.forces[1] - frame.forces[0]) < 0)


def _reason(error: BaseException) -> str:
    if isinstance(error, FrameError):
        return error.reason
    if isinstance(error, UnknownElementError):
        return "element that the labeller does not know"
    if isinstance(error, SimulationError):
        return "exploded, or not finite"
    # the context is the original exception of a calculator of another package
    return f"labeller failed: {type(error.__context__ or error).__name__}"
