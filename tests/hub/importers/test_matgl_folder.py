"""Folders of matgl's M3GNet potentials: what matgl gives for them, and what is refused."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from torch_geometric.data import Batch
from typer.testing import CliRunner

import gnnpot
from gnnpot.cli import app
from gnnpot.errors import CheckpointError, ConfigError
from gnnpot.hub import importing, opening
from gnnpot.hub.checkpoint import load_checkpoint
from gnnpot.hub.importers.matgl_folder import convert_folder
from gnnpot.hub.reference_structures import energy_deviations

HERE = Path(__file__).parent
STRUCTURES = json.loads((HERE / "published.json").read_text())["structures"]
REFERENCES = {v: json.loads((HERE / f"matgl-{v}.json").read_text()) for v in ("1.2.7", "4.0.3", "4.1.2")}


@pytest.fixture
def saved(tmp_path, monkeypatch):
    """A function that saves a made-up potential as matgl does, with other options if asked."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[3] / "scripts" / "fixtures"))
    from made_up_weights import made_up_state

    def save(version, name="potential", **options):
        reference, folder = REFERENCES[version], tmp_path / name
        description = json.loads(json.dumps(reference["description"]))
        description["kwargs"]["model"]["init_args"].update(options)
        state = made_up_state(reference["shapes"])
        state |= {k: torch.tensor(v, dtype=torch.float64) for k, v in reference["buffers"].items()}
        folder.mkdir()
        (folder / "model.json").write_text(json.dumps(description))
        torch.save(state, folder / "state.pt")
        return folder

    return save


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GNNPOT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.mark.parametrize("version", REFERENCES)
def test_gives_what_the_version_gives(saved, version):
    """Smooth functions, wider perceptrons, and the convention of each version, as MatPES's potentials have them."""
    potential, _ = convert_folder(saved(version), "made-up", version)
    assert potential.model.config.hidden == 128 and potential.model.config.three_body_basis == "smooth"
    for dtype, scale in ((torch.float64, 1e-2), (torch.float32, 1.0)):
        ours = potential.to(dtype)
        for name, expected in REFERENCES[version]["results"].items():
            found = ours(ours.graph(Atoms(**STRUCTURES[name], pbc=True)))
            assert abs(float(found.energy) - expected["energy"]) < scale * 1e-5 * len(found.forces), name
            np.testing.assert_allclose(found.forces, expected["forces"], rtol=0, atol=scale * 1e-4, err_msg=name)
            np.testing.assert_allclose(found.stress[0], expected["stress"], rtol=0, atol=scale * 1e-5, err_msg=name)


@pytest.mark.parametrize("version", ["1.2.7", "4.0.3"])
def test_rows_do_not_depend_on_the_batch(saved, version):
    potential = convert_folder(saved(version), "made-up", version)[0].double()
    graphs = [potential.graph(Atoms(**STRUCTURES[name], pbc=True)) for name in ("NaCl", "water", "slab")]
    singles = torch.cat([potential(g).energy for g in graphs])
    batch = potential(Batch.from_data_list(graphs)).energy
    torch.testing.assert_close(batch, singles, rtol=0, atol=1e-9)


def test_versions_mean_different_energies():
    energies = {v: REFERENCES[v]["results"]["alloy"]["energy"] for v in REFERENCES}
    assert min(abs(energies[a] - energies[b]) for a in energies for b in energies if a != b) > 0.01


def test_a_folder_of_an_old_version_needs_no_hint(saved, cache):
    folder = saved("1.2.7")
    target = importing.import_folder(folder, "mine")
    potential, card = load_checkpoint(target)
    assert potential.model.config.matgl == "2.2" and card.training["matgl that trained it"] == "1.2 or older"
    assert set(card.training["sha256 of the files"]) == {"model.json", "state.pt"}
    assert "not matgl" in card.reference_energies_from and card.licence == "not stated in the folder"
    assert max(map(abs, energy_deviations(gnnpot.load("mine"), card.reference_structures))) < 1e-5
    with pytest.raises(CheckpointError, match="in the cache already .* --force"):
        importing.import_folder(folder, "mine")


def test_the_readme_tells_licence_and_data(saved):
    folder = saved("1.2.7")
    (folder / "README.md").write_text("---\nlicense: mit\n---\n# Training dataset\n\nMatPES: many structures.\nMore.\n")
    _, card = convert_folder(folder, "mine")
    assert card.licence == "mit" and card.training_data == "MatPES: many structures."


def test_a_known_folder_brings_its_name_and_card(saved, cache):
    folder = saved("1.2.7", "M3GNet-MatPES-PBE-v2025.1-PES")
    result = CliRunner().invoke(app, ["import", str(folder)])
    assert result.exit_code == 0 and result.stdout.startswith("m3gnet-matpes-pbe-2025.1: "), result.output
    _, card = load_checkpoint(opening.locate("m3gnet-matpes-pbe-2025.1"))
    assert card.functional == "PBE" and "BSD" in card.licence and card.metrics and card.references
    rows = json.loads(CliRunner().invoke(app, ["models", "--json"]).stdout)
    row = next(row for row in rows if row["name"] == card.name)
    assert (row["licence"], row["energy_reference"]) == ("BSD-3-Clause", "PBE")
    wrong = folder.rename(folder.with_name("M3GNet-MatPES-r2SCAN-v2025.1-PES"))
    with pytest.raises(CheckpointError, match="is not M3GNet-MatPES-r2SCAN.*energy scale"):
        importing.import_folder(wrong)


def test_matpes_potentials_have_names(published):
    for name, functional in (("m3gnet-matpes-pbe-2025.1", "PBE"), ("m3gnet-matpes-r2scan-2025.1", "r2SCAN")):
        potential = published(name)
        assert potential.model.config.matgl == "2.2" and len(potential.elements) == 89
        _, card = load_checkpoint(opening.locate(name))
        assert card.functional == functional and "BSD" in card.licence and card.metrics and card.references
    with pytest.raises(CheckpointError, match="did you mean 'm3gnet-matpes-pbe-2025.1'"):
        gnnpot.load("m3gnet-matpes-pbe")


@pytest.mark.parametrize(
    ("options", "arguments", "words"),
    [
        ({"use_phi": True}, {}, "use_phi = True; only False is known"),
        ({"dim_edge_embedding": 32}, {}, "dim_edge_embedding = 32"),
        ({"units": 64}, {}, "not laid out as expected"),
        ({"dropout": None}, {}, "does not tell which version of matgl .* --trained-with 4.1.2"),
        ({}, {"trained_with": "newest"}, "is no version of matgl"),
    ],
)
def test_what_is_not_known_is_refused(saved, options, arguments, words):
    with pytest.raises(CheckpointError, match=words):
        convert_folder(saved("1.2.7", **options), "mine", **arguments)


def test_nothing_in_the_folder_is_executed(saved, tmp_path):
    class Harm:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "harmed",))

    folder = saved("1.2.7")
    for content in ({"model": Harm()}, None):
        torch.save(content, folder / "state.pt") if content else (folder / "state.pt").write_bytes(b"version https://")
        with pytest.raises(CheckpointError, match="not laid out as expected"):
            convert_folder(folder, "mine")
    assert not (tmp_path / "harmed").exists()
    (folder / "state.pt").unlink()
    with pytest.raises(CheckpointError, match=r"state.pt: can't be read .* give a folder with model.json and state.pt"):
        convert_folder(folder, "mine")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("7net-0", "is the name of another potential"),
        ("fast", "is the name of another potential"),
        ("../mine", "is no name"),
        (None, "needs a name"),
    ],
)
def test_names_that_can_not_be_given(saved, cache, name, words):
    with pytest.raises(CheckpointError, match=words):
        importing.import_folder(saved("1.2.7"), name)


def test_the_command_line_says_what_it_misses(saved, cache):
    folder = str(saved("1.2.7"))
    for line, error, words in (
        (["import", "7net-0", "--name", "mine"], ConfigError, "--name: is for a folder"),
        (["import", folder, folder, "--name", "mine"], ConfigError, "--name: is for one folder"),
        (["card", folder], CheckpointError, "is a potential of matgl; import it first"),
    ):
        result = CliRunner().invoke(app, line)
        assert isinstance(result.exception, error) and words in str(result.exception), result.output
