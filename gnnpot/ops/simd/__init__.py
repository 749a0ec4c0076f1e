"""The language of kernels: sixteen numbers at a time (`vectors`), functions of them, small matrix products (`tiles`).

Functions take whole arrays and positions in them, and are compiled into the kernels that call them.
"""
