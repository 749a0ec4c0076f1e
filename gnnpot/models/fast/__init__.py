"""Fast forms: a model's energies and their edge gradient on the processor, the derivative written out by hand.

The reference form of a model, in the file named after it, reads as its paper, and PyTorch differentiates it. The fast
form beside it calculates the same numbers with far less memory traffic:

- matrix products go to PyTorch, everything between two of them is one pass over memory (`kernels`);
- what the backward pass needs is stored as derivatives, so that it consists of products only;
- atoms are taken in blocks whose features stay in the caches, and buffers are used again from step to step.

A test for each model holds the two forms together.
"""
