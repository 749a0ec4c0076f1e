"""Weighted tensor product of features and spherical harmonics, summed over the neighbours of each atom.

    m_i^(l3) = Σ_j w_p(r_ij) ⊙ Σ C_p x_j^(l1) Y^(l2)(r̂_ij),     for each path p = (l1, l2, l3)                     (1)

where ⊙ multiplies channel by channel and C_p are the coupling constants. The results of paths with the same l3 are side
by side as channels. Source: Batzner et al., Nat. Commun. 13, 2453 (2022), eq. 8.

    sums = tensor_product(features, harmonics, weights, edge_index, paths)     # reference, in PyTorch
    sums = product_over_bonds(layout, ends, features, harmonics, weights)      # kernels: twice differentiable, and JVP

| file                                                | contents                                                     |
|-----------------------------------------------------|--------------------------------------------------------------|
| `coupling.py`                                       | paths and coupling constants                                 |
| `reference.py`                                      | the reference implementation                                 |
| `layout.py`                                         | layout of features, messages, weights and constants          |
| `edges.py`, `table.py`                              | kernels for predictions, with weights from a table           |
| `scalar_paths.py`, `scalar_paths_backward.py`       | the same for paths with a scalar                             |
| `over_bonds.py`, `bonds.py`                         | autograd function and kernels for training                   |
"""

from gnnpot.ops.tensor_product.coupling import coupling, coupling_paths
from gnnpot.ops.tensor_product.layout import ProductLayout
from gnnpot.ops.tensor_product.over_bonds import product_over_bonds
from gnnpot.ops.tensor_product.reference import tensor_product

__all__ = ["ProductLayout", "coupling", "coupling_paths", "product_over_bonds", "tensor_product"]
