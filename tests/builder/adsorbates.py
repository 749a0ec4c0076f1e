"""Checks of adsorbates: which, how many, where, how high, which way."""

from typing import Any

import numpy as np
from ase import Atoms
from ase.geometry import find_mic
from checks import _components, _count, _near, _same_formula


def check_adsorbate(atoms: Atoms, adsorbed: np.ndarray, wanted: dict[str, Any]) -> None:
    """Assert the fields of `adsorbate` in sentences/README.md."""
    indices = np.nonzero(adsorbed)[0]
    assert len(indices), "there is no adsorbate"
    groups = [indices[g] for g in _components(atoms[adsorbed])]
    slab = np.nonzero(~adsorbed)[0]
    heights = atoms.positions[:, 2]
    symbols = np.array(atoms.get_chemical_symbols())
    if "formula" in wanted:
        wrong = ["".join(symbols[g]) for g in groups if not _same_formula(list(symbols[g]), wanted["formula"])]
        assert not wrong, f"adsorbates {wrong}"
    if "number" in wanted:
        _count(len(groups), wanted["number"], "adsorbates")
    middle = heights[slab].mean()
    if "sides" in wanted:
        above = {bool(heights[g].mean() > middle) for g in groups}
        assert len(above) == wanted["sides"], f"sides {len(above)}"
    for group in groups:
        _check_one(atoms, group, slab, heights[group].mean() > middle, wanted)
    if "coverage" in wanted:
        top = slab[heights[slab] > heights[slab].max() - 0.3]
        sides = 2 if wanted.get("sides") == 2 else 1
        _near(len(groups) / len(top) / sides, wanted["coverage"], 0.01, "coverage")


def _check_one(atoms: Atoms, group: np.ndarray, slab: np.ndarray, above: bool, wanted: dict[str, Any]) -> None:
    symbols = np.array(atoms.get_chemical_symbols())
    sign = 1.0 if above else -1.0
    heights = sign * atoms.positions[:, 2]
    vectors = find_mic(
        (atoms.positions[group][:, None] - atoms.positions[slab][None]).reshape(-1, 3), atoms.cell, atoms.pbc
    )[0].reshape(len(group), len(slab), 3)
    lengths = np.linalg.norm(vectors, axis=2)
    place, nearest = np.unravel_index(np.argmin(lengths), lengths.shape)
    binding = group[place]
    if "binding" in wanted:
        lowest = symbols[group[np.argmin(heights[group])]]
        assert wanted["binding"] in (symbols[binding], lowest), f"binds by {symbols[binding]}"
    if "nearest" in wanted:
        assert symbols[slab[nearest]] == wanted["nearest"], f"nearest is {symbols[slab[nearest]]}"
    top = slab[heights[slab] > heights[slab].max() - 0.3]
    if "height" in wanted:
        _near(heights[binding] - heights[top].max(), wanted["height"], 0.15, "height")
    if "tilt" in wanted:
        axis = find_mic(atoms.positions[group[1]] - atoms.positions[group[0]], atoms.cell, atoms.pbc)[0]
        tilt = np.degrees(np.arccos(abs(axis[2]) / np.linalg.norm(axis)))
        _near(float(tilt), wanted["tilt"], 5.0, "tilt")
    if "site" in wanted:
        found = _site(atoms, binding, slab, top, heights)
        right = found == wanted["site"] or (wanted["site"] == "hollow" and found in ("hollow", "fcc", "hcp"))
        assert right, f"site {found}"


def _site(atoms: Atoms, binding: int, slab: np.ndarray, top: np.ndarray, heights: np.ndarray) -> str:
    """Where an atom is, from its sideways distances to the highest layer and the next one."""

    def sideways(indices: np.ndarray) -> np.ndarray:
        shifts = [i * atoms.cell[0] + j * atoms.cell[1] for i in (-1, 0, 1) for j in (-1, 0, 1)]
        vectors = np.concatenate([atoms.positions[indices] + s - atoms.positions[binding] for s in shifts])
        return np.sort(np.linalg.norm(vectors[:, :2], axis=1))

    near = sideways(top)
    if near[0] < 0.4:
        return "top"
    if abs(near[1] - near[0]) < 0.2 and near[2] - near[0] > 0.5:
        return "bridge"
    if near[3] - near[0] < 0.3:
        return "hollow"
    below = slab[(heights[slab] < heights[top].min() - 0.5) & (heights[slab] > heights[top].min() - 3.5)]
    second = below[heights[below] > heights[below].max() - 0.3]
    return "hcp" if sideways(second)[0] < 0.5 else "fcc"
