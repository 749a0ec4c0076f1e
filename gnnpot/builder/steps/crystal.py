"""Crystals, supercells, random alloys, strain, random displacements."""

from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import make_supercell
from ase.data import atomic_numbers, covalent_radii
from ase.io import read

from gnnpot.builder.library import Crystal, library
from gnnpot.builder.recipe import Bulk, RandomAlloy, Rattle, Strain, Supercell
from gnnpot.builder.state import State
from gnnpot.data.structure_files import check_full_occupancy
from gnnpot.errors import suggest

#: ASE's format for each suffix; only text formats that contain nothing but structures
FILE_FORMATS = {".cif": "cif", ".vasp": "vasp", ".poscar": "vasp", ".xyz": "extxyz", ".extxyz": "extxyz", "": "vasp"}


def bulk(step: Bulk, state: State) -> None:
    """Create a crystal from a formula, a file or an identifier of the Materials Project."""
    if step.file is not None:
        state.atoms = _from_file(step.file, state)
    elif step.mp_id is not None:
        state.atoms = _from_materials_project(step.mp_id, state)
    else:
        state.atoms = _from_formula(step, state)
    state.check_size(len(state.atoms))
    state.crystal = state.atoms.copy()
    if step.cell == "primitive":
        state.atoms = primitive(state.atoms)


def primitive(atoms: Atoms) -> Atoms:
    """Return the primitive cell, in the orientation of the conventional cell (spglib)."""
    import spglib

    found = spglib.standardize_cell(
        (atoms.cell[:], atoms.get_scaled_positions(), atoms.numbers), to_primitive=True, no_idealize=True, symprec=1e-3
    )
    if found is None:
        return atoms
    cell, scaled, numbers = found
    return Atoms(numbers, scaled_positions=scaled, cell=cell, pbc=True)


def parse_formula(formula: str, state: State) -> dict[str, float]:
    """Return the number of atoms of each element of a formula; other texts are refused."""
    from pymatgen.core import Composition

    try:
        composition = Composition(formula).as_dict()
    except (ValueError, KeyError):
        raise state.error("no_formula", formula=formula) from None
    if not composition or any(symbol not in atomic_numbers for symbol in composition):
        raise state.error("no_formula", formula=formula)
    return {symbol: float(count) for symbol, count in composition.items()}


def _from_formula(step: Bulk, state: State) -> Atoms:
    formula = step.formula or ""
    composition = parse_formula(formula, state)
    known = library()
    crystal = known.crystal(formula, step.polymorph)
    if crystal is None and step.polymorph is not None and step.lattice is not None:
        crystal = known.prototype(formula, step.polymorph, step.lattice.model_dump(exclude_none=True))
    if crystal is None and len(composition) == 1 and step.polymorph is not None:
        crystal = _element(formula, step.polymorph, state)
    if crystal is None:
        return _unknown(step, composition, state)
    _say_crystal(step, crystal, state)
    return _scaled(crystal.atoms, step, state)


def _say_crystal(step: Bulk, crystal: Crystal, state: State) -> None:
    names = library().polymorphs(crystal.formula)
    if step.polymorph is None and len(names) > 1:
        state.note("polymorph", formula=crystal.formula, chosen=crystal.polymorph, others=", ".join(names[1:]))
    if step.lattice is None:
        a, b, c = crystal.atoms.cell.lengths()
        lengths = f"a = {a:.4g}" if abs(a - c) < 1e-4 and abs(a - b) < 1e-4 else f"a = {a:.4g}, c = {c:.4g}"
        lengths = lengths if abs(a - b) < 1e-4 else f"a = {a:.4g}, b = {b:.4g}, c = {c:.4g}"
        note = f" ({crystal.note})" if crystal.note else ""
        state.note("lattice", formula=crystal.formula, lengths=lengths, source=crystal.source + note)


def _scaled(atoms: Atoms, step: Bulk, state: State) -> Atoms:
    """Apply the lattice constants of the step; others are scaled by the factor of the first one given."""
    if step.lattice is None:
        return atoms
    given = step.lattice.model_dump(exclude_none=True)
    if not given:
        return atoms
    lengths = dict(zip("abc", atoms.cell.lengths(), strict=True))
    name = next(iter(given))
    ratio = given[name] / lengths[name]
    if not 0.5 < ratio < 2:
        raise state.error("lattice_constant", given=given[name], usual=round(lengths[name], 3))
    factors = np.array([given.get(axis, lengths[axis] * ratio) / lengths[axis] for axis in "abc"])
    if abs(lengths["a"] - lengths["b"]) < 1e-4 and "b" not in given:
        factors[1] = factors[0]
    atoms.set_cell(atoms.cell[:] * factors[:, None], scale_atoms=True)
    return atoms


def _element(symbol: str, polymorph: str, state: State) -> Crystal | None:
    """An element in a structure other than its own, with the same volume per atom."""
    known = library()
    own = known.crystal(symbol)
    key = next((k for k, p in known.prototypes.items() if polymorph.lower() in (k, *p["en"], *p["ja"])), polymorph)
    per_cell = {"fcc": 4, "bcc": 2, "hcp": 2, "diamond": 8, "sc": 1}.get(key)
    if own is None or per_cell is None:
        return None
    volume = own.atoms.get_volume() / len(own.atoms)
    if key == "hcp":
        a = (2 * volume / (3**0.5 / 2 * 1.633)) ** (1 / 3)
        lattice = {"a": a, "c": 1.633 * a}
    else:
        lattice = {"a": (per_cell * volume) ** (1 / 3)}
    crystal = known.prototype(symbol, key, lattice)
    state.note("same_volume", formula=symbol, structure=key)
    return crystal


def _unknown(step: Bulk, composition: dict[str, float], state: State) -> Atoms:
    """A composition that is not in the library: a random alloy if all elements are metals, otherwise an error."""
    formula = step.formula or ""
    names = library().polymorphs(formula)
    if names:
        raise state.error("no_polymorph", formula=step.formula, polymorph=step.polymorph, known=", ".join(names))
    if len(composition) > 1 and all(is_metal(symbol) for symbol in composition):
        host = max(composition, key=lambda s: composition[s])
        bulk(Bulk(formula=host, polymorph=step.polymorph, lattice=step.lattice), state)
        alloy(RandomAlloy(composition=composition, seed=step.seed), state, keep_cell=step.lattice is not None)
        return state.atoms
    near = suggest(formula, library().substances) if len(composition) > 1 else ""
    raise state.error("no_substance", name=step.formula, hint=_hint(near))


def _hint(near: str) -> str:
    return f" ({near})" if near.startswith("did you mean") else ""


def is_metal(symbol: str) -> bool:
    """Whether an element is a metal according to pymatgen. Si and Ge count as metals, because they form alloys."""
    from pymatgen.core import Element

    element = Element(symbol)
    return element.is_metal or symbol in ("Si", "Ge")


def _from_file(name: str, state: State) -> Atoms:
    if state.folder is None:
        raise state.error("no_files")
    folder = state.folder.resolve()
    path = (folder / name).resolve()
    if not path.is_relative_to(folder):
        raise state.error("file_outside", name=name)
    form = FILE_FORMATS.get(Path(name).suffix.lower())
    if form is None:
        raise state.error("file_format", name=name, known=", ".join(k for k in FILE_FORMATS if k))
    if not path.is_file():
        raise state.error("no_file", name=name)
    if path.stat().st_size > 50_000_000:
        raise state.error("file_unreadable", name=name, reason="> 50 MB")
    try:
        atoms: Any = read(path, index=-1, format=form)
    except Exception as problem:  # noqa: BLE001 - ASE's readers may raise any exception for a broken file
        raise state.error("file_unreadable", name=name, reason=type(problem).__name__) from None
    check_full_occupancy(atoms, name)
    return Atoms(atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=atoms.pbc)


def _from_materials_project(mp_id: str, state: State) -> Atoms:
    try:
        from mp_api.client import MPRester
        from pymatgen.io.ase import AseAtomsAdaptor

        with MPRester() as client:
            structure = client.get_structure_by_material_id(mp_id, conventional_unit_cell=True)
        atoms = AseAtomsAdaptor.get_atoms(structure)
    except Exception as problem:  # noqa: BLE001 - the client raises errors of several packages: no key, no network, no such id
        reason = " ".join(str(problem).split())[:120] or type(problem).__name__
        raise state.error("materials_project", mp_id=mp_id, reason=reason) from None
    return Atoms(atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=True)


def supercell(step: Supercell, state: State) -> None:
    """Repeat the structure."""
    if step.matrix is not None:
        size = abs(round(np.linalg.det(step.matrix)))
        if size == 0:
            raise state.error("flat_matrix")
        state.check_size(len(state.atoms) * size)
        state.atoms = make_supercell(state.atoms, step.matrix)
        return
    if step.repeat is not None:
        repeat = step.repeat
    else:
        least = step.min_length or 0.0
        height = [2 * np.pi / np.linalg.norm(2 * np.pi * v) for v in state.atoms.cell.reciprocal()]
        first, second, third = (max(1, int(np.ceil(least / h - 1e-6))) for h in height)
        repeat = (first, second, third)
        state.note("repeat", repeat="×".join(map(str, repeat)))
    if state.slab is not None:
        if repeat[2] != 1:
            raise state.error("slab_repeat")
        state.surface.repeated = True
    state.check_size(len(state.atoms) * float(np.prod(repeat)))
    tags = state.atoms.get_tags()
    state.atoms = state.atoms.repeat(repeat)
    state.atoms.set_tags(np.tile(tags, int(np.prod(repeat))))


def whole_counts(composition: dict[str, float], total: int) -> dict[str, int]:
    """Return the numbers of atoms closest to a composition that add up to `total` (largest remainder method)."""
    weights = np.array(list(composition.values())) / sum(composition.values()) * total
    counts = np.floor(weights + 1e-9).astype(int)
    for index in np.argsort(-(weights - counts), kind="stable")[: total - counts.sum()]:
        counts[index] += 1
    return dict(zip(composition, counts.tolist(), strict=True))


def alloy(step: RandomAlloy, state: State, keep_cell: bool = False) -> None:
    """Distribute elements at random on all sites or those of a sublattice, and scale the lattice by Vegard's law."""
    symbols = np.array(state.atoms.get_chemical_symbols(), object)
    sites = np.nonzero(~state.adsorbed if step.sublattice is None else symbols == step.sublattice)[0]
    if len(sites) == 0:
        raise state.error("no_element", element=step.sublattice, formula=state.atoms.get_chemical_formula())
    total = sum(step.composition.values())
    counts = whole_counts(step.composition, len(sites))
    if step.sublattice is None and min(counts.values()) == 0:
        least = min(step.composition.values()) / total
        repeat = int(np.ceil((1 / least / len(sites)) ** (1 / 3))) + 1
        state.note("enlarged", repeat=f"{repeat}×{repeat}×{repeat}")
        supercell(Supercell(repeat=(repeat, repeat, 1 if state.slab else repeat)), state)
        return alloy(step, state, keep_cell)
    before = symbols[sites]
    elements = np.repeat(list(counts), list(counts.values()))
    symbols[sites] = np.random.default_rng(step.seed).permutation(elements)
    if not keep_cell and step.sublattice is None and len(set(before)) == 1:
        factor = _vegard(str(before[0]), {s: n / len(sites) for s, n in counts.items()})
        cell = state.atoms.cell[:] * factor
        state.atoms.set_cell(cell, scale_atoms=True)
        state.note("vegard", factor=f"{factor:.4f}")
    state.atoms.set_chemical_symbols(list(symbols))
    state.note("random_seed", seed=step.seed, counts=", ".join(f"{s} {n}" for s, n in counts.items()))
    return None


def _vegard(host: str, fractions: dict[str, float]) -> float:
    """Mean size of the elements divided by the size of the host."""
    return sum(x * atomic_size(symbol) for symbol, x in fractions.items()) / atomic_size(host)


def atomic_size(symbol: str) -> float:
    """Return the cube root of the volume per atom in the element's crystal, Å.

    It is estimated from the covalent radius if the library does not have the crystal.
    """
    crystal = library().crystal(symbol)
    if crystal is None:
        return float(1.8 * covalent_radii[atomic_numbers[symbol]])
    return float((crystal.atoms.get_volume() / len(crystal.atoms)) ** (1 / 3))


def strain(step: Strain, state: State) -> None:
    """Strain the cell and move the atoms with it."""
    if not (step.a or step.b or step.c or step.shear):
        raise state.error("no_strain")
    if state.is_surface and step.c:
        raise state.error("strain_vacuum")
    if not state.atoms.pbc.any():
        raise state.error("needs_cell", what="strain")
    cell = state.atoms.cell[:] * (1 + np.array([step.a, step.b, step.c]))[:, None]
    cell[1] += step.shear * np.linalg.norm(cell[1]) * cell[0] / np.linalg.norm(cell[0])
    state.atoms.set_cell(cell, scale_atoms=True)


def rattle(step: Rattle, state: State) -> None:
    """Displace all atoms at random."""
    shifts = np.random.default_rng(step.seed).normal(scale=step.width, size=(len(state.atoms), 3))
    state.atoms.positions += shifts
    state.note("rattled", width=step.width, seed=step.seed)
