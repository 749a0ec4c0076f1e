"""Heat flux of moving atoms, for potentials with any number of message-passing layers.

    flux = heat_flux(atoms, gnnpot.Calculator(dtype="float64"))
    flux.total / atoms.get_volume()          # eV/Å²/fs

The heat flux is the time derivative of the energy barycentre. With the energies U_i of the atoms,

    J = d/dt Σ_i r_i E_i = Σ_i E_i v_i + Σ_j W_j v_j,    E_i = ½ m_i v_i² + U_i,                                (1)
    W_j = Σ_i (r_i - r_j) ⊗ ∂U_i/∂r_j,                   Σ_j W_j = -V σ,                                        (2)

where i runs over the atoms of the cell and j over all atoms and images on which U_i depends. With L message-passing
layers these are up to L cutoffs away from i, so (2) must distinguish images from the original atoms: derivatives are
taken in a graph in which images are separate atoms (`graphs.unfolded`), and then added to those of the original atoms.
Four derivatives are needed: of Σ_i U_i, and of the three components of Σ_i r_i U_i with fixed r_i.

The virials of `potential` (equation 4 there), from which the calculator obtains `stresses`, have the same sum, but
divide the contribution of each edge equally between its two atoms. They are not suitable for the heat flux: with them,
(1) is not the time derivative of the energy barycentre, not even for a pair potential with its own atomic energies.

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
from gnnpot.torch_modes import default_modes

#: memory for the derivatives, in units of the memory of a prediction
_PASSES = 4


@dataclass(frozen=True, eq=False)
class HeatFlux:
    """Equation (1). Divide by the volume for a flux density."""

    virial: np.ndarray  #: [3] eV Å/fs, Σ_j W_j v_j: by interaction; in a solid, nearly all of the heat flux
    convective: np.ndarray  #: [3] eV Å/fs, Σ_i E_i v_i: by motion of the atoms; E_i includes reference energies

    @property
    def total(self) -> np.ndarray:
        """J, [3] eV Å/fs."""
        return self.virial + self.convective


def heat_flux(atoms: Atoms, calculator: Calculator) -> HeatFlux:
    """Calculate the heat flux J of equation (1).

    Args:
        atoms: Atoms with momenta; their centre of mass should be at rest.
        calculator: Calculator of gnnpot; float64 for more than five digits.

    Returns:
        The two parts of J and their sum, [3] eV Å/fs each.

    Raises:
        ConfigError, MemoryNeedError: See `flux_virials`.
    """
    energies, virials = _energies_and_virials(atoms, calculator)
    velocities = atoms.get_velocities()
    kinetic = 0.5 * atoms.get_masses() * (velocities**2).sum(axis=1)
    virial = np.einsum("jkl,jl->k", virials, velocities)
    convective = (energies + kinetic) @ velocities
    return HeatFlux(virial * units.fs, convective * units.fs)


def flux_virials(atoms: Atoms, calculator: Calculator) -> np.ndarray:
    """Calculate the virials W_j of equation (2).

    Args:
        atoms: A molecule, or a structure that is periodic along any directions.
        calculator: Calculator of gnnpot.

    Returns:
        W_j, [N, 3, 3] eV; the first Cartesian index is that of the flux, the second that of the velocity.

    Raises:
        ConfigError: The calculator is not gnnpot's, or its model does not define the range of its energies (`hops`).
        MemoryNeedError: The atoms with their images need more memory than is available.
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
    with default_modes():
        graph = calculator.graph(atoms).to("cpu")
        # the neighbour list includes the skin, which would be added to the range of each hop
        near, _ = graph.within(potential.cutoff)
        unfolded = unfold(near, hops, potential.three_body_cutoff)
        _check_memory(potential, unfolded, len(atoms))
        return _derivatives(potential, unfolded, len(atoms))


def _hops(potential: Potential) -> int:
    """Largest number of edges between an atom and those that its energy depends on."""
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
    # [M, 3, 3]: Σ_i (r_i - r_j) ⊗ ∂U_i/∂r_j, as the derivative of Σ_i r_i U_i with fixed r_i, less r_j ⊗ Σ_i ∂U_i/∂r_j
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
