"""Errors of published potentials on labelled frames that none of them was fine-tuned on.

    python scripts/studies/accuracy/published.py data --potentials nequix-oam-1 7net-0 -o docs/accuracy

Sets: the Si, Mo, Cu and Ni test frames of mlearn (Zuo et al. 2020), without those whose rotated or mirrored structure
is also in the training file: 3 of 25, 0 of 23, 13 of 31, 13 of 31. Li10GeP2S12 (Huang et al. 2021): all frames, and the
first and last quarter in the order of the file, which is assumed to be the order of active learning. Energy errors are
per atom, after a constant shift for each potential and set that minimises the mean absolute error; force errors are per
component.

Each potential and set is a line of OUT/published.jsonl, appended when it is finished; the same command resumes. The
table OUT/published.md has all potentials in this file. `--every 10` uses only every tenth frame of Li10GeP2S12, as a
separate set: 294 frames give the errors of the whole set within a few per cent in a tenth of the time. `--every 0` uses
none.
"""

import functools
import itertools
import json
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from ase import Atoms
from ase.io import read
from ase.neighborlist import neighbor_list
from rich.console import Console
from torch_geometric.data import Batch

import gnnpot
from gnnpot.data import read_frames
from gnnpot.data.structures import batches_of
from gnnpot.potential import Potential
from gnnpot.runs.files import write_text

TITLE = "# Published potentials on labelled frames"
ABOUT = """\
Errors of published potentials, without fine-tuning. Energy errors are those after subtracting the best constant for
each potential and set. The number of frames is in brackets. The test frames of mlearn (Si, Mo, Cu, Ni) exclude rotated
or mirrored structures of the training set. LGPS is Li10GeP2S12. `scripts/studies/accuracy/published.py` describes the
sets and makes this page."""
MLEARN = ("Si", "Mo", "Cu", "Ni")
LGPS = ("LGPS", "LGPS, first quarter", "LGPS, last quarter")
#: maximum number of atoms of a batch
BATCH = 400
#: cutoff of the distances by which structures are compared, Å, and relative tolerance of their moments: copies by
#: symmetry differ by 1e-15, other structures by 1e-6 or more
REACH, SAME = 6.0, 1e-8


def main(
    data: Annotated[Path, typer.Argument(help="Folder that contains mlearn/ and lgps/.")],
    potentials: Annotated[list[str], typer.Option(help="Name or path of a potential. May be repeated.")],
    every: Annotated[int, typer.Option(min=0, help="Use every n-th frame of Li10GeP2S12; 0: none.")] = 1,
    out: Annotated[Path, typer.Option("-o", "--output", help="Folder of the results.")] = Path("docs/accuracy"),
) -> None:
    """Run the missing evaluations, and write the table."""
    console, results = Console(soft_wrap=True), out / "published.jsonl"
    out.mkdir(parents=True, exist_ok=True)
    done = rows(results)
    for name in potentials:
        missing = [s for s in MLEARN if (name, s) not in done]
        with_lgps = every > 0 and (name, sets_of_lgps(every)[0]) not in done
        potential = gnnpot.load(name) if missing or with_lgps else None
        for which in missing:
            append(
                results, [{"potential": name, "set": which, **errors(*predicted(potential, test_frames(data, which)))}]
            )
            console.print(name, which, highlight=False)
        if with_lgps:
            frames = frames_of_lgps(data, every)
            energies, forces = predicted(potential, frames)
            quarter = len(frames) // 4
            parts = slice(None), slice(quarter), slice(-quarter, None)
            found = [errors(energies[part], forces[part]) for part in parts]
            sets = sets_of_lgps(every)
            append(results, [{"potential": name, "set": s, **e} for s, e in zip(sets, found, strict=True)])
            console.print(name, "LGPS", highlight=False)
    found = rows(results)
    names = list(dict.fromkeys([*potentials, *(name for name, _ in found)]))
    write_text(out / "published.md", f"{TITLE}\n\n{ABOUT}\n\n{table(found, names)}")


def sets_of_lgps(every: int) -> tuple[str, ...]:
    """Names of the sets of Li10GeP2S12."""
    return LGPS if every == 1 else tuple(f"{name}, each {every}th" for name in LGPS)


@functools.cache
def frames_of_lgps(data: Path, every: int) -> list[Atoms]:
    """Every n-th frame of Li10GeP2S12, with its labels."""
    # ASE's reader first searches a compressed file for the offsets of all frames, which takes minutes
    frames = read_frames(data / "lgps" / "lgps50_train.extxyz.gz")
    return [frame.to_atoms() for frame in itertools.islice(frames, 0, None, every)]


def rows(path: Path) -> dict[tuple[str, str], dict]:
    """Existing results, by potential and set."""
    lines = path.read_text().splitlines() if path.exists() else []
    return {(row["potential"], row["set"]): row for row in map(json.loads, lines)}


def append(path: Path, found: list[dict]) -> None:
    with path.open("a") as file:
        file.write("".join(json.dumps(row) + "\n" for row in found))


@functools.cache
def test_frames(data: Path, element: str) -> list[Atoms]:
    """Test frames of an element of mlearn, without those whose structure is in the training file."""
    test = read(data / "mlearn" / f"{element}_test.extxyz.gz", ":")
    return [atoms for atoms, copy in zip(test, copies(data, element), strict=True) if not copy]


@functools.cache
def copies(data: Path, element: str) -> list[bool]:
    """Whether the structure of each test frame is in the training file, possibly rotated or mirrored."""
    train, test = (read(data / "mlearn" / f"{element}_{part}.extxyz.gz", ":") for part in ("train", "test"))
    seen = np.array([moments(atoms) for atoms in train])
    return [bool(np.abs(seen / moments(atoms) - 1).max(axis=1).min() <= SAME) for atoms in test]


def moments(atoms: Atoms) -> np.ndarray:
    """Moments Σ (1 - x²)⁴ x^k per atom, with x = d/R, of the distances d within a cutoff R. They are invariant to
    rotation, reflection and permutation of atoms."""
    x = neighbor_list("d", atoms, REACH) / REACH
    return ((1 - x**2) ** 4 * x ** np.arange(8)[:, None]).sum(axis=1) / len(atoms)


def predicted(potential: Potential, frames: list[Atoms]) -> tuple[np.ndarray, np.ndarray]:
    """Differences of energies (eV/atom), [frames], and of forces (eV/Å), a list of [atoms, 3]."""
    energies, forces = [], []
    for part in batches_of(frames, BATCH):
        found = potential(Batch.from_data_list([potential.graph(atoms) for atoms in part]), stress=False)
        by_frame = torch.split(found.forces, [len(atoms) for atoms in part])
        for atoms, energy, force in zip(part, found.energy.tolist(), by_frame, strict=True):
            energies.append((energy - atoms.get_potential_energy()) / len(atoms))
            forces.append(force.numpy() - atoms.get_forces())
    return np.array(energies), np.array(forces, dtype=object)


def errors(energies: np.ndarray, forces: np.ndarray) -> dict[str, float]:
    shifted = energies - np.median(energies)
    every = np.concatenate([f.astype(float).ravel() for f in forces])
    return {
        "frames": len(energies),
        "energy_mae_mev_per_atom": 1e3 * float(np.abs(shifted).mean()),
        "forces_mae_ev_per_angstrom": float(np.abs(every).mean()),
    }


def table(found: dict[tuple[str, str], dict], potentials: list[str]) -> str:
    """Table of energy MAE (meV/atom) and force MAE (eV/Å), with a row for each potential."""
    known = [*MLEARN, *LGPS, *dict.fromkeys(which for _, which in found)]
    sets = [s for s in dict.fromkeys(known) if any((name, s) in found for name in potentials)]
    counts = {s: next(row["frames"] for (_, which), row in found.items() if which == s) for s in sets}
    lines = [
        "| energy MAE, meV/atom; force MAE, eV/Å | " + " | ".join(f"{s} ({counts[s]:,})" for s in sets) + " |",
        "|" + " --- |" * (1 + len(sets)),
    ]
    for name in potentials:
        cells = [found.get((name, s)) for s in sets]
        shown = [
            f"{c['energy_mae_mev_per_atom']:.3g}; {c['forces_mae_ev_per_angstrom']:.3f}" if c else "" for c in cells
        ]
        lines.append(f"| {name} | " + " | ".join(shown) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    typer.run(main)
