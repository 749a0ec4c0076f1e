"""SIMD operations for Numba kernels: vectors of sixteen numbers (`vectors`), functions of them, and small matrix
products (`tiles`).

Functions take whole arrays and positions in them, and are inlined into the kernels that call them.
"""
