"""Operators: the array functions from which models are built.

    from gnnpot.ops.rms_norm import rms_norm

Each operator is a file or folder with its equations, a reference implementation in PyTorch, and a kernel for the CPU.
The equations include the pullback (vector-Jacobian product, VJP: from the gradient of the result to the gradients of
the arguments) and the tangent (Jacobian-vector product, JVP: from the tangents of the arguments to that of the result).

This package has the operators that several models use: spherical harmonics, the tensor product, gates, norms,
activations, and tables of radial functions. `rows.py` defines the layout of features in flat arrays; `simd` has the
vector operations for kernels. Operations of a single model are in `gnnpot.models`, kernels that fuse a whole layer in
`gnnpot.models.fast`; the latter inline the kernels of this package.
"""
