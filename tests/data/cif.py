"""Crystals with partial occupancies as CIF."""

from collections.abc import Sequence

HEAD = """data_test
_cell_length_a {a}
_cell_length_b {a}
_cell_length_c {a}
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
_symmetry_space_group_name_H-M '{group}'
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
_atom_site_occupancy
"""


def cif_text(a: float, sites: Sequence[tuple[str, tuple[float, float, float], float]], group: str = "P 1") -> str:
    """A cubic cell of edge a (Å) with sites (symbol, fractional coordinates, occupancy), and its space group."""
    lines = [f"{symbol}{k} {symbol} {x} {y} {z} {share}" for k, (symbol, (x, y, z), share) in enumerate(sites)]
    return HEAD.format(a=a, group=group) + "\n".join(lines) + "\n"
