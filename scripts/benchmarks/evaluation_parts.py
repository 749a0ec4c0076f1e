"""What `evaluate_checkpoint.py` measures of one potential: each part a function from a potential to plain numbers.

    model = open_model("7net-0")
    result = PARTS["dimers"](model, options, tell)         # tell(done, total) is told of progress

A part that takes long keeps what it has done in `options.work`, and goes on with it.
"""

import argparse
import gzip
import hashlib
import io
import json
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols
from ase.io import read, write

from gnnpot.data.frame import Frame
from gnnpot.data.mp.corrections import mp2020
from gnnpot.data.readers import read_frames
from gnnpot.data.splits import part_of_material
from gnnpot.data.store import FrameStore
from gnnpot.engines.calculator import Calculator
from gnnpot.engines.files import write_atomically
from gnnpot.errors import DataError, SimulationError
from gnnpot.hub.checkpoint import read_card
from gnnpot.hub.opening import open_potential
from gnnpot.potential import Potential
from gnnpot.properties.dimers import RATIOS, all_pairs, scan_dimers
from gnnpot.properties.equation_of_state import calc as equation_of_state
from gnnpot.properties.stability import (
    CLOSEST,
    EXPANSION_STEP,
    HOTTEST,
    MOST_EXPANDED,
    VOLUME_RATIOS,
    RelaxationOutcome,
    dynamics_outcome,
    hot_cell,
    relaxation_outcome,
)
from gnnpot.runs.files import write_text
from gnnpot.training.evaluate import Evaluation, evaluate

Tell = Callable[[int, int], None]
#: eV; what a curve of two atoms may fall by and still count as one that rises
HOLE_TOLERANCE = 0.05
#: fs, of molecular dynamics: bonds of hydrogen vibrate in 8 fs or more, all others in 14 or more
SHORT_STEP, LONG_STEP = 1.0, 2.0
#: crystals with more atoms than this are not heated
MOST_ATOMS_HOT = 60
#: what decides whether a crystal has exploded: results by other criteria are made anew
CRITERIA = [CLOSEST, HOTTEST, *VOLUME_RATIOS, MOST_EXPANDED, EXPANSION_STEP]
ACWF_FRAMES = "unaries_vasp_pbe_eos.extxyz.gz"
ACWF_REFERENCE = "results-unaries-verification-PBE-v1-AE-average.json"


@dataclass(frozen=True, eq=False)
class Model:
    """A potential under evaluation."""

    name: str
    potential: Potential
    energy_reference: str  #: what its energies mean, as its card says
    sha256: str  #: of its weights

    def knows(self, numbers: np.ndarray) -> bool:
        """Whether it knows all these atomic numbers."""
        return {chemical_symbols[z] for z in np.unique(numbers)} <= set(self.potential.elements)


def open_model(name_or_folder: str) -> Model:
    """A potential by its name or the folder of its checkpoint; called as its card says, else as its folder."""
    potential, card, folder = open_potential(name_or_folder)
    name = card.name or folder.resolve().name
    return Model(name, potential, card.energy_reference, read_card(folder)["weights_sha256"])


def frames_part(model: Model, path: Path, options: argparse.Namespace, tell: Tell) -> dict[str, Any]:
    """Errors on labelled frames. Energies are compared by what the potential's energies mean: raw totals as they are,
    or with MP2020's correction of each frame added where its card says so (CHGNet's was trained on such). Frames of
    PBE and PBE+U don't say which they are; they are taken to be what the corrections need."""
    frames, left_out = [], 0
    for frame in _frames(path, options):
        if model.knows(frame.numbers):
            frames.append(frame)
        else:
            left_out += 1
    if not frames:
        raise DataError(f"{path}: no frame is left to evaluate {model.name} on")
    corrected = "MP2020" in model.energy_reference
    labelled = [_mp2020_frame(frame) for frame in frames] if corrected else frames
    evaluation = evaluate(model.potential, _told(labelled, tell))
    metrics = evaluation.metrics()
    keys = ("energy_mae", "energy_shifted_mae", "forces_mae", "stress_mae")
    return {
        "frames": len(frames),
        "atoms": sum(map(len, frames)),
        "left_out": left_out,
        "energies": "MP2020-corrected" if corrected else "as calculated",
        "without_correction": int(sum(frame.energy is None for frame in labelled)),
        **{key: metrics[key] for key in keys if key in metrics},
        "forces_norm": _mean_norm(evaluation),
    }


def _frames(path: Path, options: argparse.Namespace) -> Iterator[Frame]:
    frames = FrameStore(path) if path.is_dir() else read_frames(path, material_key=options.material_key)
    for frame in frames:
        if options.part is None or options.part == part_of_material(
            frame.provenance.material_id, options.fractions, options.split_seed
        ):
            yield frame


def _mp2020_frame(frame: Frame) -> Frame:
    correction = None
    for run_type in ("GGA+U", "GGA"):
        if correction is None:
            correction = mp2020(frame.numbers, frame.positions, frame.cell, run_type)
    return frame.with_(energy=None if correction is None or frame.energy is None else frame.energy + correction)


def _told(items: list, tell: Tell) -> Iterator:
    for k, item in enumerate(items):
        yield item
        tell(k + 1, len(items))


def _mean_norm(evaluation: Evaluation) -> float:
    """Mean over atoms of the length of the error of the force, eV/Å."""
    forces = np.concatenate(evaluation.values["forces"])
    return float(np.linalg.norm(forces[..., 1] - forces[..., 0], axis=1).mean())


def dimers_part(model: Model, options: argparse.Namespace, tell: Tell) -> dict[str, Any]:
    """Holes of the curves of all pairs of elements, and the weakest wall."""
    scan = scan_dimers(all_pairs(model.potential.elements), Calculator(model.potential), progress=tell)
    holes, walls = scan.holes, scan.walls
    weakest = int(np.argmin(walls))
    return {
        "elements": list(model.potential.elements),
        "pairs": scan.pairs.tolist(),
        "ratios": [float(RATIOS[0]), float(RATIOS[-1])],
        "tolerance": HOLE_TOLERANCE,
        "holes": [round(float(h), 4) if np.isfinite(h) else None for h in holes],
        "not_finite": int(np.sum(~np.isfinite(holes))),
        "weakest_wall": float(walls[weakest]),
        "weakest_pair": [chemical_symbols[z] for z in scan.pairs[weakest]],
    }


def equations_of_state_part(model: Model, options: argparse.Namespace, tell: Tell) -> dict[str, Any]:
    """Volume (Å³ per atom) and bulk modulus (eV/Å³) of the elements' crystals, beside the all-electron average."""
    expected = json.loads((options.acwf / ACWF_REFERENCE).read_text())["BM_fit_data"]
    crystals: dict[str, list[Atoms]] = defaultdict(list)
    # as text: ASE goes back and forth in a file, and each time a compressed one is read from its beginning
    text = gzip.decompress((options.acwf / ACWF_FRAMES).read_bytes()).decode()
    for atoms in read(io.StringIO(text), ":", format="extxyz"):
        if model.knows(atoms.numbers):
            crystals[atoms.info["acwf"]].append(atoms)
    rows, calculator = {}, Calculator(model.potential)
    for k, (name, frames) in enumerate(crystals.items()):
        if options.count is None or k < options.count:
            volumes = np.sort([atoms.get_volume() for atoms in frames])
            n, reference = len(frames[0]), expected[name]
            row = {"volume_expected": reference["min_volume"] / n}
            row["modulus_expected"] = reference["bulk_modulus_ev_ang3"]
            # no minimum near, or energies that are not finite: the row has no volume
            with suppress(SimulationError):
                state = equation_of_state(frames[len(frames) // 2], calculator, volumes=volumes)
                row |= {"volume": state.volume / n, "modulus": state.bulk_modulus, "moved": state.shifts}
            rows[name] = row
        tell(k + 1, len(crystals))
    return {"elements": len({name.split("-")[0] for name in rows}), "crystals": rows}


def relaxations_part(model: Model, options: argparse.Namespace, tell: Tell) -> dict[str, Any]:
    """Crystals of the pool, positions and cells relaxed."""
    folder, outcomes = _relaxed_folder(model, options), []
    calculator = Calculator(model.potential)
    chosen = choose_crystals(model, options)
    for k, frame in enumerate(chosen):
        outcome = _kept(folder / f"{k}.json", RelaxationOutcome)
        if outcome is None:
            outcome, relaxed = relaxation_outcome(frame.to_atoms(), calculator)
            if relaxed is not None:
                write_atomically(
                    folder / f"{k}.extxyz", lambda path, a=relaxed: write(path, a, format="extxyz"), overwrite=True
                )
            write_text(folder / f"{k}.json", json.dumps(asdict(outcome)) + "\n")
        outcomes.append(_about(frame) | asdict(outcome))
        tell(k + 1, len(chosen))
    return {"seed": options.seed, "outcomes": outcomes}


def dynamics_part(model: Model, options: argparse.Namespace, tell: Tell) -> dict[str, Any]:
    """The first of those crystals that are relaxed, made larger, at 1000 K."""
    relaxations_part(model, options, lambda *_: None)
    folder, outcomes = _relaxed_folder(model, options), []
    calculator = Calculator(model.potential)
    chosen = [
        (k, frame)
        for k, frame in enumerate(choose_crystals(model, options))
        if len(frame) <= MOST_ATOMS_HOT and (folder / f"{k}.extxyz").exists()
    ][: options.hot]
    for done, (k, frame) in enumerate(chosen):
        relaxed = read(folder / f"{k}.extxyz")
        timestep = SHORT_STEP if "H" in relaxed.symbols else LONG_STEP
        steps = round(1000 * options.picoseconds / timestep)
        run = folder / f"hot-{k}-{steps}x{timestep:g}fs"
        outcome = dynamics_outcome(
            hot_cell(relaxed), calculator, run, steps=steps, timestep=timestep, seed=options.seed
        )
        outcomes.append(_about(frame) | asdict(outcome) | {"timestep": timestep})
        tell(done + 1, len(chosen))
    return {"seed": options.seed, "temperature": 1000.0, "picoseconds": options.picoseconds, "outcomes": outcomes}


def choose_crystals(model: Model, options: argparse.Namespace) -> list[Frame]:
    """`options.crystals` of the pool: the first of a shuffled pool that the potential knows all elements of.

    Potentials that know the same elements get the same crystals.
    """
    pool = list(read_frames(options.pool))
    order = np.random.default_rng(options.seed).permutation(len(pool))
    known = (pool[k] for k in order if model.knows(pool[k].numbers))
    return list(islice(known, options.crystals))


def _relaxed_folder(model: Model, options: argparse.Namespace) -> Path:
    key = f"{model.sha256} {file_sha256(options.pool)} {options.seed} {CRITERIA}"
    key = hashlib.sha256(key.encode()).hexdigest()[:12]
    folder = options.work / f"{model.name}-{key}"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _about(frame: Frame) -> dict[str, Any]:
    return {"formula": frame.to_atoms().get_chemical_formula(), "source": frame.provenance.source_id}


def _kept(path: Path, kind: type) -> Any:
    return kind(**json.loads(path.read_text())) if path.exists() else None


def file_sha256(path: Path) -> str:
    """Of a file, or of the manifest of a store."""
    if path.is_dir():
        return FrameStore(path).sha256
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


#: parts that need no more than a potential and the options; frames and speed are parts too
PARTS: dict[str, Callable[[Model, argparse.Namespace, Tell], dict[str, Any]]] = {
    "dimers": dimers_part,
    "equations-of-state": equations_of_state_part,
    "relaxations": relaxations_part,
    "dynamics": dynamics_part,
}
