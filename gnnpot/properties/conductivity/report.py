"""Report of a conductivity study: JSON, PNG, and a self-contained HTML file."""

import html
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gnnpot.errors import DataError
from gnnpot.properties.conductivity.displacements import Displacements
from gnnpot.properties.conductivity.maps import Density, density
from gnnpot.properties.conductivity.pictures import draw_arrhenius, draw_jumps, draw_maps, draw_msd
from gnnpot.properties.conductivity.result import Conductivity, Study
from gnnpot.properties.conductivity.tables import (
    axes_table,
    block_table,
    condition_tables,
    fit_table,
    jump_table,
    transport_table,
)
from gnnpot.runs.files import write_text
from gnnpot.runs.pages import page, save

#: patterns of the files of a report; `maps.png` is of the highest temperature
NAMES = ("conductivity.json", "msd.png", "arrhenius.png", "maps.png", "maps-*K.png", "jumps.png", "report.html")
#: approximate number of grid points of an isosurface, about 0.4 MB in the report
_POINTS = 15_000


def write_report(study: Study, folder: Path, title: str) -> Path:
    """Write the files `NAMES` into `folder`, and return the path of the HTML file. Raises `DataError`."""
    result = study.result
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{folder}: can't be made ({error.strerror}); name another folder (--output)") from None
    result.save(folder / "conductivity.json")
    pictures = {
        "msd": draw_msd(result.transports),
        "arrhenius": draw_arrhenius(result),
        "jumps": draw_jumps(result.transports),
    }
    names = [f"maps-{t.temperature:g}K" for t in result.transports[:-1]] + ["maps"]
    rows = zip(names, study.displacements, result.transports, strict=True)
    maps = [save(draw_maps(m, study.repeats, t.temperature), folder / f"{name}.png") for name, m, t in rows]
    images = {name: save(figure, folder / f"{name}.png") for name, figure in pictures.items()}
    sections = [
        f"<h1>{html.escape(title)}</h1>",
        _verdict(result),
        "<h2>Conductivity</h2>",
        transport_table(result),
        fit_table(result),
        images["arrhenius"],
        "<h2>Mean-square displacements</h2>",
        block_table(result),
        images["msd"],
        "<h2>Jumps, and diffusion along the axes</h2>",
        jump_table(result),
        axes_table(result),
        images["jumps"],
        f"<h2>Density of {html.escape(result.transports[0].ion)}, and van Hove's functions</h2>",
        isosurfaces(study),
        *reversed(maps),
        *condition_tables(result),
    ]
    path = folder / "report.html"
    write_text(path, page(title, sections))
    return path


def _verdict(result: Conductivity) -> str:
    found = []
    if result.melted:
        lead = "<b>The framework is not solid</b>; these temperatures are left out of the fits:"
        found.append(f"<p>{lead}</p>{_list(result.melted)}")
    if result.too_short:
        lead = (
            "<b>The sampling is too short</b> for some of it; these temperatures are left out of the fits (where it is "
            "the collective coefficient, of its fit only):"
        )
        found.append(f"<p>{lead}</p>{_list(result.too_short)}")
    if not found:
        found.append(
            "<p>The sampling is long enough and the framework solid at all temperatures, by the report's own "
            "criteria.</p>"
        )
    if result.cautions:
        found.append(f"<p><b>Cautions</b>, for which no temperature is left out:</p>{_list(result.cautions)}")
    return "".join(found)


def _list(reasons: Sequence[str]) -> str:
    return "<ul>" + "".join(f"<li>{html.escape(reason)}</li>" for reason in reasons) + "</ul>"


def on_box(found: Density) -> tuple[np.ndarray, np.ndarray]:
    """Points of a grid along x, y, z around the cell, [N, 3] in Å, and the density there, 0 outside of the cell.

    Plotly draws nothing of a grid along the vectors of a cell without right angles.
    """
    corners = np.array([[i, j, k] for i in (0, 1) for j in (0, 1) for k in (0, 1)]) @ found.cell
    low, high = corners.min(axis=0), corners.max(axis=0)
    spacing = np.cbrt(abs(np.linalg.det(found.cell)) / found.values.size)
    axes = [np.linspace(a, b, max(2, round((b - a) / spacing) + 1)) for a, b in zip(low, high, strict=True)]
    places = np.stack([grid.ravel() for grid in np.meshgrid(*axes, indexing="ij")], axis=1)
    scaled = places @ np.linalg.inv(found.cell)
    inside = np.all((scaled > -1e-6) & (scaled < 1 + 1e-6), axis=1)
    # a cell has the same value at both ends
    nearest = np.floor(scaled * found.values.shape + 1e-6).astype(int) % found.values.shape
    return places, np.where(inside, found.values[tuple(nearest.T)], 0.0)


def isosurfaces(study: Study) -> str:
    """Interactive isosurfaces at twice the mean density as HTML, with a menu of the temperatures."""
    import plotly.graph_objects as go

    kelvin = [t.temperature for t in study.result.transports]
    last = len(kelvin) - 1
    figure = go.Figure([_isosurface(m, study.repeats, visible=k == last) for k, m in enumerate(study.displacements)])
    buttons = [
        {"label": f"{t:g} K", "method": "update", "args": [{"visible": [n == k for n in range(len(kelvin))]}]}
        for k, t in enumerate(kelvin)
    ]
    menu = {"buttons": buttons, "active": last, "x": 0.0, "xanchor": "left", "y": 1.0, "yanchor": "top"}
    figure.update_layout(
        height=520, margin={"l": 0, "r": 0, "t": 0, "b": 0}, scene_aspectmode="data", updatemenus=[menu]
    )
    return figure.to_html(full_html=False, include_plotlyjs=True)


def _isosurface(moved: Displacements, repeats: tuple[int, int, int], *, visible: bool) -> Any:
    import plotly.graph_objects as go

    found = density(moved, repeats, _POINTS)
    places, values = on_box(found)
    level = 2.0 * float(found.values.mean())
    x, y, z = places.astype(np.float32).T
    return go.Isosurface(
        x=x, y=y, z=z, value=values.astype(np.float32), isomin=level, isomax=float(values.max()), surface_count=2,
        opacity=0.5, caps={"x_show": False, "y_show": False, "z_show": False}, colorscale="Viridis", showscale=False,
        visible=visible,
    )  # fmt: skip
