"""Cards are read without their weights, and refused for what they are."""

from pathlib import Path

import pytest

from gnnpot.errors import CheckpointError
from gnnpot.hub import importing
from gnnpot.hub.cache import checkpoint_folder
from gnnpot.hub.checkpoint import CARD, WEIGHTS, Card, save_checkpoint
from gnnpot.hub.locating import locate, open_card
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


def test_a_tilde_is_refused_with_the_path_to_give(entries, tmp_path, monkeypatch):
    """In Python, YAML and LAMMPS input, no shell replaces it."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    with pytest.raises(CheckpointError) as error:
        locate(Path("~/mine"))
    assert str(error.value).endswith(f"only a shell replaces the '~'; give the whole path, {tmp_path / 'mine'}")


def test_a_file_is_refused_with_the_folder_to_give(entries, tmp_path):
    folder = save_checkpoint(tmp_path / "mine", convert("", {})[0], Card(name="mine"))
    with pytest.raises(CheckpointError, match="is a file, but a potential is a folder") as error:
        locate(folder / WEIGHTS)
    assert str(error.value).endswith(f"; give its folder, {folder}")
    (tmp_path / "of-others.pth").write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"pth: is a file, .*; give a folder with card.json or input.nn"):
        locate(tmp_path / "of-others.pth")
