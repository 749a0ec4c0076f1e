"""scripts/gnnpot-1/ship_checkpoint.py: a card with a person's words, and energies that anyone can recompute."""

from pathlib import Path

import pytest

from gnnpot.data.references import ElementReferences
from gnnpot.hub.checkpoint import Card, load_checkpoint, save_checkpoint
from gnnpot.hub.reference_structures import TOLERANCE, energy_deviations
from gnnpot.models import M3GNet, M3GNetConfig
from gnnpot.potential import Potential

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("elements, formulas", [(("Cl", "Na"), ["ClNa"]), (("Cu",), ["Cu8", "Cu", "Cu4"])])
def test_it_ships_a_potential_of_any_elements(elements, formulas, tmp_path, load_script):
    ship_checkpoint = load_script("gnnpot-1/ship_checkpoint.py")
    model = M3GNet(M3GNetConfig(elements=elements, units=8, blocks=1, max_n=2, max_l=2))
    references = ElementReferences.from_mapping({"energies": dict.fromkeys(elements, -3.5)})
    card = Card(name="raw", training={"data": {"train": "/somewhere/else/my.store"}})
    trained = save_checkpoint(tmp_path / "run" / "model", Potential(model, references), card)
    ship_checkpoint.main(trained, ROOT / "scripts" / "gnnpot-1" / "card.yaml", tmp_path / "mine")
    potential, card = load_checkpoint(tmp_path / "mine")
    assert card.name == "gnnpot-1" and card.licence == "MIT" and card.training["data"]["train"] == "my.store"
    assert [s.to_atoms().get_chemical_formula() for s in card.reference_structures] == formulas
    assert max(map(abs, energy_deviations(potential, card.reference_structures))) < TOLERANCE
