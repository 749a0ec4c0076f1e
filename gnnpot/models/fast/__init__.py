"""Compiled backends: a model's energies and their edge gradient on the processor, the derivative written out by hand.

The reference implementation of a model, in the file named after it, reads as its paper, and PyTorch differentiates it.
The backend here calculates the same numbers with far less memory traffic:

- functions of a distance or an angle come from tables, with the exact derivative of the table (`ops.radial_table`);
- what belongs to a few edges stays in the first cache from what they gather to what they are added to (`gated`,
  `equivariant_layer`), sixteen numbers at a time (`ops.simd`);
- the backward pass calculates anew what would take longer to be written to memory and read again;
- training takes two passes with one derivative each, not the derivative of a derivative (`training`, `gated_jvp`).

A test for each model compares the two.
"""
