"""Adsorption energies of a molecule on the inequivalent sites of a slab.

    result = calc(slab, calculator, AdsorptionConfig(molecule="CO"))
    result.sites[0].energy, result.sites[0].kind

    E_ads = E(slab + molecule) - E(slab) - E(molecule)                                                          (1)

E_ads is negative if the molecule binds. Slab and molecule are relaxed with the lower part of the slab fixed. The
molecule starts with its binding atom down at top, bridge and hollow sites (pymatgen's `AdsorbateSiteFinder`: Montoya
and Persson, npj Comput. Mater. 3, 14 (2017)). The surface normal is on the side of the third cell vector.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from ase import Atoms
from ase.build import molecule as molecule_of
from ase.calculators.calculator import BaseCalculator
from ase.constraints import FixAtoms
from ase.data import atomic_numbers
from ase.io import write
from pymatgen.core.adsorption import AdsorbateSiteFinder
from pymatgen.io.ase import AseAtomsAdaptor

from gnnpot.data.structures import StructureLike, as_atoms
from gnnpot.domains import INTEGER_FROM_0, POSITIVE, check_fields
from gnnpot.errors import ConfigError, DataError
from gnnpot.properties.relaxed import energy_of, relaxed
from gnnpot.runs.progress import Progress, no_progress

#: Å, vacuum around the isolated molecule
_EMPTY = 10.0


@dataclass(frozen=True, eq=False)
class AdsorptionSite:
    """Adsorption of a molecule on one of the inequivalent sites."""

    kind: str  #: kind of the initial site: ontop, bridge or hollow
    start: tuple[float, float, float]  #: Å, initial position of the binding atom
    energy: float  #: eV, adsorption energy (1), relaxed
    height: float  #: Å, height of the binding atom above the highest atom of the slab
    shift: float  #: Å, lateral displacement of the binding atom in relaxation; if large, it has moved to another site
    atoms: Atoms  #: relaxed structure


@dataclass(frozen=True, eq=False)
class Adsorption:
    """Adsorption of a molecule on a slab."""

    slab: str  #: chemical formula
    molecule: str  #: chemical formula
    slab_energy: float  #: eV, energy of the slab
    molecule_energy: float  #: eV, energy of the isolated molecule, or `AdsorptionConfig.reference`
    sites: tuple[AdsorptionSite, ...]  #: sorted by energy

    def to_json(self) -> dict[str, Any]:
        """All fields, with units in the keys; structures as symbols, positions and cell."""
        return {
            "slab": self.slab,
            "molecule": self.molecule,
            "adsorption_energy_eV": self.sites[0].energy,
            "site": self.sites[0].kind,
            "slab_energy_eV": self.slab_energy,
            "molecule_energy_eV": self.molecule_energy,
            "sites": [
                {
                    "kind": s.kind,
                    "energy_eV": s.energy,
                    "height_A": s.height,
                    "shift_A": s.shift,
                    "start_A": list(s.start),
                    "symbols": list(s.atoms.symbols),
                    "positions_A": s.atoms.positions.tolist(),
                    "cell_A": s.atoms.cell.array.tolist(),
                }
                for s in self.sites
            ],
        }

    def save_structures(self, path: Path) -> None:
        """Write the relaxed structures as extended XYZ, sorted by energy."""
        write(str(path), [s.atoms for s in self.sites], format="extxyz")

    def plot(self, path: Path) -> None:
        """Save a plot of the energies, with the lowest structure from the side and from above, as PNG."""
        from ase.visualize.plot import plot_atoms

        from gnnpot.runs.pages import COLORS, new_figure, tidy

        figure = new_figure(3)
        axes = figure.add_subplot(1, 3, 1)
        place = np.arange(len(self.sites))
        axes.bar(place, [s.energy for s in self.sites], color=COLORS[0], width=0.7)
        axes.axhline(0, color="black", linewidth=0.7)
        for x, site in zip(place, self.sites, strict=True):
            axes.annotate(
                f"{site.energy:.2f}", (x, site.energy), xytext=(0, -2 if site.energy < 0 else 2),
                textcoords="offset points", ha="center", va="top" if site.energy < 0 else "bottom", fontsize=8,
            )  # fmt: skip
        kinds = [s.kind for s in self.sites]
        names = [
            f"{kind} {kinds[: k + 1].count(kind)}" if kinds.count(kind) > 1 else kind for k, kind in enumerate(kinds)
        ]
        axes.set_xticks(place, names)
        axes.margins(y=0.1)
        axes.set(xlabel="site", ylabel="adsorption energy, eV", title=f"{self.molecule} on {self.slab}")
        tidy(axes)
        axes.grid(False, axis="x")
        # repeated, since the molecule may be at the edge of the cell
        shown = self.sites[0].atoms.copy()
        shown.set_constraint()
        shown = shown.repeat((2, 2, 1))
        for k, rotation in enumerate(("-90x", "")):
            view = figure.add_subplot(1, 3, k + 2)
            plot_atoms(shown, view, rotation=rotation, show_unit_cell=0)
            view.set_axis_off()
            view.set_title(f"{names[0]}, from {'the side' if k == 0 else 'above'}", fontsize=9)
        figure.savefig(path)


@dataclass(frozen=True, slots=True)
class AdsorptionConfig:
    """Options of `calc`.

    Args:
        molecule: Name of the molecule in ASE's database, such as CO or H2O, or an element for a single atom.
        adsorbate: Structure of the molecule, instead of a name.
        binding_atom: Index of the atom of the molecule that is closest to the surface.
        distance: Å, initial distance from the surface to the binding atom.
        held: Lower fraction of the slab's thickness in which atoms are fixed; ignored if the slab has constraints.
        reference: eV, E(molecule) in (1), such as half the energy of H2 for H; default: the energy of the molecule.
        relax: Relax slab, molecule and slab with molecule; otherwise calculate the given structures.
        fmax: eV/Å, convergence threshold of the largest force.
    """

    molecule: str | None = None
    adsorbate: StructureLike | None = None
    binding_atom: Annotated[int, INTEGER_FROM_0] = 0
    distance: Annotated[float, POSITIVE] = 2.0
    held: float = 0.5
    reference: float | None = None
    relax: bool = True
    fmax: Annotated[float, POSITIVE] = 0.02

    def __post_init__(self) -> None:
        check_fields(self)
        if (self.molecule is None) == (self.adsorbate is None):
            raise ValueError("give either molecule, a name as CO, or adsorbate, a structure")


def calc(
    atoms: StructureLike,
    calculator: BaseCalculator,
    config: AdsorptionConfig,
    *,
    progress: Progress = no_progress,
) -> Adsorption:
    """Calculate the adsorption energies of a molecule on a slab.

    Args:
        atoms: Slab with a vacuum along the third cell vector.
        calculator: Any ASE calculator.
        config: Molecule and options.
        progress: Called with the progress of sites and relaxations.

    Returns:
        Adsorption energy and relaxed structure for each inequivalent site, sorted by energy.

    Raises:
        ConfigError: The name of the molecule is unknown to ASE, or `binding_atom` is not an index of its atoms.
        DataError: The structure is not a slab with a right-handed cell, periodic along its first two vectors.
        SimulationError: A relaxation fails.
    """
    slab, alone = _slab(as_atoms(atoms).copy(), config.held), _molecule(config)
    if config.relax:
        slab = relaxed(slab, calculator, fmax=config.fmax, what="adsorption: slab", progress=progress)
    slab_energy = energy_of(slab, calculator)
    if config.reference is None and config.relax and len(alone) > 1:
        alone = relaxed(alone, calculator, fmax=config.fmax, what="adsorption: molecule", progress=progress)
    reference = energy_of(alone, calculator) if config.reference is None else config.reference
    upright = _upright(alone, config.binding_atom, _normal(slab))
    starts = _starts(slab, config.distance)
    found = []
    for k, (kind, start) in enumerate(starts):
        progress("adsorption: sites", k, len(starts))
        both = slab.copy()
        placed = upright.copy()
        placed.positions += start
        both += placed
        final = relaxed(both, calculator, fmax=config.fmax, what=f"adsorption: {kind}") if config.relax else both
        energy = energy_of(final, calculator) - slab_energy - reference
        found.append(_site(kind, start, energy, final, len(slab), config.binding_atom))
    progress("adsorption: sites", len(starts), len(starts))
    names = slab.get_chemical_formula(), alone.get_chemical_formula()
    return Adsorption(*names, slab_energy, reference, tuple(sorted(found, key=lambda s: s.energy)))


def _slab(slab: Atoms, held: float) -> Atoms:
    if slab.cell.rank < 3 or not slab.pbc[:2].all() or slab.cell.handedness != 1:
        raise DataError(
            f"adsorption: {slab.get_chemical_formula()} is no slab; give one with a right-handed cell, periodic along "
            "its first two vectors"
        )
    if not slab.constraints:
        height = slab.positions @ _normal(slab)
        slab.set_constraint(FixAtoms(mask=height < height.min() + held * np.ptp(height) + 1e-6))
    return slab


def _normal(slab: Atoms) -> np.ndarray:
    """Unit vector along the outward normal of the upper surface."""
    normal = np.cross(slab.cell[0], slab.cell[1])
    return normal / np.linalg.norm(normal)


def _molecule(config: AdsorptionConfig) -> Atoms:
    """The isolated molecule, in a non-periodic box."""
    if config.adsorbate is not None:
        alone = as_atoms(config.adsorbate).copy()
    else:
        name = str(config.molecule)
        try:
            alone = Atoms(name) if name in atomic_numbers else molecule_of(name)
        except (KeyError, NotImplementedError, ValueError):
            raise ConfigError(f"molecule: ASE's database has no '{name}'; give a structure as adsorbate") from None
    if config.binding_atom >= len(alone):
        raise ConfigError(f"binding_atom: {config.binding_atom} is no index of {len(alone)} atoms")
    alone.set_constraint()
    alone.pbc = False
    alone.center(vacuum=_EMPTY)
    return alone


def _upright(alone: Atoms, binding_atom: int, normal: np.ndarray) -> Atoms:
    """Copy of the molecule with the binding atom at the origin and its centre above it, along the slab normal."""
    upright = alone.copy()
    upright.positions -= upright.positions[binding_atom]
    centre = upright.positions.mean(axis=0)
    if np.linalg.norm(centre) > 1e-6:
        upright.rotate(centre, normal, center=(0, 0, 0))
    return upright


def _starts(slab: Atoms, distance: float) -> list[tuple[str, np.ndarray]]:
    """Kind and position of the binding atom (Å) for each inequivalent site."""
    bare = Atoms(slab.numbers, slab.positions, cell=slab.cell, pbc=True)
    finder = AdsorbateSiteFinder(AseAtomsAdaptor.get_structure(bare))
    sites = finder.find_adsorption_sites(distance=distance, put_inside=True)
    return [(kind, np.asarray(place)) for kind in ("ontop", "bridge", "hollow") for place in sites[kind]]


def _site(kind: str, start: np.ndarray, energy: float, final: Atoms, count: int, binding_atom: int) -> AdsorptionSite:
    normal = _normal(final)
    place = final.positions[count + binding_atom]
    moved = place - start
    along = moved - (moved @ normal) * normal
    height = place @ normal - (final.positions[:count] @ normal).max()
    where = tuple(float(x) for x in start)
    return AdsorptionSite(kind, where, energy, float(height), float(np.linalg.norm(along)), final)  # type: ignore[arg-type]
