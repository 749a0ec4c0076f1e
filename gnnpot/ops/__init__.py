"""Operators: functions of arrays of which models are made.

    from gnnpot.ops.rms_norm import rms_norm

Each is a file (or folder) with its equation, a reference in PyTorch, a kernel for the processor, the pullback (VJP:
from a gradient of the result to those of the arguments) and the tangent (JVP: from tangents of the arguments to that of
the result).
Here belongs what several models call: spherical harmonics, the tensor product, gates, norms, activations, tables of
radial functions; `rows.py` says how features lie in flat arrays, `simd` is the language of the kernels. A model's own
algebra stands in `gnnpot.models`, as do kernels that fuse a whole layer (`gnnpot.models.fast`), which compile these
into themselves.
"""
