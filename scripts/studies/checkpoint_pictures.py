"""Plots of docs/checkpoint: holes in the energy curves of pairs of atoms, and equations of state, for four potentials.

    python scripts/studies/checkpoint_pictures.py docs/checkpoint

The data are read from FOLDER/results; nothing is computed.
"""

import json
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from matplotlib.figure import Figure

from gnnpot.properties.suites.pictures import shares
from gnnpot.runs.pages import new_figure, plain_log_ticks, styles_of, tidy

#: potentials of table.md
POTENTIALS = ("gnnpot-1", "m3gnet-mp-2021.2.8", "chgnet-0.3.0", "7net-0")
#: end of the axis, eV; few pairs have deeper holes
DEEPEST = 1e4


def main(folder: Annotated[Path, typer.Argument(help="Folder of the results and the plots.")]) -> None:
    """Draw both plots."""
    draw_holes(_results(folder, "dimers")).savefig(folder / "dimers.png")
    draw_equations(_results(folder, "equations-of-state")).savefig(folder / "equations-of-state.png")


def _results(folder: Path, name: str) -> dict[str, Any]:
    files = {potential: folder / "results" / potential / f"{name}.json" for potential in POTENTIALS}
    return {potential: json.loads(path.read_text("utf-8"))["result"] for potential, path in files.items()}


def draw_holes(results: dict[str, Any]) -> Figure:
    """Number of pairs of elements with a hole deeper than x."""
    figure = new_figure(width=7.4, height=4.0)
    axes = figure.add_subplot()
    tolerance = max(result["tolerance"] for result in results.values())
    for name, style in styles_of(results).items():
        holes = np.sort([depth for depth in results[name]["holes"] if depth > tolerance])
        places, counts = [tolerance, *holes, DEEPEST], [*range(len(holes), -1, -1), 0]
        axes.step(
            places, counts, where="post", color=style.color, linestyle=style.line, linewidth=1.8,
            label=f"{name}: {len(holes) or 'none'}",
        )  # fmt: skip
    axes.set(xscale="log", xlabel="depth of the hole, eV", xlim=(tolerance, DEEPEST), ylim=(0, None))
    axes.set_ylabel(f"pairs with a deeper hole, of {len(next(iter(results.values()))['pairs']):,}")
    plain_log_ticks(axes.xaxis)
    axes.legend(
        title=f"pairs with a hole above {tolerance:g} eV",
        fontsize=8,
        title_fontsize=8,
        frameon=False,
        loc="upper right",
    )
    tidy(axes)
    return figure


def draw_equations(results: dict[str, Any]) -> Figure:
    """Fractions of the crystals whose errors of volume and bulk modulus are below x."""
    panels: dict[str, dict[str, tuple[list[float], int]]] = {}
    for quantity, label in (("volume", "volume"), ("modulus", "bulk modulus")):
        panels[f"relative error of the {label}, %"] = {
            name: (_errors(result["crystals"].values(), quantity), len(result["crystals"]))
            for name, result in results.items()
        }
    return shares(panels)


def _errors(crystals: Any, quantity: str) -> list[float]:
    """Errors in % of the crystals with an energy minimum."""
    found = [(c[quantity], c[f"{quantity}_expected"]) for c in crystals if c.get(quantity) is not None]
    return [100 * abs(value / expected - 1) for value, expected in found]


if __name__ == "__main__":
    typer.run(main)
