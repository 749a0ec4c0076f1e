"""Surface energies of a crystal, and its equilibrium shape (Wulff construction).

    result = calc(atoms, calculator, SurfaceConfig(max_index=1))
    result.surfaces[0].miller, result.surfaces[0].energy
    result.area_fractions[1, 1, 1]

The surface energy of a slab with N atoms and two equivalent faces of area A is

    γ = (E_slab - N e) / (2 A),                                                                                 (1)

with the energy per atom e of the crystal, calculated in the oriented cell from which the slab is cut. pymatgen creates
slabs for all terminations up to a maximum Miller index. Equation (1) applies only to slabs with equivalent faces and
the composition of the crystal; others are listed in `skipped`. The Wulff shape is enclosed by the planes of all
surfaces at distances from the centre proportional to γ.

Source: Tran et al., Sci. Data 3, 160080 (2016).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import numpy as np
from ase.calculators.calculator import BaseCalculator
from pymatgen.analysis.wulff import WulffShape
from pymatgen.core import Structure
from pymatgen.core.surface import Slab, generate_all_slabs
from pymatgen.io.ase import AseAtomsAdaptor
from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

from gnnpot.data.structures import StructureLike, as_atoms
from gnnpot.domains import INTEGER_FROM_1, POSITIVE, check_fields
from gnnpot.errors import ConfigError, DataError
from gnnpot.properties.relaxed import crystal_of, energy_of, relaxed
from gnnpot.runs.progress import Progress, no_progress

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: 1 eV/Å² in J/m²
JOULE_PER_SQUARE_METRE = 16.02176634
Miller = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Surface:
    """Surface of a crystal, with a certain termination."""

    miller: Miller
    shift: float  #: position of the cut along the normal, in layers of the crystal
    energy: float  #: J/m², surface energy, relaxed
    unrelaxed_energy: float  #: J/m², surface energy before relaxation
    atoms: int  #: number of atoms in the slab
    area: float  #: Å², area of one face


@dataclass(frozen=True, eq=False)
class Surfaces:
    """Surfaces of a crystal."""

    formula: str
    surfaces: tuple[Surface, ...]  #: sorted by energy
    skipped: tuple[tuple[Miller, str], ...]  #: terminations to which equation (1) does not apply, with the reason
    area_fractions: dict[Miller, float]  #: area fractions of the Wulff shape; empty if a γ is not positive
    mean_energy: float  #: J/m², area-weighted mean over the Wulff shape; NaN without one
    conventional_cell: np.ndarray  #: [3, 3] Å, cell to which the Miller indices refer

    def energy_of(self, miller: Miller) -> float:
        """Lowest energy (J/m²) of all terminations of a plane. Raises `ConfigError` if there is none."""
        found = [s.energy for s in self.surfaces if s.miller == miller]
        if not found:
            raise ConfigError(f"{miller}: is not among {sorted({s.miller for s in self.surfaces})}")
        return min(found)

    def to_json(self) -> dict[str, Any]:
        """All fields, with units in the keys."""
        return {
            "formula": self.formula,
            "mean_energy_J_m2": self.mean_energy,
            "surfaces": [
                {
                    "miller": list(s.miller),
                    "shift": s.shift,
                    "energy_J_m2": s.energy,
                    "unrelaxed_energy_J_m2": s.unrelaxed_energy,
                    "atoms": s.atoms,
                    "area_A2": s.area,
                }
                for s in self.surfaces
            ],
            "area_fractions": {"".join(map(str, m)): f for m, f in self.area_fractions.items()},
            "skipped": [{"miller": list(m), "reason": r} for m, r in self.skipped],
            "conventional_cell_A": self.conventional_cell.tolist(),
        }

    def plot(self, path: Path) -> None:
        """Save a plot of the surface energies and the Wulff shape as PNG."""
        from gnnpot.runs.pages import COLORS, new_figure, tidy

        figure = new_figure(2)
        axes = figure.add_subplot(1, 2, 1)
        names = [f"({' '.join(map(str, s.miller))})" for s in self.surfaces]
        place = np.arange(len(names))
        millers = sorted({s.miller for s in self.surfaces}, key=self.energy_of)
        colors = {m: COLORS[k % len(COLORS)] for k, m in enumerate(millers)}
        axes.barh(place, [s.energy for s in self.surfaces], color=[colors[s.miller] for s in self.surfaces])
        axes.plot(
            [s.unrelaxed_energy for s in self.surfaces],
            place,
            "|",
            color="black",
            markersize=18,
            markeredgewidth=1.5,
            label="before relaxation",
        )
        for x, surface in zip(place, self.surfaces, strict=True):
            middle, text = surface.energy / 2, f"{surface.energy:.2f}"
            axes.text(middle, float(x), text, ha="center", va="center", color="white", fontsize=10)
        axes.set_yticks(place, names)
        # room for the legend above the first bar
        axes.set_ylim(len(names) - 0.5, -0.9)
        axes.set(xlabel="surface energy, J/m²", title=self.formula)
        axes.legend(frameon=False, fontsize=8)
        tidy(axes)
        self._draw_shape(figure, colors)
        figure.savefig(path)

    def _draw_shape(self, figure: "Figure", colors: dict[Miller, str]) -> None:
        axes: Any = figure.add_subplot(1, 2, 2, projection="3d")
        axes.set_axis_off()
        if not self.area_fractions:
            axes.set_title("no shape: a surface energy is not positive", fontsize=9)
            return
        from mpl_toolkits.mplot3d.art3d import Poly3DCollection

        shape = _wulff(self.conventional_cell, self.surfaces)
        points = np.asarray(shape.wulff_pt_list)
        for facet in shape.facets:
            if facet.points:
                line = np.array(shape.get_line_in_facet(facet))
                h, k, l = (int(x) for x in shape.miller_list[facet.index])
                part = Poly3DCollection([line], facecolors=[colors[h, k, l]], edgecolors=["white"], linewidth=0.8)
                axes.add_collection3d(part)
        size = np.abs(points).max()
        axes.set(xlim=(-size, size), ylim=(-size, size), zlim=(-size, size))
        axes.set_box_aspect((1, 1, 1), zoom=1.3)
        fractions = [f"({' '.join(map(str, m))}) {100 * f:.0f} %" for m, f in self.area_fractions.items() if f > 0.005]
        axes.set_title(f"Wulff shape: {', '.join(fractions)}", fontsize=9)


@dataclass(frozen=True, slots=True)
class SurfaceConfig:
    """Options of `calc`.

    Args:
        max_index: Largest Miller index, with respect to the conventional cell.
        thickness: Å, minimum thickness of a slab.
        vacuum: Å, minimum vacuum between slabs; should exceed the range of the potential.
        relax: Relax the crystal with its cell first, and the positions in slabs.
        fmax: eV/Å, convergence threshold of the largest force in slabs.
    """

    max_index: Annotated[int, INTEGER_FROM_1] = 1
    thickness: Annotated[float, POSITIVE] = 12.0
    vacuum: Annotated[float, POSITIVE] = 12.0
    relax: bool = True
    fmax: Annotated[float, POSITIVE] = 0.01

    def __post_init__(self) -> None:
        check_fields(self)


def calc(
    atoms: StructureLike,
    calculator: BaseCalculator,
    config: SurfaceConfig | None = None,
    *,
    progress: Progress = no_progress,
) -> Surfaces:
    """Calculate the surface energies of a crystal.

    Args:
        atoms: Crystal.
        calculator: Any ASE calculator.
        config: Options; default: `SurfaceConfig()`.
        progress: Called with the progress of the relaxation and the number of slabs done.

    Returns:
        Surface energy of each termination (J/m²), and the Wulff shape.

    Raises:
        DataError: The structure is not a crystal, or equation (1) applies to none of the slabs.
        SimulationError: A relaxation fails.
    """
    config = config or SurfaceConfig()
    crystal = crystal_of(atoms, "surface")
    if config.relax:
        crystal = relaxed(crystal, calculator, cell="full", what="surface: crystal", progress=progress)
    structure = SpacegroupAnalyzer(
        AseAtomsAdaptor.get_structure(crystal), symprec=0.01
    ).get_conventional_standard_structure()
    slabs = generate_all_slabs(structure, config.max_index, config.thickness, config.vacuum, center_slab=True)
    found, skipped = [], []
    for k, slab in enumerate(slabs):
        progress("surface: slabs", k, len(slabs))
        reason = _unequal(slab, structure)
        if reason:
            skipped.append((_miller(slab), reason))
        else:
            found.append(_surface(slab, calculator, config.relax, config.fmax))
    progress("surface: slabs", len(slabs), len(slabs))
    if not found:
        raise DataError(
            f"{structure.composition.reduced_formula}: none of its slabs up to index {config.max_index} has two equal "
            "faces and the crystal's composition; a higher max_index may have one"
        )
    return _result(structure, found, skipped)


def _result(structure: Structure, found: list[Surface], skipped: list[tuple[Miller, str]]) -> Surfaces:
    ordered = tuple(sorted(found, key=lambda s: s.energy))
    shape = _wulff(structure.lattice.matrix, ordered) if ordered[0].energy > 0 else None
    areas = {} if shape is None else shape.area_fraction_dict
    return Surfaces(
        formula=structure.composition.reduced_formula,
        surfaces=ordered,
        skipped=tuple(skipped),
        area_fractions={(int(h), int(k), int(l)): float(share) for (h, k, l), share in areas.items()},
        mean_energy=float("nan") if shape is None else float(shape.weighted_surface_energy),
        conventional_cell=np.asarray(structure.lattice.matrix),
    )


def _miller(slab: Slab) -> Miller:
    a, b, c = (int(x) for x in slab.miller_index)
    return a, b, c


def _unequal(slab: Slab, crystal: Structure) -> str:
    """Reason why equation (1) does not apply to a slab; empty if it does."""
    if slab.composition.reduced_formula != crystal.composition.reduced_formula:
        return f"its composition is {slab.composition.reduced_formula}"
    return "" if slab.is_symmetric() else "its faces are different"


def _surface(slab: Slab, calculator: BaseCalculator, relax: bool, fmax: float) -> Surface:
    bulk = as_atoms(cast("Structure", slab.oriented_unit_cell))
    per_atom = energy_of(bulk, calculator) / len(bulk)
    cut = as_atoms(slab)
    cut.pbc = True
    final = relaxed(cut, calculator, fmax=fmax, what=f"surface: {slab.miller_index}") if relax else cut
    factor = JOULE_PER_SQUARE_METRE / (2 * slab.surface_area)
    after, before = (factor * (energy_of(a, calculator) - len(a) * per_atom) for a in (final, cut))
    return Surface(_miller(slab), float(slab.shift), after, before, len(cut), float(slab.surface_area))


def _wulff(conventional: np.ndarray, surfaces: tuple[Surface, ...]) -> WulffShape:
    from pymatgen.core import Lattice

    lowest: dict[Miller, float] = {}
    for surface in surfaces:
        lowest[surface.miller] = min(surface.energy, lowest.get(surface.miller, np.inf))
    return WulffShape(Lattice(conventional), list(lowest), list(lowest.values()))
