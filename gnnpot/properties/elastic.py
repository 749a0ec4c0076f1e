"""Elastic tensor of a crystal: stiffness, polycrystalline averages, mechanical stability.

    result = calc(atoms, calculator)
    result.bulk_modulus, result.stiffness[0, 0], result.stable
    result.plot(Path("elastic.png"))

The relaxed crystal is strained by ε in each of the six Voigt components, its atoms are relaxed, and the stress is
fitted by

    σ_a(ε_b) = C_ab ε_b + D_ab ε_b²                                                                             (1)

for each component b (with the engineering shear γ = 2 ε for b = 4, 5, 6). D accounts for the deviation from Hooke's
law, so the error of C is of third order in ε. The tensor is then averaged over the crystal's symmetry. The bulk and
shear moduli of a polycrystal lie between the Reuss (constant stress) and Voigt (constant strain) averages; the Hill
average is their mean. The crystal is stable if all eigenvalues of C are positive (Born criterion; Mouhat and Coudert,
Phys. Rev. B 90, 224104 (2014)).

The uncertainty is the difference from a fit to the smaller strains only, without the error of the potential.

Tensor, averages and symmetry by pymatgen (`pymatgen.analysis.elasticity`): de Jong et al., Sci. Data 2, 150009 (2015).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator
from pymatgen.analysis.elasticity import ElasticTensor
from pymatgen.core.tensors import Tensor
from pymatgen.io.ase import AseAtomsAdaptor

from gnnpot.data.structures import StructureLike
from gnnpot.domains import POSITIVE, check_fields
from gnnpot.properties.relaxed import crystal_of, relaxed, stress_of
from gnnpot.runs.progress import Progress, no_progress
from gnnpot.units import GPA, VOIGT

#: Voigt order of both pymatgen and ASE
_NAMES = ("xx", "yy", "zz", "yz", "xz", "xy")


@dataclass(frozen=True, eq=False)
class Elasticity:
    """Elastic tensor of a crystal, and derived quantities."""

    formula: str
    stiffness: np.ndarray  #: [6, 6] GPa, Voigt order xx, yy, zz, yz, xz, xy, along the axes of the given cell
    stiffness_uncertainty: np.ndarray  #: [6, 6] GPa
    bulk_modulus_voigt: float  #: GPa
    bulk_modulus_reuss: float  #: GPa
    shear_modulus_voigt: float  #: GPa
    shear_modulus_reuss: float  #: GPa
    bulk_modulus_uncertainty: float  #: GPa, of the Hill average
    shear_modulus_uncertainty: float  #: GPa, of the Hill average
    residual_stress: float  #: GPa, the largest stress component of the unstrained crystal

    @property
    def bulk_modulus(self) -> float:
        """Bulk modulus, Hill average, GPa."""
        return 0.5 * (self.bulk_modulus_voigt + self.bulk_modulus_reuss)

    @property
    def shear_modulus(self) -> float:
        """Shear modulus, Hill average, GPa."""
        return 0.5 * (self.shear_modulus_voigt + self.shear_modulus_reuss)

    @property
    def young_modulus(self) -> float:
        """Young's modulus of a polycrystal, from Hill averages, GPa."""
        return 9 * self.bulk_modulus * self.shear_modulus / (3 * self.bulk_modulus + self.shear_modulus)

    @property
    def poisson_ratio(self) -> float:
        """Poisson's ratio of a polycrystal, from Hill averages."""
        k, g = self.bulk_modulus, self.shear_modulus
        return (3 * k - 2 * g) / (6 * k + 2 * g)

    @property
    def universal_anisotropy(self) -> float:
        """Anisotropy, 0 if isotropic (Ranganathan and Ostoja-Starzewski, Phys. Rev. Lett. 101, 055504 (2008))."""
        shear = 5 * self.shear_modulus_voigt / self.shear_modulus_reuss
        return shear + self.bulk_modulus_voigt / self.bulk_modulus_reuss - 6

    @property
    def eigenvalues(self) -> np.ndarray:
        """Eigenvalues of the stiffness, ascending, [6] GPa."""
        return np.linalg.eigvalsh(self.stiffness)

    @property
    def stable(self) -> bool:
        """Whether every small strain increases the energy."""
        return bool(self.eigenvalues[0] > 0)

    def young_modulus_along(self, directions: np.ndarray) -> np.ndarray:
        """Young's modulus along unit vectors `directions` [..., 3], GPa: 1/E = S_ijkl n_i n_j n_k n_l."""
        n = np.asarray(directions, dtype=float)
        # uniaxial unit stress
        stress = np.stack([n[..., i] * n[..., j] for i, j in VOIGT], axis=-1)
        return 1 / np.einsum("...a,ab,...b->...", stress, np.linalg.inv(self.stiffness), stress)

    def to_json(self) -> dict[str, Any]:
        """All fields and derived quantities, with units in the keys."""
        return {
            "formula": self.formula,
            "stiffness_GPa": self.stiffness.tolist(),
            "stiffness_uncertainty_GPa": self.stiffness_uncertainty.tolist(),
            "bulk_modulus_GPa": self.bulk_modulus,
            "bulk_modulus_uncertainty_GPa": self.bulk_modulus_uncertainty,
            "bulk_modulus_voigt_GPa": self.bulk_modulus_voigt,
            "bulk_modulus_reuss_GPa": self.bulk_modulus_reuss,
            "shear_modulus_GPa": self.shear_modulus,
            "shear_modulus_uncertainty_GPa": self.shear_modulus_uncertainty,
            "shear_modulus_voigt_GPa": self.shear_modulus_voigt,
            "shear_modulus_reuss_GPa": self.shear_modulus_reuss,
            "young_modulus_GPa": self.young_modulus,
            "poisson_ratio": self.poisson_ratio,
            "universal_anisotropy": self.universal_anisotropy,
            "eigenvalues_GPa": self.eigenvalues.tolist(),
            "stable": self.stable,
            "residual_stress_GPa": self.residual_stress,
        }

    def plot(self, path: Path) -> None:
        """Save a plot of the tensor, and of Young's modulus along directions in three planes, as PNG."""
        from gnnpot.runs.pages import COLORS, new_figure

        figure = new_figure(2)
        axes = figure.add_subplot(1, 2, 1)
        limit = float(np.abs(self.stiffness).max())
        axes.imshow(self.stiffness, cmap="RdBu_r", vmin=-1.4 * limit, vmax=1.4 * limit)
        for (a, b), value in np.ndenumerate(self.stiffness):
            axes.text(b, a, f"{value:.0f}" if abs(value) >= 0.5 else "0", ha="center", va="center", fontsize=9)
        axes.set(xticks=range(6), yticks=range(6), xticklabels=_NAMES, yticklabels=_NAMES, title="stiffness, GPa")
        axes.tick_params(length=0)
        polar = figure.add_subplot(1, 2, 2, projection="polar")
        angle = np.linspace(0, 2 * np.pi, 361)
        cos, sin, zero = np.cos(angle), np.sin(angle), np.zeros_like(angle)
        if self.stable:
            planes = {"xy": (cos, sin, zero), "xz": (cos, zero, sin), "yz": (zero, cos, sin)}
            for k, (name, components) in enumerate(planes.items()):
                modulus = self.young_modulus_along(np.stack(components, axis=-1))
                polar.plot(angle, modulus, color=COLORS[k], linewidth=1.6, linestyle=("-", "--", ":")[k], label=name)
            polar.legend(
                frameon=False,
                fontsize=8,
                loc="upper right",
                bbox_to_anchor=(1.18, 1.1),
                title="plane",
                title_fontsize=8,
            )
            polar.set_title("Young's modulus along a direction, GPa", fontsize=10)
        else:
            polar.set_title("not stable: no Young's modulus", fontsize=10)
        polar.tick_params(labelsize=7)
        figure.suptitle(
            f"{self.formula}: K = {self.bulk_modulus:.1f} GPa, G = {self.shear_modulus:.1f} GPa (Hill), "
            f"{'stable' if self.stable else 'NOT STABLE'}",
            fontsize=11,
        )
        figure.savefig(path)


@dataclass(frozen=True, slots=True)
class ElasticConfig:
    """Options of `calc`.

    Args:
        strains: ε of equation (1), at least three values; shears are ε_yz = ε, so γ = 2 ε.
        relax: Relax cell and positions first; otherwise the tensor is calculated for the given crystal at its stress.
        fmax: eV/Å, convergence threshold of the largest force.
    """

    strains: tuple[float, ...] = (-0.01, -0.005, 0.005, 0.01)
    relax: bool = True
    fmax: Annotated[float, POSITIVE] = 1e-3

    def __post_init__(self) -> None:
        check_fields(self)
        if len(set(self.strains)) < 3 or 0 in self.strains or max(abs(s) for s in self.strains) > 0.1:
            raise ValueError(
                f"strains: {self.strains} are not three or more different values, not 0 and at most 0.1 in size"
            )


def calc(
    atoms: StructureLike,
    calculator: BaseCalculator,
    config: ElasticConfig | None = None,
    *,
    progress: Progress = no_progress,
) -> Elasticity:
    """Calculate the elastic tensor of a crystal.

    Args:
        atoms: Crystal.
        calculator: Any ASE calculator with stress.
        config: Options; default: `ElasticConfig()`.
        progress: Called with the progress of the relaxation and the number of strained cells done.

    Returns:
        The tensor in the axes of the given cell, and averages.

    Raises:
        DataError: The structure is not a crystal.
        SimulationError: A relaxation fails.
    """
    config = config or ElasticConfig()
    strains = config.strains
    crystal = crystal_of(atoms, "elastic")
    if config.relax:
        what = "elastic: relaxation"
        crystal = relaxed(crystal, calculator, cell="full", fmax=config.fmax, what=what, progress=progress)
    unstrained = stress_of(crystal, calculator)
    stresses = np.empty((6, len(strains), 6))
    for b in range(6):
        for k, strain in enumerate(strains):
            done = b * len(strains) + k
            progress("elastic: strained cells", done, 6 * len(strains))
            bent = strained(crystal, b, strain)
            if len(bent) > 1:
                bent = relaxed(bent, calculator, fmax=config.fmax, what="elastic: strained cell")
            stresses[b, k] = stress_of(bent, calculator)
    progress("elastic: strained cells", 6 * len(strains), 6 * len(strains))
    return _result(crystal, np.asarray(strains), stresses, unstrained)


def strained(atoms: Atoms, component: int, strain: float) -> Atoms:
    """Copy of `atoms` with the symmetric strain ε_ij = ε_ji = `strain` for a Voigt component."""
    i, j = VOIGT[component]
    deformation = np.eye(3)
    deformation[i, j] = deformation[j, i] = (i == j) + strain
    copy = atoms.copy()
    copy.set_cell(atoms.cell.array @ deformation, scale_atoms=True)
    return copy


def _result(crystal: Atoms, strains: np.ndarray, stresses: np.ndarray, unstrained: np.ndarray) -> Elasticity:
    tensor = _symmetrised(_slopes(strains, stresses, unstrained), crystal)
    # the smaller half of the strains, at least two, which together with the unstrained cell determine equation (1)
    inner = np.argsort(np.abs(strains), kind="stable")[: max(2, len(strains) // 2)]
    smaller = _symmetrised(_slopes(strains[inner], stresses[:, inner], unstrained), crystal)
    return Elasticity(
        formula=crystal.get_chemical_formula(empirical=True),
        stiffness=np.asarray(tensor.voigt),
        stiffness_uncertainty=np.abs(np.asarray(tensor.voigt) - np.asarray(smaller.voigt)),
        bulk_modulus_voigt=float(tensor.k_voigt),
        bulk_modulus_reuss=float(tensor.k_reuss),
        shear_modulus_voigt=float(tensor.g_voigt),
        shear_modulus_reuss=float(tensor.g_reuss),
        bulk_modulus_uncertainty=abs(float(tensor.k_vrh - smaller.k_vrh)),
        shear_modulus_uncertainty=abs(float(tensor.g_vrh - smaller.g_vrh)),
        residual_stress=float(np.abs(unstrained).max() / GPA),
    )


def _slopes(strains: np.ndarray, stresses: np.ndarray, unstrained: np.ndarray) -> np.ndarray:
    """C of equation (1), [6, 6] GPa, from stresses [6, S, 6] at strains [S]."""
    design = np.stack([strains, strains**2], axis=1)
    stiffness = np.empty((6, 6))
    for b in range(6):
        factor = 1 if VOIGT[b][0] == VOIGT[b][1] else 2
        stiffness[:, b] = np.linalg.lstsq(design, stresses[b] - unstrained, rcond=None)[0][0] / factor
    return 0.5 * (stiffness + stiffness.T) / GPA


def _symmetrised(stiffness: np.ndarray, crystal: Atoms) -> ElasticTensor:
    """Convert to pymatgen's tensor, averaged over the point group of the crystal."""
    structure = AseAtomsAdaptor.get_structure(crystal)
    tensor: Tensor = ElasticTensor.from_voigt(stiffness)
    return ElasticTensor(tensor.fit_to_structure(structure, symprec=0.01))
