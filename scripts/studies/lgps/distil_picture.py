"""Plot docs/lgps/lgps.json: force errors of teacher and students, and the time of a step.

python scripts/studies/lgps/distil_picture.py docs/lgps/lgps.json
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import typer
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from gnnpot.runs.pages import COLORS, new_figure, plain_log_ticks, tidy

TEACHER = "the teacher"
#: source of the training labels -> shade of the bar
UNCHANGED, FRAMES, TAUGHT = "unchanged", "fitted to the labelled frames", "fitted to the teacher's labels"
_SHADES = {UNCHANGED: ("white", "///"), FRAMES: (None, "///"), TAUGHT: (None, "")}
_MARKERS = "os^Dv"


def draw(result: dict[str, Any]) -> Figure:
    """Bars of the errors, a color per model, hatched if not trained on the teacher's labels; lines of the times."""
    figure = new_figure(2, height=4.4)
    errors, times = figure.subplots(1, 2)
    models = list(dict.fromkeys(row["model"] for row in result["errors"]))
    # blue and vermilion: of nequix-oam-1-pft, which the teacher was, and of SevenNet, as in other pictures
    colors = dict(zip(models, (COLORS[0], COLORS[4], COLORS[6], *COLORS[1:4]), strict=False))
    rows = sorted(result["errors"], key=lambda row: models.index(row["model"]))
    places = np.cumsum([0.0] + [1.0 + 0.5 * (a["model"] != b["model"]) for a, b in zip(rows, rows[1:], strict=False)])
    for place, row in zip(places, rows, strict=True):
        color, (face, hatch) = colors[row["model"]], _SHADES[row["learnt_from"]]
        value = row["forces_mae_meV_A"]
        errors.bar(
            place, value, 0.85, facecolor=face or color, edgecolor="white" if hatch and face is None else color,
            hatch=hatch, linewidth=1.0,
        )  # fmt: skip
        errors.text(place, value, f"{value:.0f}", ha="center", va="bottom", fontsize=8)
    middles = [np.mean([p for p, row in zip(places, rows, strict=True) if row["model"] == m]) for m in models]
    errors.set_xticks(middles, models)
    errors.set(ylabel="force MAE on the test frames, meV/Å")
    patches = [
        Patch(facecolor=face or "0.45", edgecolor="white" if face is None else "0.45", hatch=hatch, label=source)
        for source, (face, hatch) in _SHADES.items()
    ]
    goal = errors.axhline(result["goal"], color="black", linestyle="--", linewidth=1, label="goal of the student")
    errors.legend(handles=[*patches, goal], frameon=False, fontsize=8, loc="upper left")
    tidy(errors)
    errors.grid(False, axis="x")
    speeds = result["us_per_atom_and_step"]
    sizes = sorted(speeds, key=int)
    for k, name in enumerate(speeds[sizes[0]]):
        values = [speeds[size][name] for size in sizes]
        color = colors.get(name, COLORS[1])
        times.plot([int(size) for size in sizes], values, color=color, marker=_MARKERS[k % len(_MARKERS)], label=name)
    times.set(xscale="log", yscale="log", xlabel="atoms", ylabel="µs per atom and step, one thread")
    times.minorticks_off()
    times.set_xticks([int(size) for size in sizes], sizes)
    plain_log_ticks(times.yaxis)
    times.legend(frameon=False, fontsize=8)
    tidy(times)
    return figure


def main(results: Path) -> None:
    """Plot RESULTS to a PNG file next to it."""
    draw(json.loads(results.read_text())).savefig(results.with_suffix(".png"))


if __name__ == "__main__":
    typer.run(main)
