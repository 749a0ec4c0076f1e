"""Molecules from names, formulas or SMILES, and their orientation."""

import numpy as np
from ase import Atoms
from ase.build import molecule as g2_molecule
from ase.data import atomic_numbers

from gnnpot.builder.library import library
from gnnpot.builder.recipe import Molecule, Rotate
from gnnpot.builder.state import State
from gnnpot.errors import suggest

BUCKMINSTERFULLERENE = "C60"


def molecule(step: Molecule, state: State) -> None:
    """Create a molecule, with a cell if vacuum or a box is requested."""
    state.atoms = make(step.name, state)
    if step.vacuum is not None or step.box is not None:
        put_in_cell(state, step.vacuum, step.box)


def put_in_cell(state: State, vacuum: float | None, box: float | None) -> None:
    """Add a periodic cell with `vacuum` (Å) on each side of the structure, or a cubic cell with edge `box` (Å)."""
    if box is None:
        state.atoms.center(vacuum=vacuum)
    else:
        largest = float(np.ptp(state.atoms.positions, axis=0).max())
        if box < largest + 1.0:
            raise state.error("box_narrow", box=f"{box:g}", size=f"{largest:.1f}")
        state.atoms.set_cell([box] * 3)
        state.atoms.center()
    state.atoms.pbc = True


def identify(name: str) -> str | None:
    """Return the library's key of a molecule, given its formula or its name in either language; `None` if unknown."""
    known = library().molecules
    if name in known:
        return name
    lowered = name.lower()
    for key, entry in known.items():
        if lowered in (key.lower() if len(key) > 2 else key, *(n.lower() for n in (*entry["en"], *entry["ja"]))):
            return key
    return None


def make(name: str, state: State) -> Atoms:
    """Return a molecule with its centre of mass at the origin, without a cell."""
    key = identify(name)
    if key is not None:
        entry = library().molecules[key]
        atoms = _from_entry(entry, state)
    elif name in atomic_numbers:
        atoms = Atoms(name)
    elif looks_like_smiles(name):
        atoms = from_smiles(name, state)
    else:
        near = suggest(name, [*library().molecules, *(n for e in library().molecules.values() for n in e["en"])])
        raise state.error("no_molecule", name=name, hint=f" ({near})" if near.startswith("did you mean") else "")
    atoms.positions -= atoms.get_center_of_mass()
    return atoms


def _from_entry(entry: dict, state: State) -> Atoms:
    if "g2" in entry:
        atoms = g2_molecule(entry["g2"])
        return Atoms(atoms.numbers, positions=atoms.positions)
    if "cluster" in entry:
        atoms = g2_molecule(BUCKMINSTERFULLERENE)
        return Atoms(atoms.numbers, positions=atoms.positions)
    return from_smiles(entry["smiles"], state)


def looks_like_smiles(text: str) -> bool:
    """Whether a text contains bonds, rings or brackets of SMILES, or at least three letters of its atoms only."""
    return bool(set(text) & set("=#()[]123456789@/\\")) or (len(text) > 2 and set(text) <= set("CNOSFcnosHBrl"))


def from_smiles(smiles: str, state: State) -> Atoms:
    """Return the geometry of a SMILES string, from RDKit's distance geometry and the MMFF94 force field."""
    try:
        from rdkit import Chem, RDLogger
        from rdkit.Chem import AllChem as forcefield
    except ImportError:
        raise state.error("needs_rdkit", smiles=smiles) from None
    RDLogger.DisableLog("rdApp.*")  # type: ignore[attr-defined]
    plain = Chem.MolFromSmiles(smiles) if len(smiles) <= 200 else None
    if plain is None:
        raise state.error("bad_smiles", smiles=smiles[:60])
    full = Chem.AddHs(plain)
    if full.GetNumAtoms() > 300:
        raise state.error("too_many_atoms", atoms=full.GetNumAtoms(), limit=300)
    if forcefield.EmbedMolecule(full, randomSeed=1) != 0:  # type: ignore[attr-defined]
        raise state.error("bad_smiles", smiles=smiles)
    if forcefield.MMFFHasAllMoleculeParams(full):  # type: ignore[attr-defined]
        forcefield.MMFFOptimizeMolecule(full, maxIters=2000)  # type: ignore[attr-defined]
    symbols = [atom.GetSymbol() for atom in full.GetAtoms()]
    return Atoms(symbols, positions=full.GetConformer().GetPositions())


def binding_atom(name: str, atoms: Atoms, wanted: str | None, state: State) -> int:
    """Return the index of the atom that points to the surface; its element is `wanted`, or the one in the library."""
    symbols = atoms.get_chemical_symbols()
    key = identify(name)
    element = wanted or (library().molecules[key]["binds"] if key else symbols[0])
    if element not in symbols:
        raise state.error("binding_element", element=element, molecule=name)
    candidates = [i for i, s in enumerate(symbols) if s == element]
    # the atom farthest from the centre is free to bind
    far = np.linalg.norm(atoms.positions - atoms.positions.mean(axis=0), axis=1)
    return max(candidates, key=lambda i: (round(far[i], 3), -i))


def upright(atoms: Atoms, binding: int) -> Atoms:
    """Return the molecule rotated so that the binding atom is the lowest and the molecule stands above it."""
    atoms = atoms.copy()
    axis = atoms.positions.mean(axis=0) - atoms.positions[binding]
    if np.linalg.norm(axis) < 1e-3:
        return atoms
    atoms.rotate(axis, "z")
    return atoms


def flat(atoms: Atoms) -> Atoms:
    """Return the molecule rotated so that its longest directions are parallel to the surface."""
    atoms = atoms.copy()
    centred = atoms.positions - atoms.positions.mean(axis=0)
    _, _, axes = np.linalg.svd(centred, full_matrices=True)
    if np.linalg.det(axes) < 0:
        axes[2] *= -1
    atoms.positions = centred @ axes.T
    return atoms


def is_flat(name: str) -> bool:
    """Whether the molecule lies flat on surfaces according to the library."""
    key = identify(name)
    return bool(key and library().molecules[key].get("flat"))


def rotate(step: Rotate, state: State) -> None:
    """Rotate the particle, the adsorbates, or a structure without a cell about their centre."""
    atoms = state.atoms
    if "part" in atoms.arrays and (atoms.arrays["part"] > 0).any():
        chosen = atoms.arrays["part"] > 0
    elif state.adsorbed.any():
        chosen = state.adsorbed
    elif not atoms.pbc.any():
        chosen = np.ones(len(atoms), bool)
    else:
        raise state.error("rotate_what")
    part = atoms[chosen]
    part.rotate(step.angle, step.axis, center=part.positions.mean(axis=0))
    atoms.positions[chosen] = part.positions
