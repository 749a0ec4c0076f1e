"""A potential as a repository of the Hugging Face Hub: what is written, under which licence; fetched by the client."""

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
import yaml
from ase.build import bulk
from typer.testing import CliRunner

import gnnpot
from gnnpot.cli import app
from gnnpot.data.references import ElementReferences
from gnnpot.errors import CheckpointError, DownloadError
from gnnpot.extras import MissingExtraError
from gnnpot.hub.card import starting_potential
from gnnpot.hub.licences import licence_of
from gnnpot.hub.publish import publish
from gnnpot.models import M3GNet, M3GNetConfig
from gnnpot.potential import Potential

METRICS = {
    "test": {"frames": 40, "energy_mae": 0.0123, "forces_mae": 0.0456, "stress_mae": 0.00624, "magmoms_count": 0}
}
CARD = gnnpot.Card(
    name="salt", description="NaCl from 40 frames.", licence="MIT", training_data="40 frames of NaCl",
    functional="PBE", energy_reference="raw totals", metrics=METRICS, references=["Chen & Ong (2022)"],
)  # fmt: skip


def make(folder: Path, card: gnnpot.Card = CARD, seed: int = 0) -> Path:
    torch.manual_seed(seed)
    model = M3GNet(M3GNetConfig(elements=("Na", "Cl"), units=4, blocks=1, max_n=2, max_l=2))
    references = ElementReferences.from_mapping({"energies": {"Na": -1.0, "Cl": -2.0}})
    return gnnpot.save_checkpoint(folder, Potential(model, references), card)


def finetuned(**start: str) -> gnnpot.Card:
    given = {"name": "base", "licence": "MIT", "functional": "PBE+U", "energy_reference": "corrected", **start}
    training = {"starting_potential": starting_potential("base", gnnpot.Card(**given))}
    return gnnpot.Card(name="mine", licence="MIT", training=training)


def test_what_is_written(tmp_path):
    made = make(tmp_path / "run" / "model")
    (made / "LICENSE").write_text("as it is")
    out = publish(tmp_path / "run", tmp_path / "out")
    written = {"README.md", "config.json", "card.json", "model.safetensors", "LICENSE"}
    assert {path.name for path in out.iterdir()} == written
    text = (out / "README.md").read_text()
    header = yaml.safe_load(text.split("---")[1])
    assert header["license"] == "mit" and header["library_name"] == "gnnpot" and "m3gnet" in header["tags"]
    assert "| functional of the training data | PBE |" in text and "| what energies mean | raw totals |" in text
    # every figure has its unit
    assert "| Energy, MAE, meV/atom | Force components, MAE, eV/Å | Stress components, MAE, GPa |" in text
    assert "| test (40) | 12.3 | 0.0456 | 1 |" in text and "| cutoff | 5 Å |" in text
    config = json.loads((out / "config.json").read_text())
    assert config["architecture"] == "m3gnet" and config["units"]["forces"] == "eV/Å"
    graph = gnnpot.load(made).graph(bulk("NaCl", "rocksalt", 5.6))
    assert torch.equal(gnnpot.load(out)(graph).energy, gnnpot.load(made)(graph).energy)
    with pytest.raises(CheckpointError, match="exists already"):
        publish(made, out)


def test_functional_and_energies_of_the_starting_potential_are_kept(tmp_path):
    out = publish(make(tmp_path / "model", finetuned()), tmp_path / "out")
    text = (out / "README.md").read_text()
    assert "| fine-tuned from | base |" in text and "| functional of base | PBE+U |" in text
    assert "| energies of base | corrected |" in text and "| licence of base | MIT |" in text
    card = json.loads((out / "card.json").read_text())["card"]
    assert card["functional"] == "PBE+U" and card["energy_reference"] == "corrected"


@pytest.mark.parametrize(
    "card, licence, message",
    [
        (gnnpot.Card(functional="PBE"), "", "has no licence, without which nobody may use it"),
        (gnnpot.Card(licence="MIT"), "", "does not say the functional"),
        (finetuned(licence=""), "", "fine-tuned from base, whose licence is not in the card; ask its owners"),
        (finetuned(licence="CC-BY-ND-4.0"), "", "CC-BY-ND-4.0 does not allow to publish what is made of it"),
        (finetuned(licence="ours alone"), "", "whose licence 'ours alone' is none of MIT"),
        (finetuned(licence="GPL-3.0"), "", "GPL-3.0 holds for what is made of it too; give --licence GPL-3.0"),
        (
            gnnpot.Card(licence="MIT", functional="PBE", training={"start": "elsewhere"}),
            "",
            "licence is not in the card",
        ),
    ],
)
def test_what_may_not_be_published_is_refused(card, licence, message, tmp_path):
    folder = make(tmp_path / "model", card)
    with pytest.raises(CheckpointError, match=message) as refused:
        publish(folder, tmp_path / "out", licence=licence)
    assert not (tmp_path / "out").exists() and "\n" not in str(refused.value)


def test_what_may_be_published(tmp_path):
    folder = make(tmp_path / "model", finetuned(licence="GPL-3.0-or-later"))
    assert publish(folder, tmp_path / "same", licence="GPL-3.0").exists()
    forbidden = make(tmp_path / "other", finetuned(licence="CC-BY-NC-ND-4.0"))
    out = publish(forbidden, tmp_path / "asked", permission="allowed by the authors, 2026-11-01")
    assert "CC-BY-NC-ND-4.0; allowed by the authors, 2026-11-01" in (out / "README.md").read_text()
    # of a card of version 0.1, which has the name only
    old = gnnpot.Card(licence="MIT", training={"start": "m3gnet-mp-2021.2.8"})
    text = (publish(make(tmp_path / "old", old), tmp_path / "from-name") / "README.md").read_text()
    assert "| licence of m3gnet-mp-2021.2.8 | BSD-3-Clause" in text
    # a licence without a name on the Hub
    named = publish(make(tmp_path / "named", gnnpot.Card(functional="PBE")), tmp_path / "hal", licence="HAL 3")
    assert "license: other\nlicense_name: HAL 3" in (named / "README.md").read_text()


def test_spellings_of_licences():
    assert licence_of("BSD-3-Clause (as the package matgl)") == licence_of("Modified BSD")
    assert licence_of("GPL-3.0-only") == licence_of("gpl-3.0") and licence_of("ask us") is None


class Hub:
    """What stands in for the Hub: the files of each commit, and which commit each branch means."""

    def __init__(self) -> None:
        self.commits: dict[str, dict[str, bytes]] = {}
        self.branches: dict[str, str] = {}
        self.asked: list[str] = []
        self.gated = False
        self.url = ""

    def push(self, folder: Path, branch: str = "main") -> str:
        files = {path.name: path.read_bytes() for path in folder.iterdir()}
        commit = hashlib.sha1(b"".join(files.values())).hexdigest()
        self.commits[commit], self.branches[branch] = files, commit
        return commit


class Handler(BaseHTTPRequestHandler):
    hub: Hub

    def _answer(self, body: bool) -> None:
        hub = self.hub
        hub.asked.append(f"{self.command} {self.path}")
        parts = self.path.split("/")
        if parts[1:4] != ["owner", "salt", "resolve"]:
            return self._refuse(401, "RepoNotFound")
        if hub.gated:
            return self._refuse(403, "GatedRepo")
        commit = hub.branches.get(parts[4], parts[4])
        if commit not in hub.commits:
            return self._refuse(404, "RevisionNotFound")
        data = hub.commits[commit].get(parts[5])
        if data is None:
            return self._refuse(404, "EntryNotFound", commit)
        self.send_response(200)
        self.send_header("X-Repo-Commit", commit)
        self.send_header("ETag", f'"{hashlib.sha256(data).hexdigest()}"')
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if body:
            self.wfile.write(data)
        return None

    def _refuse(self, code: int, name: str, commit: str = "") -> None:
        self.send_response(code)
        self.send_header("X-Error-Code", name)
        if commit:
            self.send_header("X-Repo-Commit", commit)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_HEAD(self) -> None:
        self._answer(False)

    def do_GET(self) -> None:
        self._answer(True)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hub(tmp_path, monkeypatch) -> Hub:
    pytest.importorskip("huggingface_hub")
    state = Hub()
    web = ThreadingHTTPServer(("127.0.0.1", 0), type("HubHandler", (Handler,), {"hub": state}))
    state.url = f"http://127.0.0.1:{web.server_port}"
    thread = threading.Thread(target=web.serve_forever, args=(0.02,))
    thread.start()
    monkeypatch.setenv("HF_ENDPOINT", state.url)
    # read once, when the client is imported
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hf-cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_IMPLICIT_TOKEN", True)
    yield state
    web.shutdown()
    thread.join()
    web.server_close()


def energy(name: str) -> float:
    potential = gnnpot.load(name)
    return float(potential(potential.graph(bulk("NaCl", "rocksalt", 5.6))).energy)


def test_a_repository_is_opened_and_kept(hub, tmp_path):
    first = publish(make(tmp_path / "a", seed=1), tmp_path / "first")
    second = publish(make(tmp_path / "b", seed=2), tmp_path / "second")
    old = hub.push(first)
    assert energy("hf:owner/salt") == energy(str(first)) != energy(str(second))
    fetched = len(hub.asked)
    hub.push(second)
    # a branch follows what is pushed; a commit stays
    assert energy("hf:owner/salt") == energy(str(second)) and len(hub.asked) > fetched
    before = len(hub.asked)
    assert energy(f"hf:owner/salt@{old}") == energy(str(first)) and len(hub.asked) == before
    hub.branches["v1"] = old
    assert energy("hf:owner/salt@v1") == energy(str(first))
    # everywhere a potential is named
    write = CliRunner().invoke(app, ["card", f"hf:owner/salt@{old}"])
    assert write.exit_code == 0 and "40 frames of NaCl" in write.output
    calculator = gnnpot.Calculator("hf:owner/salt@v1")
    assert set(calculator.elements) == {"Na", "Cl"}


def test_progress_is_reported(hub, tmp_path):
    from gnnpot.hub.opening import open_potential

    out = publish(make(tmp_path / "a"), tmp_path / "out")
    hub.push(out)
    steps = []
    open_potential("hf:owner/salt", lambda *step: steps.append(step))
    size = (out / "model.safetensors").stat().st_size
    assert steps[-1] == ("model.safetensors", size, size)


def test_errors_are_one_sentence(hub, tmp_path, monkeypatch):
    hub.push(publish(make(tmp_path / "a"), tmp_path / "out"))
    cases = {
        "hf:owner": (CheckpointError, "is no repository; give hf:owner/name"),
        "hf:owner/other": (DownloadError, "there is no such repository, or it is private"),
        "hf:owner/salt@v9": (DownloadError, "has no such revision"),
    }
    for name, (kind, message) in cases.items():
        with pytest.raises(kind, match=message) as raised:
            gnnpot.load(name)
        assert "\n" not in str(raised.value) and str(raised.value).startswith(name)
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "README.md").write_text("nothing")
    hub.push(empty, "docs")
    with pytest.raises(CheckpointError, match=r"has no card.json; it holds no potential"):
        gnnpot.load("hf:owner/salt@docs")
    hub.gated = True
    with pytest.raises(DownloadError, match="grant access one by one"):
        gnnpot.load("hf:owner/salt")


def test_without_network_what_was_fetched_is_opened(hub, tmp_path, monkeypatch):
    hub.push(publish(make(tmp_path / "a"), tmp_path / "out"))
    expected = energy("hf:owner/salt")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    # the client tries again, later and later, where it has nothing
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda _: None)
    assert energy("hf:owner/salt") == expected
    with pytest.raises(DownloadError, match="can't be reached, and is not in the cache"):
        gnnpot.load("hf:owner/other")


def test_damaged_weights_are_noticed(hub, tmp_path):
    out = publish(make(tmp_path / "a"), tmp_path / "out")
    data = bytearray((out / "model.safetensors").read_bytes())
    data[-3] ^= 1
    (out / "model.safetensors").write_bytes(data)
    hub.push(out)
    with pytest.raises(CheckpointError, match="sha256 is not the card's"):
        gnnpot.load("hf:owner/salt")


def test_a_missing_client_is_one_sentence(monkeypatch):
    import builtins

    real = builtins.__import__

    def without(name, *arguments, **options):
        if name.partition(".")[0] == "huggingface_hub":
            raise ModuleNotFoundError("No module named 'huggingface_hub'", name="huggingface_hub")
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtraError, match=r'hf:owner/salt: needs the package .*"gnnpot\[hub\]"'):
        gnnpot.load("hf:owner/salt")
