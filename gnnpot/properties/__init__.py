"""Calculation of material properties, one in each file or folder.

Each property is calculated from structures and a calculator by `calc(atoms, calculator, ...)`. The result is a frozen
dataclass with units, uncertainties where available, `to_json()` and `plot(path)`. Relaxation and molecular dynamics
are in `engines`.
"""
