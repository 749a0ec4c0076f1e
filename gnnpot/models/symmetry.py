"""Descriptor of atoms by symmetry functions: groups of functions for the kernels, and derivatives for autograd."""

import threading
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import torch
from ase.data import atomic_numbers
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from gnnpot.graphs import Graph
from gnnpot.models.layers import scatter_sum
from gnnpot.models.symmetry_batches import FunctionGroup
from gnnpot.models.symmetry_functions import (
    CUTOFF_FUNCTIONS,
    ChebyshevAngular,
    ChebyshevRadial,
    Radial,
    SymmetryFunction,
    Triplets,
    check_functions,
    functions_of,
    is_radial,
)
from gnnpot.models.symmetry_jacobian import angular_jacobian, radial_jacobian
from gnnpot.models.symmetry_kernels import JVP, VALUE, VJP, angular_kernel, radial_kernel

#: smallest number of atoms per thread; for fewer, starting a thread takes longer than it saves
_ATOMS_PER_THREAD = 64


class SymmetryDescriptor(nn.Module):
    """G [N, D] float64: the symmetry functions of each atom, in the order of `functions_of(functions, its element)`.

    `counts` has the number of functions of each element. Rows of elements with fewer than D functions end with zeros.

    `backend` "fast" uses the compiled kernels on the CPU (and the reference on other devices), "reference" the formulas
    of `symmetry_functions`. Both have first derivatives, and mixed second derivatives with respect to edge vectors and
    the parameters of the networks, as needed for training on forces. Second derivatives with respect to positions
    (Hessians) need "reference"; "fast" returns NaN for them instead of wrong values.
    """

    def __init__(self, functions: tuple[SymmetryFunction, ...], elements: tuple[str, ...]) -> None:
        super().__init__()
        check_functions(functions, elements)
        self.functions = [functions_of(functions, e) for e in elements]
        self.counts = [len(f) for f in self.functions]
        self.width = max(self.counts)
        self.cutoff = max(f.cutoff for f in functions)
        self.elements = elements
        self.backend: Literal["fast", "reference"] = "fast"
        self.groups = build_groups(functions, elements)

    def forward(self, graph: Graph, species: Tensor) -> Tensor:
        """Return G [N, D]; `species` [N] is the index of the element of each atom."""
        vectors = graph.edge_vectors.double()
        if self.backend == "fast" and vectors.device.type == "cpu":
            return _FastDescriptor.apply(vectors, _Kernels(self.groups, graph.edge_index, species, self.width))
        return self._reference(vectors, graph.edge_index, species, graph.numbers)

    @torch.no_grad()
    def with_jacobian(self, graph: Graph, species: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Return G [N, D] in float64 and J = dG/dr [E, 3, D] in `dtype`, on the CPU; see `symmetry_jacobian`."""
        vectors = graph.edge_vectors.double()
        kernels = _Kernels(self.groups, graph.edge_index, species, self.width)
        return kernels.value(vectors), kernels.jacobian(vectors, dtype)

    def _reference(self, vectors: Tensor, edge_index: Tensor, species: Tensor, numbers: Tensor) -> Tensor:
        centre, neighbor = edge_index
        distances = torch.linalg.vector_norm(vectors, dim=1)
        z, count = numbers.double()[neighbor], len(species)
        triplets: dict[float, tuple[Tensor, Triplets]] = {}
        columns: dict[SymmetryFunction, Tensor] = {}
        for f in dict.fromkeys(f for functions in self.functions for f in functions):
            if isinstance(f, Radial):
                inside = _is_element(z, getattr(f, "neighbor", None)) & (distances < f.cutoff)
                columns[f] = scatter_sum(f.terms(distances[inside], z[inside]), centre[inside], count)
                continue
            if f.cutoff not in triplets:
                triplets[f.cutoff] = _triplets(vectors, distances, centre, z, f.cutoff)
            centres, t = triplets[f.cutoff]
            one, two = getattr(f, "neighbors", (None, None))
            mask = (_is_element(t.z_j, one) & _is_element(t.z_k, two)) | (
                _is_element(t.z_j, two) & _is_element(t.z_k, one)
            )
            columns[f] = scatter_sum(f.terms(t[mask]), centres[mask], count)
        table = vectors.new_zeros(count, self.width)
        for s, functions in enumerate(self.functions):
            rows = torch.stack([columns[f] for f in functions], dim=1)
            rows = nn.functional.pad(rows, (0, self.width - len(functions)))
            table = torch.where((species == s)[:, None], rows, table)
        return table


def _is_element(z: Tensor, element: str | None) -> Tensor:
    """Mask of the atoms of an element; `None` means any element."""
    return torch.ones_like(z, dtype=torch.bool) if element is None else z == atomic_numbers[element]


def _triplets(vectors: Tensor, distances: Tensor, centre: Tensor, z: Tensor, cutoff: float) -> tuple[Tensor, Triplets]:
    """Centres of the triplets, and the triplets: unordered pairs of edges of a centre, both shorter than `cutoff`."""
    edges = torch.nonzero(distances < cutoff)[:, 0]
    owner = centre[edges]
    _, position, degree = torch.unique_consecutive(owner, return_inverse=True, return_counts=True)
    end = degree.cumsum(0)[position]
    later = end - torch.arange(len(edges), device=end.device) - 1
    index_j = torch.repeat_interleave(torch.arange(len(edges), device=end.device), later)
    start = (later.cumsum(0) - later)[index_j]
    index_k = index_j + 1 + torch.arange(len(index_j), device=end.device) - start
    j, k = edges[index_j], edges[index_k]
    r_jk = torch.linalg.vector_norm(vectors[k] - vectors[j], dim=1)
    cos_theta = (vectors[j] * vectors[k]).sum(1) / (distances[j] * distances[k])
    return owner[index_j], Triplets(distances[j], distances[k], r_jk, cos_theta.clamp(-1, 1), z[j], z[k])


class _Kernels:
    """Calls of the kernels of all groups, for the edges of one graph."""

    def __init__(
        self, groups: list[tuple[bool, FunctionGroup]], edge_index: Tensor, species: Tensor, width: int
    ) -> None:
        self.groups = groups
        self.shape = (len(species), width)
        self.centres = species.numpy()
        self.starts = np.searchsorted(edge_index[0].numpy(), np.arange(len(species) + 1))
        self.neighbors = self.centres[edge_index[1].numpy()]

    def value(self, vectors: Tensor) -> Tensor:
        """G [N, D]."""
        table = np.zeros(self.shape)
        self._run(VALUE, vectors, table, np.empty((0, 3)))
        return torch.from_numpy(table)

    def vjp(self, vectors: Tensor, rows: Tensor) -> Tensor:
        """J^T v [E, 3] for v [N, D]."""
        gradient = np.zeros((len(vectors), 3))
        self._run(VJP, vectors, rows.detach().contiguous().numpy(), gradient)
        return torch.from_numpy(gradient)

    def jvp(self, vectors: Tensor, direction: Tensor) -> Tensor:
        """J u [N, D] for u [E, 3]."""
        table = np.zeros(self.shape)
        self._run(JVP, vectors, table, direction.detach().contiguous().numpy())
        return torch.from_numpy(table)

    def jacobian(self, vectors: Tensor, dtype: torch.dtype) -> Tensor:
        """J [E, 3, D] in `dtype`."""
        jacobian = torch.zeros(len(vectors), 3, self.shape[1], dtype=dtype)
        array, edges = jacobian.numpy(), vectors.detach().contiguous().numpy()

        def work(lo: int, hi: int) -> None:
            for radial, group in self.groups:
                kernel = radial_jacobian if radial else angular_jacobian
                kernel(group, self.starts, self.centres, self.neighbors, edges, lo, hi, array)

        _run_in_threads(work, self.shape[0])
        return jacobian

    def _run(self, mode: int, vectors: Tensor, rows: np.ndarray, edge_rows: np.ndarray) -> None:
        edges = vectors.detach().contiguous().numpy()

        def work(lo: int, hi: int) -> None:
            for radial, group in self.groups:
                kernel = radial_kernel if radial else angular_kernel
                kernel(group, mode, self.starts, self.centres, self.neighbors, edges, lo, hi, rows, edge_rows)

        _run_in_threads(work, self.shape[0])


def _run_in_threads(work: Callable[[int, int], None], atoms: int) -> None:
    """Call `work(lo, hi)` for ranges that cover all atoms, on as many threads as PyTorch uses.

    Threads are started for each call (60 µs each) instead of being kept, so that no state outlives the call. It is
    therefore safe in forked data-loader workers and in several calling threads.
    """
    threads = max(min(torch.get_num_threads(), atoms // _ATOMS_PER_THREAD), 1)
    if threads == 1:
        work(0, atoms)
        return
    # several ranges per thread balance the load if densities vary or other processes are running
    bounds = np.linspace(0, atoms, 4 * threads + 1).astype(int)
    ranges = list(zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True))
    errors: list[BaseException] = []

    def process_ranges() -> None:
        try:
            while ranges:
                work(*ranges.pop())
        except IndexError:
            # another thread took the last range between the two statements
            return
        except BaseException as error:  # noqa: BLE001 - raised by the calling thread below
            errors.append(error)

    helpers = [threading.Thread(target=process_ranges) for _ in range(threads - 1)]
    for helper in helpers:
        helper.start()
    process_ranges()
    for helper in helpers:
        helper.join()
    if errors:
        raise errors[0]


class _FastDescriptor(torch.autograd.Function):
    """G as a function of the edge vectors."""

    @staticmethod
    def forward(ctx: Any, vectors: Tensor, kernels: _Kernels) -> Tensor:
        ctx.save_for_backward(vectors)
        ctx.kernels = kernels
        return kernels.value(vectors)

    @staticmethod
    def backward(ctx: Any, rows: Tensor) -> tuple[Tensor, None]:
        return _FastGradient.apply(ctx.saved_tensors[0], rows, ctx.kernels), None


class _FastGradient(torch.autograd.Function):
    """J^T v as a function of the edge vectors and v; differentiable with respect to v."""

    @staticmethod
    def forward(ctx: Any, vectors: Tensor, rows: Tensor, kernels: _Kernels) -> Tensor:
        ctx.save_for_backward(vectors)
        ctx.kernels = kernels
        return kernels.vjp(vectors, rows)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, direction: Tensor) -> tuple[Tensor, Tensor, None]:
        (vectors,) = ctx.saved_tensors
        # a Hessian needs the first result, training discards it; they cannot be distinguished here
        return torch.full_like(vectors, torch.nan), ctx.kernels.jvp(vectors, direction), None


def build_groups(
    functions: tuple[SymmetryFunction, ...], elements: tuple[str, ...]
) -> list[tuple[bool, FunctionGroup]]:
    """Collect functions with the same kind, cutoff, cutoff function and weights: (whether radial, group) for each."""
    members: dict[tuple, list[SymmetryFunction]] = {}
    for f in functions:
        key = (f.kind, f.cutoff, f.cutoff_function, f.inner_cutoff, getattr(f, "weighted", None))
        members.setdefault(key, []).append(f)
    positions = [{f: k for k, f in enumerate(functions_of(functions, e))} for e in elements]
    return [(is_radial(group[0]), _group(group, elements, positions)) for group in members.values()]


def _group(
    members: list[SymmetryFunction], elements: tuple[str, ...], positions: list[dict[SymmetryFunction, int]]
) -> FunctionGroup:
    """Build a group; `positions` maps functions to their positions in the descriptor, for each element."""
    head = members[0]
    chebyshev = "chebyshev" in head.kind
    resolved = "behler" in head.kind
    radial = sorted({_radial_key(f) for f in members})
    orders = [f.order for f in members if isinstance(f, ChebyshevRadial | ChebyshevAngular)]
    angular = [(0.0, float(k)) for k in range(max(orders, default=-1) + 1)]
    angular = angular or sorted({_angular_key(f) for f in members})
    classes = np.arange(len(elements)) if resolved else np.zeros(len(elements), dtype=np.int64)
    n = int(classes.max()) + 1
    pairs: list[tuple[int, ...]] = [(a, b) for a in range(n) for b in range(a, n)]
    if is_radial(head):
        pairs = [(a,) for a in range(n)]
    columns = np.full((len(elements), len(pairs), len(radial), len(angular)), -1, dtype=np.int64)
    for f in members:
        names = (f.neighbor,) if hasattr(f, "neighbor") else getattr(f, "neighbors", ())
        p = pairs.index(tuple(sorted(elements.index(e) for e in names))) if resolved else 0
        m, a = radial.index(_radial_key(f)), angular.index(_angular_key(f))
        for s, position_of in enumerate(positions):
            if f in position_of:
                if columns[s, p, m, a] >= 0:
                    raise ValueError(f"symmetry_functions: {f} is listed twice")
                columns[s, p, m, a] = position_of[f]
    z = np.array([float(atomic_numbers[e]) for e in elements])
    weighted = "weighted" in head.kind or getattr(head, "weighted", False)
    weight = (z if is_radial(head) else np.sqrt(z)) if weighted else np.ones_like(z)
    return FunctionGroup(
        cutoff=float(head.cutoff),
        cutoff_kind=CUTOFF_FUNCTIONS.index(head.cutoff_function),
        inner=float(head.inner_cutoff),
        uses_r_jk=int(head.kind in ("weighted_angular", "behler_narrow")),
        chebyshev=int(chebyshev),
        eta=np.array([eta for eta, _ in radial]),
        shift=np.array([shift for _, shift in radial]),
        lambda_=np.array([lambda_ for lambda_, _ in angular]),
        zeta=np.array([zeta for _, zeta in angular]),
        weight=weight,
        species_class=classes.astype(np.int64),
        columns=columns,
        active=np.any(columns >= 0, axis=(2, 3)),
    )


def _radial_key(f: SymmetryFunction) -> tuple[float, float]:
    return float(getattr(f, "eta", 0.0)), float(getattr(f, "shift", 0.0))


def _angular_key(f: SymmetryFunction) -> tuple[float, float]:
    return float(getattr(f, "lambda_", 0.0)), float(getattr(f, "order", getattr(f, "zeta", 1.0)))
