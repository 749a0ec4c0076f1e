"""Potentials look the same in every picture."""

from gnnpot.runs.pages import _POTENTIALS, COLORS, styles_of


def test_a_potential_keeps_its_style_in_any_company():
    assert styles_of(["7net-0"])["7net-0"] == styles_of(["gnnpot-1", "mine", "7net-0"])["7net-0"]


def test_no_two_potentials_of_a_picture_look_alike():
    names = ["gnnpot-1", "7net-0", *(f"mine-{k}" for k in range(2 * len(COLORS)))]
    styles = styles_of(names)
    assert list(styles) == names and len(set(styles.values())) == len(names)


def test_lines_differ_where_all_colors_are_taken():
    styles = styles_of([*_POTENTIALS, "mine", "yours"])
    assert len({(style.color, style.line) for style in styles.values()}) == len(styles)
