"""What the report of a conductivity study shows."""

import json
from dataclasses import replace

import numpy as np
import pytest

from gnnpot.properties.conductivity import (
    Displacements,
    analyse,
)
from gnnpot.properties.conductivity.maps import density, van_hove
from gnnpot.properties.conductivity.result import conclude
from gnnpot.properties.conductivity.transport import conductivity_factor
from tests.properties.random_walks import SIDE, walk, with_framework


def test_maps():
    moved = walk(2e-5)
    found = density(moved)
    voxel = SIDE**3 / found.values.size
    assert found.values.sum() * voxel == pytest.approx(24)
    assert density(moved, most_points=1000).values.shape == (10, 10, 10)
    # two cells folded into one
    folded = density(moved, (2, 1, 1))
    assert folded.cell[0, 0] == pytest.approx(SIDE / 2)
    assert folded.values.sum() * SIDE**3 / 2 / folded.values.size == pytest.approx(12)
    hove = van_hove(moved)
    # the longest time spreads beyond half of the cell
    width = hove.distances[1] - hove.distances[0]
    assert (hove.self_part[0].sum() * width) == pytest.approx(1, abs=0.01)
    # independent ions: 1 everywhere
    assert hove.distinct_part[:, 40:].mean() == pytest.approx(1, abs=0.1)


def test_the_isosurface_of_a_cell_without_right_angles():
    """Points that plotly takes: a full grid along x, y, z; with the ions where they are."""
    pytest.importorskip("plotly")
    from gnnpot.properties.conductivity.report import on_box

    cell = np.array([[4.0, 0, 0], [-2, 2 * 3**0.5, 0], [1, 0.5, 6]])
    ions = np.array([[0.5, 0.25, 0.5]]) @ cell + 0.1 * np.random.default_rng(0).normal(size=(200, 1, 3))
    moved = Displacements("Li", ions.astype(np.float32), {}, 0.1, cell, 1)
    places, values = on_box(density(moved))
    assert len(places) == np.prod([len(np.unique(places[:, k].round(6))) for k in range(3)])
    assert np.average(places, axis=0, weights=values) == pytest.approx(ions.mean(axis=(0, 1)), abs=0.3)


def test_the_report_shows_each_temperature(tmp_path):
    """Maps and isosurfaces of all, with numbers along the axes, of blocks and at 300 K; the page stays small."""
    pytest.importorskip("plotly")
    from gnnpot.properties.conductivity.report import NAMES, write_report
    from gnnpot.properties.conductivity.result import Study

    moved = [with_framework(walk(d, seed=k, frames=600), 0.0) for k, d in enumerate((1e-5, 2e-5, 4e-5))]
    # a large cell: its isosurface is drawn on a coarser grid
    moved[0] = replace(moved[0], cell=60 * np.eye(3))
    transports = [analyse(m, t) for m, t in zip(moved, (500.0, 600.0, 800.0), strict=True)]
    result = conclude(transports, 1.0)
    path = write_report(Study(result, tuple(moved), (2, 1, 1)), tmp_path, "Conductivity of Li")
    written = {file.name for file in tmp_path.iterdir()}
    assert {"maps-500K.png", "maps-600K.png", "maps.png"} <= written
    assert all(any(file.match(pattern) for pattern in NAMES) for file in tmp_path.iterdir())
    page = path.read_text()
    assert page.count("<img alt=") == 6 and page.count('"type":"isosurface"') == 3 and '"label":"600 K"' in page
    for text in ("D along b, 1e-6 cm²/s", "by blocks", "D at 300 K, cm²/s", "⟨cos²⟩ along a, b, c", ">framework<"):
        assert text in page
    assert "Potential and conditions" not in page and len(page) < 12e6
    fit = json.loads((tmp_path / "conductivity.json").read_text())["fits"]["nernst_einstein"]
    assert fit["D_300K_cm2_s"]["value"] == pytest.approx(result.diffusion.at(300.0).value)
    # of equal cells, the same as from the conductivity
    equal = conclude([replace(t, volume=SIDE**3) for t in transports], 1.0)
    factor = conductivity_factor(24, SIDE**3, 300.0, 1.0)
    assert equal.diffusion.at(300.0).value == pytest.approx(equal.nernst_einstein.at(300.0).value / factor, rel=1e-6)


def test_self_parts_of_all_times_are_drawn():
    """Vibrations in sites have a peak that is many times as high as the curves at long times."""
    from gnnpot.properties.conductivity.pictures import draw_maps

    moved = walk(1e-6, ions=8, frames=300)
    axes = next(a for a in draw_maps(moved, (1, 1, 1), 600.0).axes if "self part" in a.get_ylabel())
    low, high = axes.get_ylim()
    curves = [line.get_ydata() for line in axes.lines]
    assert len(curves) == 4 and high > max(curve.max() for curve in curves)
    assert all(low < curve.max() / 10 for curve in curves)
