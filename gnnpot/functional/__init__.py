"""Orbital-free density functional theory: Kohn-Sham references, kinetic energy functionals, self-consistent densities."""
