"""Cards are read without their weights, and refused for what they are."""

import pytest

from gnnpot.errors import CheckpointError
from gnnpot.hub import importing
from gnnpot.hub.cache import checkpoint_folder
from gnnpot.hub.checkpoint import CARD, WEIGHTS, Card, save_checkpoint
from gnnpot.hub.locating import open_card
from tests.hub.conftest import convert


def test_a_card_is_that_of_a_name_a_folder_and_a_run(entries, tmp_path):
    content, folder = open_card("web")
    assert content["card"]["name"] == "web@LOW" and folder == checkpoint_folder("web@LOW")
    save_checkpoint(tmp_path / "run" / "model", convert("", {})[0], Card(name="mine"))
    assert open_card(tmp_path / "run")[0]["card"]["name"] == "mine"


def test_weights_are_not_read(entries):
    folder = importing.import_published("web")
    (folder / WEIGHTS).unlink()
    assert open_card("web")[1] == folder


def test_damaged_cards_and_those_of_others_are_refused(entries, tmp_path):
    folder = importing.import_published("web")
    (folder / CARD).write_text((folder / CARD).read_text().replace("cutoff", "cutofF"))
    with pytest.raises(CheckpointError, match="is damaged.*gnnpot import web@LOW --force"):
        open_card("web")
    save_checkpoint(folder, convert("", {})[0], Card(name="mine"), overwrite=True)
    with pytest.raises(CheckpointError, match="holds 'mine' under the name of a published potential"):
        open_card("web")
    # it was imported from a folder, and has no published files
    mine = save_checkpoint(checkpoint_folder("mine"), convert("", {})[0], Card(name="mine"))
    (mine / CARD).write_text("{}")
    with pytest.raises(CheckpointError, match="gnnpot import FOLDER --name mine --force, with the folder it is from"):
        open_card("mine")
    (tmp_path / "input.nn").write_text("")
    with pytest.raises(CheckpointError, match="is an n2p2 potential, which has no card"):
        open_card(tmp_path)
