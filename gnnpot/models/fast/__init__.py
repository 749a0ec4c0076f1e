"""Compiled backends: energies and edge gradients of models on the CPU, with explicitly coded derivatives.

The reference implementation of a model is in `gnnpot/models`. It follows the equations of the paper, and PyTorch
differentiates it. The backend here computes the same values with much less memory traffic:

- Functions of a distance or an angle come from tables, with the exact derivative of the table (`ops.radial_table`).
- Edges are processed in tiles that stay in the first-level cache, from gathering to summation (`gated`,
  `equivariant_layer`), with SIMD vectors of sixteen numbers (`ops.simd`).
- The backward pass recomputes values where this is faster than writing them to memory and reading them again.
- Training takes two passes with one derivative each, instead of a second derivative (`training`, `gated_jvp`).

A test for each model compares the backend with the reference.
"""
