"""Partial occupancies: refused by default, ordered where asked, with what was chosen."""

import pytest
from ase.io import read

from gnnpot.data.ordering import order_structure
from gnnpot.data.structure_files import read_structure
from gnnpot.errors import DataError
from tests.data.cif import cif_text

CORNERS = ((0, 0, 0), (0.5, 0.5, 0), (0.5, 0, 0.5), (0, 0.5, 0.5))


def cif(path, a, sites):
    path.write_text(cif_text(a, sites))
    return path


@pytest.fixture
def alloy(tmp_path):
    """Fe0.6Ni0.4 on the sites of a face-centred cubic cell."""
    return cif(tmp_path / "alloy.cif", 3.58, [(s, p, x) for p in CORNERS for s, x in (("Fe", 0.6), ("Ni", 0.4))])


@pytest.fixture
def salt(tmp_path):
    """Rock salt of Na and half of its sites for Cl doubled: charges decide where the vacancies are."""
    sodium = [("Na", p, 0.5) for p in CORNERS]
    chlorine = [("Cl", ((x + 0.5) % 1, y, z), 0.5) for x, y, z in CORNERS]
    return cif(tmp_path / "salt.cif", 5.64, sodium + chlorine)


def test_they_are_refused_unless_ordered(alloy):
    with pytest.raises(DataError, match="gnnpot data order"):
        read_structure(alloy)


def test_an_alloy_takes_the_smallest_supercell(alloy):
    ordered = order_structure(alloy)
    assert sorted(ordered.cells) == [1, 1, 5] and ordered.atoms.get_chemical_formula() == "Fe12Ni8"
    assert ordered.charges == {} and ordered.words == ("20 sites with 0.6 Fe 0.4 Ni: 12 Fe, 8 Ni",)
    assert ordered.atoms.get_volume() == pytest.approx(5 * 3.58**3)
    assert order_structure(alloy, (1, 5, 1)).cells == (1, 5, 1)


def test_charges_decide(salt):
    """Two ions of each kind on four sites each: neighbours have the other sign."""
    ordered = order_structure(salt)
    assert ordered.cells == (1, 1, 1) and ordered.atoms.get_chemical_formula() == "Cl2Na2"
    assert ordered.charges == {"Na": 1.0, "Cl": -1.0}
    distances = ordered.atoms.get_all_distances(mic=True)
    unlike = [
        distances[i, j] for i in range(4) for j in range(4) if ordered.atoms.numbers[i] != ordered.atoms.numbers[j]
    ]
    assert min(unlike) == pytest.approx(2.82)


@pytest.mark.parametrize(
    ("cells", "words"),
    [((1, 1, 1), "off a whole one"), ((0, 1, 1), "three whole numbers"), ((20, 20, 20), "more than the")],
)
def test_supercells_that_do_not_fit(alloy, cells, words):
    with pytest.raises(DataError, match=words):
        order_structure(alloy, cells)


def test_what_can_not_be_ordered(tmp_path):
    whole = cif(tmp_path / "whole.cif", 3.6, [("Cu", p, 1) for p in CORNERS])
    with pytest.raises(DataError, match="nothing to order"):
        order_structure(whole)
    odd = cif(tmp_path / "odd.cif", 3.6, [("Cu", p, 0.735) for p in CORNERS[:1]])
    with pytest.raises(DataError, match="whole in no supercell of up to"):
        order_structure(odd)
    (tmp_path / "broken.cif").write_text("data_\nloop_\n")
    with pytest.raises(DataError, match="can't be read"):
        order_structure(tmp_path / "broken.cif")
    with pytest.raises(DataError, match="no such file"):
        order_structure(tmp_path / "missing.cif")


def test_the_command(alloy, tmp_path, monkeypatch):
    from typer.testing import CliRunner

    from gnnpot.cli.data import app

    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["order", "alloy.cif"])
    assert result.exit_code == 0, result.output
    assert "20 sites with" in result.output and "any ordering was as good" in " ".join(result.output.split())
    assert read("alloy-ordered.cif").get_chemical_formula() == "Fe12Ni8"
    assert isinstance(CliRunner().invoke(app, ["order", "alloy.cif"]).exception, DataError)
