"""Figures that compare densities, for instance of several functionals and Kohn-Sham, along a line and in a plane.

Example::

    draw_densities(path, atoms, {"Kohn-Sham": density, "field network": density}, axis=2)
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.data.colors import jmol_colors
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.image import AxesImage
from scipy.ndimage import map_coordinates

from gnnpot.runs.files import write_atomically
from gnnpot.runs.pages import COLORS

#: number of points along a line, and along each side of a plane
LINE, PLANE = 400, 160


def plane_average(density: np.ndarray, axis: int) -> np.ndarray:
    """Mean of a density over planes, as a function of the position along cell vector `axis`."""
    return density.mean(axis=tuple(i for i in range(3) if i != axis))


def along_line(density: np.ndarray, start: np.ndarray, end: np.ndarray, points: int = LINE) -> np.ndarray:
    """Density between two fractional positions, by periodic cubic interpolation."""
    part = np.linspace(0, 1, points)[:, None]
    places = (start + part * (end - start)) * np.array(density.shape)
    return map_coordinates(density, places.T, order=3, mode="grid-wrap")


def bond(atoms: Atoms) -> tuple[np.ndarray, np.ndarray]:
    """Fractional ends of the line through the first atom and its nearest neighbour, half a bond length beyond both."""
    from ase.neighborlist import neighbor_list

    reach, of_first = 6.0, np.zeros(0, dtype=int)
    while not len(of_first):
        first, distance, vectors = neighbor_list("idD", atoms, reach)
        of_first = np.flatnonzero(first == 0)
        # the nearest neighbour may be a periodic image of the atom in a large cell
        reach *= 1.5
    nearest = of_first[np.argmin(distance[of_first])]
    inverse = np.linalg.inv(atoms.cell.array)
    origin, step = atoms.positions[0] @ inverse, vectors[nearest] @ inverse
    return origin - 0.5 * step, origin + 1.5 * step


def draw_densities(path: Path, atoms: Atoms, densities: Mapping[str, np.ndarray], axis: int = 2) -> None:
    """Plot plane averages along a cell vector, densities along a bond, and maps of a plane that contains the bond.

    Args:
        path: Image file to write.
        atoms: Crystal.
        densities: Densities (1/bohr³) by name.
        axis: Number of the cell vector.
    """
    names = list(densities)
    figure = Figure(figsize=(4.2 * max(2, len(names)), 7.2), layout="constrained")
    above, below = figure.subfigures(2, 1, squeeze=False)[:, 0]
    average, line = above.subplots(1, 2)
    height = np.linalg.norm(atoms.cell.array[axis])
    start, end = bond(atoms)
    length = np.linalg.norm((end - start) @ atoms.cell.array)
    for number, name in enumerate(names):
        style: dict[str, Any] = {"color": "black", "lw": 2.2}
        if number > 0:
            style = {"color": COLORS[(number - 1) % len(COLORS)], "lw": 1.4, "ls": "--" if number > 1 else "-"}
        values = plane_average(densities[name], axis)
        places = np.linspace(0, len(values), LINE)
        smooth = map_coordinates(values, places[None], order=3, mode="grid-wrap")
        average.plot(np.linspace(0, height, LINE), smooth, label=name, **style)
        line.plot(np.linspace(0, length, LINE), along_line(densities[name], start, end), **style)
    average.set(xlabel=f"along cell vector {axis + 1}, Å", ylabel="plane average, bohr$^{-3}$")
    average.legend(frameon=False)
    line.set(xlabel="along a bond, Å", ylabel="density, bohr$^{-3}$")
    for place in (0.25, 0.75):
        line.axvline(float(place * length), color="0.8", lw=0.8, zorder=0)
    _maps(below, atoms, densities, axis)
    write_atomically(path, lambda partial: figure.savefig(partial, dpi=90), overwrite=True)


def _maps(figure: SubFigure, atoms: Atoms, densities: Mapping[str, np.ndarray], axis: int) -> None:
    start, end = bond(atoms)
    origin = 0.5 * (start + end)
    first = (end - start) @ atoms.cell.array
    second = atoms.cell.array[axis] - first * (atoms.cell.array[axis] @ first) / (first @ first)
    if np.linalg.norm(second) < 1e-3:
        second = np.cross(first, [1.0, 0.3, 0.2])
    first, second = first / np.linalg.norm(first), second / np.linalg.norm(second)
    inverse, size = np.linalg.inv(atoms.cell.array), 8.0
    steps = np.linspace(-0.5, 0.5, PLANE) * size
    places = origin + (steps[:, None, None] * second + steps[None, :, None] * first) @ inverse
    highest = max(float(density.max()) for density in densities.values())
    shown: AxesImage | None = None
    panels = figure.subplots(1, len(densities), squeeze=False)[0]
    for panel, (name, density) in zip(panels, densities.items(), strict=True):
        values = map_coordinates(density, np.moveaxis(places * density.shape, -1, 0), order=3, mode="grid-wrap")
        extent = (-size / 2, size / 2, -size / 2, size / 2)
        shown = panel.imshow(values, origin="lower", extent=extent, vmin=0, vmax=highest, cmap="viridis")
        _atoms_in_plane(panel, atoms, origin @ atoms.cell.array, first, second, size)
        panel.set(title=name, xlabel="Å")
    if shown is not None:
        figure.colorbar(shown, ax=list(panels), pad=0.01, label="density, bohr$^{-3}$")


def _atoms_in_plane(
    panel: Axes, atoms: Atoms, origin: np.ndarray, first: np.ndarray, second: np.ndarray, size: float
) -> None:
    normal = np.cross(first, second)
    repeated = atoms * (5, 5, 5)
    shift = 2 * atoms.cell.array.sum(axis=0)
    for position, number in zip(repeated.positions - shift, repeated.numbers, strict=True):
        vector = position - origin
        x, y = vector @ first, vector @ second
        if abs(vector @ normal) < 0.2 and max(abs(x), abs(y)) < size / 2:
            panel.plot(x, y, "o", ms=5, mfc=jmol_colors[number], mec="white")
