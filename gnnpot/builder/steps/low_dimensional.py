"""Sheets and nanotubes (ASE's `graphene`, `mx2`, `nanotube`)."""

import numpy as np
from ase import Atoms
from ase.build import graphene, mx2
from ase.build import nanotube as ase_nanotube
from ase.neighborlist import neighbor_list

from gnnpot.builder.library import library
from gnnpot.builder.recipe import Nanotube, Sheet
from gnnpot.builder.state import SlabState, State
from gnnpot.builder.steps.slab import add_vacuum, surface_cell, tag_layers

#: lattice constant a and buckling of honeycomb sheets, Å; C: graphite; BN: h-BN; Si, Ge: Cahangirov et al.,
#: PRL 102, 236804 (2009)
HONEYCOMB = {"C": (2.461, 0.0), "BN": (2.504, 0.0), "Si": (3.83, 0.44), "Ge": (3.97, 0.64)}
#: distance between layers, Å
SPACING = {"C": 3.35, "BN": 3.33}
DEFAULT_VACUUM = 15.0
CC_BOND = 1.42


def sheet(step: Sheet, state: State) -> None:
    """Create one or more layers of a two-dimensional material."""
    formula = step.formula
    one = _layer(step, state)
    layers = [one]
    height = np.ptp(one.positions[:, 2])
    spacing = SPACING.get(formula, height + 3.0)
    if step.stacking == "AA'" and formula != "BN":
        raise state.error("stacking_bn", formula=formula)
    state.check_size(len(one) * step.layers * step.repeat[0] * step.repeat[1])
    for number in range(1, step.layers):
        above = one.copy()
        above.positions[:, 2] += number * spacing
        if (step.stacking or "AB") == "AB" and number % 2:
            above.positions += (one.cell[0] + 2 * one.cell[1]) / 3 if len(one) == 2 else 0.0
            if len(one) == 3:
                above.positions[:, :2] *= -1
        if step.stacking == "AA'" and number % 2:
            # B above N
            above.numbers = above.numbers[::-1]
        layers.append(above)
    if step.layers > 1 and step.stacking is None:
        state.note("stacking", stacking="AB")
    atoms = layers[0]
    for above in layers[1:]:
        atoms += above
    vacuum = step.vacuum or DEFAULT_VACUUM
    if step.vacuum is None:
        state.note("vacuum", vacuum=f"{vacuum:g}")
    unit = add_vacuum(atoms, vacuum)
    if step.orthogonal:
        unit = surface_cell(unit, np.array([[1, 0], [1, 2]]))
    state.atoms = tag_layers(unit.repeat((*step.repeat, 1)))
    state.slab = SlabState(vacuum, True, unit)


def _layer(step: Sheet, state: State) -> Atoms:
    formula = step.formula
    given = step.lattice.a if step.lattice else None
    if formula in HONEYCOMB:
        a, buckling = HONEYCOMB[formula]
        a = given or a
        atoms = graphene(formula=formula if len(formula) > 1 and formula == "BN" else formula * 2, a=a, vacuum=0.0)
        atoms.positions[1, 2] += buckling
        state.note("sheet_lattice", formula=formula, a=f"{a:g}")
    elif formula == "P":
        atoms = _phosphorene()
    else:
        atoms = _dichalcogenide(step, given, state)
    atoms.cell[2] = [0, 0, 20.0]
    atoms.pbc = True
    return Atoms(atoms.symbols, positions=atoms.positions, cell=atoms.cell, pbc=True)


def _dichalcogenide(step: Sheet, given: float | None, state: State) -> Atoms:
    entry = library().find(step.formula, None)
    phase = step.phase or (entry["name"] if entry and entry.get("name") in ("1T", "2H") else None)
    if entry is None or entry.get("prototype") not in ("molybdenite", "cadmium iodide"):
        raise state.error("no_sheet", formula=step.formula)
    a, c, u = entry["a"], entry["c"], entry["u"]
    thickness = 2 * (0.75 - u) * c if entry["prototype"] == "molybdenite" else 2 * u * c
    state.note("sheet_lattice", formula=step.formula, a=f"{given or a:g}")
    return mx2(formula=step.formula, kind=phase or "2H", a=given or a, thickness=thickness, vacuum=1.0)


def _phosphorene() -> Atoms:
    """One layer of black phosphorus."""
    atoms = library().known("P", "black").atoms
    axis = int(np.argmax(atoms.cell.lengths()))
    order = [i for i in range(3) if i != axis] + [axis]
    scaled = atoms.get_scaled_positions()[:, order]
    lengths = atoms.cell.lengths()[order]
    scaled[:, 2] = (scaled[:, 2] + 0.25) % 1.0
    keep = scaled[:, 2] < 0.5
    return Atoms(atoms.numbers[keep], positions=scaled[keep] * lengths, cell=lengths, pbc=True)


def nanotube(step: Nanotube, state: State) -> None:
    """Create a nanotube along the third cell vector."""
    if step.m > step.n:
        step = step.model_copy(update={"n": step.m, "m": step.n})
    bonds = {"C": CC_BOND, "BN": HONEYCOMB["BN"][0] / 3**0.5, "SiC": 1.79}
    if step.formula not in bonds:
        raise state.error("no_nanotube", formula=step.formula, known=", ".join(bonds))
    one = ase_nanotube(step.n, step.m, length=1, bond=bonds[step.formula], symbol="C")
    cells = step.cells
    if step.length is not None:
        cells = max(1, round(step.length / one.cell[2, 2]))
        state.note("tube_cells", cells=cells, length=f"{cells * one.cell[2, 2]:.1f}")
    state.check_size(len(one) * cells)
    atoms = ase_nanotube(step.n, step.m, length=cells, bond=bonds[step.formula], symbol="C")
    vacuum = step.vacuum or DEFAULT_VACUUM
    if step.vacuum is None:
        state.note("vacuum", vacuum=f"{vacuum:g}")
    atoms.center(vacuum=vacuum / 2, axis=(0, 1))
    atoms.pbc = True
    if step.formula != "C":
        _two_elements(atoms, step.formula, bonds[step.formula])
    state.atoms = Atoms(atoms.symbols, positions=atoms.positions, cell=atoms.cell, pbc=True)


def _two_elements(atoms: Atoms, formula: str, bond: float) -> None:
    """Assign two elements that alternate along the bonds."""
    first, second = ("B", "N") if formula == "BN" else ("Si", "C")
    centres, neighbours = neighbor_list("ij", atoms, 1.2 * bond)
    colour = {0: first}
    waiting = [0]
    for atom in waiting:
        for other in neighbours[centres == atom]:
            if int(other) not in colour:
                colour[int(other)] = second if colour[atom] == first else first
                waiting.append(int(other))
    atoms.set_chemical_symbols([colour[i] for i in range(len(atoms))])
