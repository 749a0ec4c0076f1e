"""The weighted tensor product of features and harmonics, summed over the neighbours of each atom.

    m_i^(l3) = Σ_j w_p(r_ij) ⊙ Σ C_p x_j^(l1) Y^(l2)(r̂_ij),     for each path p = (l1, l2, l3)                     (1)

where ⊙ is by channels and C are coupling constants; results of paths with the same l3 stand side by side as channels.
Batzner et al., Nat. Commun. 13, 2453 (2022), eq. 8.

    sums = tensor_product(features, harmonics, weights, edge_index, paths)     # the reference, in PyTorch
    sums = product_over_bonds(layout, ends, features, harmonics, weights)      # by kernels; pullback twice, tangent

The reference is in `reference.py`. `edges.py` has the kernels of predictions, with weights from a table of distances
(`table.py`); paths with a scalar have kernels of their own there (`scalar_paths.py`, `scalar_paths_backward.py`).
`bonds.py` and `over_bonds.py` have those of training.
`coupling.py` says which paths there are and what C is, `layout.py` how the kernels see them.
"""

from gnnpot.ops.tensor_product.coupling import coupling, coupling_paths
from gnnpot.ops.tensor_product.layout import ProductLayout
from gnnpot.ops.tensor_product.over_bonds import product_over_bonds
from gnnpot.ops.tensor_product.reference import tensor_product

__all__ = ["ProductLayout", "coupling", "coupling_paths", "product_over_bonds", "tensor_product"]
