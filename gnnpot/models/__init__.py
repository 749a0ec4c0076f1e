"""Models: graph -> energy per atom. One file an architecture, its config class beside it."""
