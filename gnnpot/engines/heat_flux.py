"""The heat flux of atoms in motion, for potentials whose atoms depend on neighbours of neighbours too.

    flux = heat_flux(atoms, gnnpot.Calculator(dtype="float64"))
    flux.total / atoms.get_volume()          # eV/Å²/fs

The heat flux is the rate of the barycentre of the energy. With the energies U_i of the atoms,

    J = d/dt Σ_i r_i E_i = Σ_i E_i v_i + Σ_j W_j v_j,    E_i = ½ m_i v_i² + U_i,                                (1)
    W_j = Σ_i (r_i - r_j) ⊗ ∂U_i/∂r_j,                   Σ_j W_j = -V σ,                                        (2)

where i runs over the atoms of the cell and j over all atoms and images on which U_i depends. With L layers of message
passing these are up to L cutoffs away from i, so that (2) needs the images apart from their atoms: the derivatives are
taken in a graph in which they are atoms of their own (`graphs.unfolded`), and added to those of their atoms then. They
are four: of Σ_i U_i, and of the three components of Σ_i r_i U_i with fixed r_i.

The virials of `potential` (equation 4 there), from which `stresses` of the calculator are made, have the same sum, but
divide each edge's part equally between its two atoms. They tell where the stress is, but give no heat flux: (1) with
them is not the rate of the energy's barycentre, not even for a pair potential with energies of its own.

Equation (1) follows Langer, Knoop, Carbogno, Scheffler and Rupp, Phys. Rev. B 108, L100302 (2023).

| symbol | variable       | shape     | unit    |
|--------|----------------|-----------|---------|
| J      | total          | [3]       | eV Å/fs |
| W_j    | flux_virials   | [N, 3, 3] | eV      |
| v_i    | velocities     | [N, 3]    | Å/fs    |
"""

from dataclasses import dataclass

import numpy as np
import torch
from ase import Atoms, units

from gnnpot.engines.calculator import Calculator
from gnnpot.errors import ConfigError
from gnnpot.graphs import Graph
from gnnpot.graphs.size import GraphSize, check_memory
from gnnpot.graphs.unfolded import Unfolded, unfold
from gnnpot.potential import Potential, forces_from_edges
from gnnpot.torch_modes import usual_modes

#: derivatives that are kept at once, in units of what a prediction takes
_PASSES = 4


@dataclass(frozen=True, eq=False)
class HeatFlux:
    """Equation (1). Divide by the volume for a flux density."""

    virial: np.ndarray  #: [3] eV Å/fs, Σ_j W_j v_j: what atoms do to each other; nearly all of it in a solid
    convective: np.ndarray  #: [3] eV Å/fs, Σ_i E_i v_i: what atoms carry with them, element references included

    @property
    def total(self) -> np.ndarray:
        """[3] eV Å/fs."""
        return self.virial + self.convective


def heat_flux(atoms: Atoms, calculator: Calculator) -> HeatFlux:
    """The heat flux of atoms with their velocities.

    Args:
        atoms: With momenta; their centre of mass should be at rest.
        calculator: In float64 for more than five digits.

    Returns:
        Its two parts and their sum, [3] eV Å/fs each.

    Raises:
        ConfigError, MemoryNeedError: As `flux_virials`.
    """
    energies, virials = _energies_and_virials(atoms, calculator)
    velocities = atoms.get_velocities()
    kinetic = 0.5 * atoms.get_masses() * (velocities**2).sum(axis=1)
    virial = np.einsum("jkl,jl->k", virials, velocities)
    convective = (energies + kinetic) @ velocities
    return HeatFlux(virial * units.fs, convective * units.fs)


def flux_virials(atoms: Atoms, calculator: Calculator) -> np.ndarray:
    """W_j of equation (2), [N, 3, 3] eV: the first index is that of the flux, the second that of the velocity.

    Args:
        atoms: A molecule, or periodic along any directions.
        calculator: Of a potential of gnnpot.

    Returns:
        W_j, [N, 3, 3] eV.

    Raises:
        ConfigError: The calculator is not gnnpot's, or its model doesn't say how far atoms depend on each other.
        MemoryNeedError: The atoms with their images need more memory than there is.
    """
    return _energies_and_virials(atoms, calculator)[1]


def _energies_and_virials(atoms: Atoms, calculator: Calculator) -> tuple[np.ndarray, np.ndarray]:
    """U_i [N] eV and W_j [N, 3, 3] eV."""
    if not isinstance(calculator, Calculator):
        raise ConfigError(
            f"heat flux: {type(calculator).__name__} has no energies of atoms that can be differentiated; give a "
            "gnnpot.Calculator"
        )
    potential = calculator.potential
    hops = _hops(potential)
    with usual_modes():
        graph = calculator.graph(atoms).to("cpu")
        # remembered neighbours reach further than the potential, and each further hop starts from them
        near, _ = graph.within(potential.cutoff)
        unfolded = unfold(near, hops, potential.three_body_cutoff)
        _check_memory(potential, unfolded, len(atoms))
        return _derivatives(potential, unfolded, len(atoms))


def _hops(potential: Potential) -> int:
    """How many edges away the atoms are on which an atom's energy depends."""
    found = 1
    for model in (potential.model, *potential.terms):
        if model.hops is None:
            raise ConfigError(
                f"heat flux: {type(model).__name__} does not say on which atoms an atom's energy depends (hops); use "
                "another potential"
            )
        found = max(found, model.hops)
    return found


def _check_memory(potential: Potential, unfolded: Unfolded, atoms: int) -> None:
    graph = unfolded.graph
    triplets = graph.get("triplet_index")
    size = GraphSize(len(unfolded.owner), graph.num_edges, 0 if triplets is None else triplets.shape[1])
    if potential.device.type == "cpu":
        check_memory(_PASSES * potential.memory(size), f"heat flux of {atoms} atoms with their images", size)


def _derivatives(potential: Potential, unfolded: Unfolded, atoms: int) -> tuple[np.ndarray, np.ndarray]:
    graph = unfolded.graph.to(potential.device)
    places = graph.positions - graph.positions[:atoms].mean(0)
    vectors = graph.edge_vectors.detach().requires_grad_()
    with torch.enable_grad():
        prediction = potential(graph.clone_with_edge_vectors(vectors), forces=False, stress=False)
        energies = prediction.energies[:atoms]
        sums = [energies.sum(), *(places[:atoms].T @ energies)]
        slopes = [_position_gradient(total, vectors, graph) for total in sums]
    # [M, 3, 3]: of the barycentre with fixed places, less the place of what is differentiated with respect to
    parts = torch.stack(slopes[1:], dim=1) - places[:, :, None] * slopes[0][:, None, :]
    owner = torch.as_tensor(unfolded.owner, device=parts.device)
    virials = parts.new_zeros(atoms, 3, 3).index_add(0, owner, parts)
    return energies.detach().cpu().numpy(), virials.cpu().numpy()


def _position_gradient(total: torch.Tensor, vectors: torch.Tensor, graph: Graph) -> torch.Tensor:
    """Derivative of `total` with respect to the positions, [M, 3]."""
    if len(vectors) == 0 or not total.requires_grad:
        return vectors.new_zeros(graph.numbers.shape[0], 3)
    (gradient,) = torch.autograd.grad(total, vectors, retain_graph=True)
    return -forces_from_edges(gradient, graph)
