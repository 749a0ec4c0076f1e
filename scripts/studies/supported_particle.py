"""Build Pt/Rh alloy particles on zirconia from one Japanese sentence, relax the model, and draw it.

    python scripts/studies/supported_particle.py docs/builder/supported-particle

Builds the model of `SENTENCE`, relaxes it with gnnpot-1 (largest force 0.05 eV/Å, the lowest layer fixed), and writes
PATH.png (before and after, from the side and from above) and PATH.json (numbers of atoms, steps, seconds).
"""

import json
import time
from pathlib import Path
from typing import Annotated

import matplotlib
import numpy as np
import typer
from ase import Atoms
from ase.io import write
from ase.visualize.plot import plot_atoms

import gnnpot
from gnnpot.builder import build
from gnnpot.engines.relax import RelaxConfig, relax

matplotlib.use("Agg")

SENTENCE = "立方晶ジルコニア(111)表面、2層にPt/Rh合金ナノ粒子（Pt:Rh=1:1、約50原子）を担持、下1層を固定、真空層15Å"
COLOURS = {"Pt": "#c8ccd4", "Rh": "#2f6f9f", "Zr": "#f0d58c", "O": "#d9534f"}


def main(
    path: Annotated[Path, typer.Argument(help="Path of the output files, without ending.")],
    sentence: Annotated[str, typer.Option(help="Sentence to build from.")] = SENTENCE,
    warm: Annotated[bool, typer.Option(help="Compile kernels before the timing starts.")] = True,
) -> None:
    """Build, relax and draw the model."""
    calculator = gnnpot.Calculator()
    if warm:
        relax(build(sentence).structure, calculator, RelaxConfig(cell="none", steps=1))
    started = time.perf_counter()
    result = build(sentence)
    built = time.perf_counter()
    config = RelaxConfig(fmax=0.05, cell="none", steps=1000, optimizer="lbfgs")
    done = relax(result.structure, calculator, config)
    ended = time.perf_counter()
    report = {
        "sentence": sentence,
        "formula": result.structure.get_chemical_formula(),
        "atoms": len(result.structure),
        "fixed": len(result.structure.constraints[0].index),
        "seconds_to_build": round(built - started, 2),
        "seconds_to_relax": round(ended - built, 2),
        "steps": done.steps,
        "converged": done.converged,
        "largest_force_eV_per_A": round(float(done.fmax), 4),
        "energy_eV": [round(done.initial_energy, 2), round(done.energy, 2)],
        "notes": [note.text for note in result.notes],
        "warnings": [warning.text for warning in result.warnings],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_suffix(".json").write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    write(path.with_suffix(".extxyz"), Atoms(done.atoms.numbers, done.atoms.positions, cell=done.atoms.cell, pbc=True))
    _draw(path.with_suffix(".png"), result.structure, done.atoms, report)
    typer.echo(json.dumps(report, indent=1, ensure_ascii=False))


def _draw(path: Path, before: Atoms, after: Atoms, report: dict) -> None:
    """Two views of both structures."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 3, figsize=(13, 4.9), layout="constrained")
    views = ((before, "-90x", "as built"), (after, "-90x", "relaxed"), (after, "", "relaxed, from above"))
    for axis, (atoms, rotation, title) in zip(axes, views, strict=True):
        shown = atoms.copy()
        shown.set_constraint()
        shown.wrap(pbc=[True, True, False], eps=0.02)
        colours = [COLOURS[s] for s in shown.get_chemical_symbols()]
        radii = np.array([0.75 if s == "O" else 1.25 for s in shown.get_chemical_symbols()])
        plot_atoms(shown, axis, rotation=rotation, radii=radii, colors=colours, show_unit_cell=0)
        axis.set(title=title, xlim=(-1, 20), ylim=(-1, 18) if rotation else (-1, 21), anchor="N")
        axis.set_axis_off()
    for symbol, colour in COLOURS.items():
        axes[0].scatter([], [], color=colour, edgecolor="black", s=90, label=symbol)
    axes[0].legend(loc="upper left", frameon=False, ncols=4, bbox_to_anchor=(0, 0))
    seconds = report["seconds_to_build"] + report["seconds_to_relax"]
    figure.suptitle(
        f"{report['formula']}, {report['atoms']} atoms, built and relaxed in {seconds:.0f} s "
        f"({report['steps']} steps, largest force {report['largest_force_eV_per_A']:.3f} eV/Å)"
    )
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    typer.run(main)
