"""Reference implementation of the tensor product in PyTorch, path by path."""

from collections.abc import Sequence

import torch
from torch import Tensor

from gnnpot.ops.tensor_product.coupling import coupling


def tensor_product(
    features: Sequence[Tensor],
    harmonics: Sequence[Tensor],
    weights: Tensor,
    edge_index: Tensor,
    paths: Sequence[tuple[int, int, int]],
) -> list[Tensor]:
    """Equation (1) of `gnnpot.ops.tensor_product`.

    Args:
        features: x_l of the atoms, [N, 2l+1, channels] for each l.
        harmonics: Y_l of the edges, [E, 2l+1] for each l.
        weights: w_p of the edges, side by side for all paths, [E, sum of the paths' widths]. The width of a path is the
            number of channels of x_l1.
        edge_index: Centre and neighbour of each edge, [2, E].
        paths: (l1, l2, l3) of each product.

    Returns:
        Sums over neighbours, [N, 2l+1, channels of all paths with l3 = l] for each l.
    """
    centre, neighbor = edge_index
    parts = weights.split([features[l1].shape[2] for l1, _, _ in paths], dim=1)
    at_neighbor = [x.index_select(0, neighbor) for x in features]
    sums: list[list[Tensor]] = [[] for _ in range(1 + max(l3 for _, _, l3 in paths))]
    for (l1, l2, l3), w in zip(paths, parts, strict=True):
        rotation = torch.einsum("ijk,ej->eki", coupling(l1, l2, l3).to(w), harmonics[l2])
        message = (rotation @ at_neighbor[l1]) * w[:, None, :]
        sums[l3].append(message.new_zeros(len(features[0]), *message.shape[1:]).index_add(0, centre, message))
    return [torch.cat(found, -1) for found in sums]
