"""Report of a curation: removed frames by filter; elements, energies and forces before and after.

    write_curation_report(FrameStore("mp.store").manifest, "report")     # report/report.html and PNGs

All data are in the manifest of the store, so that the report can be written at any time, without the source.
"""

import html
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml
from ase.data import atomic_numbers

from gnnpot.data.manifest import Manifest
from gnnpot.data.mp.statistics import EDGES
from gnnpot.errors import DataError
from gnnpot.runs.files import write_text
from gnnpot.runs.guard import check_report_folder
from gnnpot.runs.pages import COLORS, GREY, new_figure, page, save, table, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: number of elements in one row of bars
ROW = 46
BEFORE, AFTER = "before", "after"

#: names of the files in the folder of a report
REPORT_NAMES = ("report.html", "*.png")


def write_curation_report(manifest: Manifest, folder: Path | str) -> Path:
    """Write `report.html` and PNGs to `folder`, replacing an earlier report, and return the path of the HTML file.

    Raises `DataError` if the store was not written by `gnnpot data mp`, or if the folder can't be written.
    """
    folder = check_report_folder(folder, REPORT_NAMES)
    curation = manifest.curation
    if curation is None:
        raise DataError("the store was not curated, so there is nothing to report; 'gnnpot data mp' makes one that is")
    title = f"{manifest.source}: {manifest.frames:,} frames"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        sections = [
            f"<h1>{html.escape(title)}</h1>",
            "<h2>Left out</h2>", filters_html(curation), save(filters_figure(curation), folder / "filters.png"),
            "<h2>Energies, forces and pressures</h2>", save(histograms_figure(curation), folder / "histograms.png"),
            "<h2>Elements</h2>", save(elements_figure(curation), folder / "elements.png"),
            "<h2>Source and options</h2>", _options_html(manifest, curation),
        ]  # fmt: skip
    except OSError as error:
        raise DataError(f"{folder}: can't be written ({error.strerror}); name another folder for the report") from None
    path = folder / "report.html"
    write_text(path, page(title, sections))
    return path


def filters_html(curation: dict[str, Any]) -> str:
    """Return the HTML table of reasons and counts, in the order of the filters."""
    before, after = curation[BEFORE]["frames"], curation[AFTER]["frames"]
    counted = [(row["reason"], row["count"]) for row in curation["left_out"]] + [("kept", after)]
    rows = [(reason, f"{n:,}", f"{n / max(before, 1):.2%}") for reason, n in counted]
    return table(("reason", "frames", "of all that can be read"), rows)


def filters_figure(curation: dict[str, Any]) -> "Figure":
    """Draw a bar chart of the number of frames removed by each filter."""
    rows = [row for row in curation["left_out"] if "not frames" not in row["reason"]][::-1]
    figure = new_figure(width=9.2, height=1.0 + 0.32 * len(rows))
    axes = figure.add_subplot()
    counts = [row["count"] for row in rows]
    axes.barh(range(len(rows)), counts, color=COLORS[1], height=0.7)
    axes.set_yticks(range(len(rows)), [row["reason"] for row in rows], fontsize=8)
    axes.set_xscale("symlog", linthresh=1)
    axes.set_xlim(0, 8 * max([1, *counts]))
    for k, count in enumerate(counts):
        axes.text(max(count, 0) * 1.1 + 0.05, k, f"{count:,}", va="center", fontsize=8)
    axes.set_xlabel("frames left out")
    tidy(axes)
    return figure


def histograms_figure(curation: dict[str, Any]) -> "Figure":
    """Draw histograms of energy, energy above the final one, largest force and pressure, before and after."""
    figure = new_figure(2, height=7.0)
    for k, (name, edges) in enumerate(EDGES.items()):
        axes = figure.add_subplot(2, 2, k + 1)
        for when, color in ((BEFORE, GREY), (AFTER, COLORS[0])):
            counts = np.array(curation[when]["histograms"][name])
            axes.stairs(counts, edges, fill=True, color=color, alpha=0.75, label=when)
        axes.set_yscale("log")
        axes.set_ylim(bottom=0.8)
        if np.all(edges > 0):
            axes.set_xscale("log")
        axes.set(xlabel=name, ylabel="frames")
        axes.margins(x=0)
        tidy(axes)
    figure.axes[0].legend(frameon=False)
    return figure


def elements_figure(curation: dict[str, Any]) -> "Figure":
    """Draw the number of atoms of each element, in the order of atomic numbers, before and after."""
    symbols = sorted(curation[BEFORE]["elements"], key=atomic_numbers.__getitem__)
    parts = [symbols[k : k + ROW] for k in range(0, len(symbols), ROW)] or [[]]
    figure = new_figure(width=9.2, height=2.4 * len(parts))
    most = max([1, *curation[BEFORE]["elements"].values()])
    for k, part in enumerate(parts):
        axes: Axes = figure.add_subplot(len(parts), 1, k + 1)
        for when, color, width in ((BEFORE, GREY, 0.8), (AFTER, COLORS[0], 0.5)):
            heights = [curation[when]["elements"].get(symbol, 0) for symbol in part]
            axes.bar(range(len(part)), heights, width=width, color=color, label=when)
        axes.set_xticks(range(len(part)), part, fontsize=7)
        axes.set_xlim(-0.7, max(len(part), ROW if len(parts) > 1 else 1) - 0.3)
        axes.set_yscale("log")
        axes.set_ylim(0.8, 2 * most)
        axes.set_ylabel("atoms")
        tidy(axes)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, frameon=False, ncols=2, loc="outside upper right")
    return figure


def _options_html(manifest: Manifest, curation: dict[str, Any]) -> str:
    check = manifest.stress_check["meaning"] if manifest.stress_check else "not asked for"
    shown = {key: curation[key] for key in ("source", "conventions", "options")} | {"stress check": check}
    return f"<pre>{html.escape(yaml.safe_dump(shown, sort_keys=False, allow_unicode=True, width=110))}</pre>"
