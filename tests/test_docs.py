"""README.md, docs/, --help and configs/ say what is so: examples run as they stand, commands and options exist."""

import importlib
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from gnnpot.cli import app
from gnnpot.config import from_mapping, read_yaml
from gnnpot.data.mp.filters import Curation
from gnnpot.errors import ConfigError
from gnnpot.functional.train import read_train_config
from gnnpot.hub.registry import is_known
from gnnpot.sampling import read_label_config
from gnnpot.training.config import read_config
from gnnpot.workflows.distil import read_distil_config
from gnnpot.workflows.finetune import config as finetune_config

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
#: packages that examples show and that a development environment may lack
OPTIONAL = {"atomate2", "dftd3", "jobflow", "torch_sim"}
#: the least that `gnnpot train` takes, where a page speaks of a file of the user's own
OWN = "model: {architecture: m3gnet}\ndata: {train: my.store}\nrun: runs/mine\n"


def blocks(path: Path, *languages: str) -> list[str]:
    """The fenced blocks of a page in a language; "" for those that name none."""
    found = re.findall(r"^```([^\n`]*)\n(.*?)^```", path.read_text(), flags=re.MULTILINE | re.DOTALL)
    return [text for language, text in found if language in languages]


def spans(path: Path) -> list[str]:
    """What stands between backticks in the text of a page."""
    prose = re.sub(r"^```.*?^```", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", prose)]


def commands() -> Iterator[tuple[str, Any]]:
    """(name, command) of all that `gnnpot` knows."""
    waiting = list(typer.main.get_command(app).commands.items())
    for name, command in waiting:
        if hasattr(command, "commands"):
            waiting += command.commands.items()
        else:
            yield name, command


def gnnpot_lines() -> Iterator[tuple[str, str]]:
    """(where, line) of every full command line."""
    for path in PAGES:
        for text in blocks(path, "", "sh", "bash"):
            yield from ((path.name, line) for line in text.replace("\\\n", " ").splitlines())
    for name, command in commands():
        yield from ((f"{name} --help", line) for line in re.findall(r"Example: (.+)", command.help or ""))
    for path in sorted((ROOT / "configs").rglob("*.yaml")):
        found = re.findall(r"^# +((?:gnnpot|sbatch) .+)", path.read_text(), flags=re.MULTILINE)
        yield from ((path.name, line) for line in found)


def words_of(line: str) -> list[str] | None:
    """What follows `gnnpot` in a line, `None` if it runs something else; what SLURM's script starts counts too."""
    # where the shell puts what is printed is no part of the command
    words = shlex.split(line.partition(" > ")[0], comments=True)
    while words and re.match(r"\w+=", words[0]):
        words = words[1:]
    if not words or words[0] not in ("gnnpot", "sbatch"):
        return None
    if words[0] == "gnnpot":
        return words[1:]
    config, store, *more = words[words.index("scripts/slurm-pretrain.sh") + 1 :]
    return ["train", config, "--set", f"data.train={store}", *more]


def parse(words: list[str]) -> tuple[str, dict[str, Any]]:
    """The name of the command and its parameters, as the real command line reads them; raises what that raises."""
    name, command = "gnnpot", typer.main.get_command(app)
    while words and hasattr(command, "commands"):
        name, *words = words
        assert name in command.commands, f"there is no command '{name}'"
        command = command.commands[name]
    return name, {} if hasattr(command, "commands") else command.make_context(name, list(words)).params


def check_options(name: str, given: dict[str, Any], folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read configurations and `--set` as the command would; frames are not looked at. Raises `ConfigError`."""
    config = given.get("config") and ROOT / given["config"]
    if config and not config.exists():
        assert not str(given["config"]).startswith("configs/"), f"{given['config']} does not exist"
        config = None
    settings = given.get("settings") or ()
    if name == "train":
        (folder / "own.yaml").write_text(OWN)
        read_config(config or folder / "own.yaml", settings)
    elif name == "finetune":
        size = finetune_config.DatasetSize(frames=100, materials=1, used=100)
        monkeypatch.setattr(finetune_config, "count", lambda data: size)
        short = given["strategy"]
        finetune_config.read_finetune_config("x", ["x"], run="x", path=config, overrides=settings, short=short)
    elif name == "distil":
        read_distil_config("x", ["x"], run="x", student=given["student"], path=config, overrides=settings)
    elif name == "label":
        read_label_config(config, given["distort"] or (), given["seed"])
    elif name == "mp" and config:
        from_mapping(Curation, read_yaml(config), where=str(config))


@pytest.mark.parametrize("path", [page for page in PAGES if blocks(page, "python")], ids=lambda p: p.name)
def test_examples(path, published, tmp_path, monkeypatch):
    examples = blocks(path, "python")
    for name in re.findall(r'"([^"\n]+)"', "".join(examples)):
        if is_known(name):
            published(name)
    monkeypatch.chdir(tmp_path)
    scope: dict = {}
    for example in examples:
        try:
            exec(compile(example, str(path), "exec"), scope)
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] in OPTIONAL:
                pytest.skip(f"needs {error.name}")
            raise


def test_command_lines(tmp_path, monkeypatch):
    for name, command in commands():
        assert "Example: gnnpot " in command.help, f"{name} --help has no example"
    wrong, read = [], 0
    for where, line in gnnpot_lines():
        try:
            words = words_of(line)
            if words is not None:
                check_options(*parse(words), tmp_path, monkeypatch)
                read += 1
        except Exception as error:  # noqa: BLE001 - with any error in one line, the others are read too
            wrong.append(f"{where}: {line.strip()}\n    {error}")
    assert not wrong, "\n".join(wrong)
    assert read > 40


def test_commands_in_the_text():
    options = {option for _, command in commands() for p in command.params for option in (*p.opts, *p.secondary_opts)}
    for path in PAGES:
        for span in spans(path):
            if span.startswith("--"):
                assert span.split()[0] in {*options, "--help"}, f"{path.name}: no command has {span}"
            if re.match(r"gnnpot [a-z]", span):
                try:
                    parse(shlex.split(span)[1:])
                except typer.BadParameter as error:
                    # a text may name a command without all that it needs
                    assert type(error).__name__ == "MissingParameter", f"{path.name}: {span}: {error}"


@pytest.mark.parametrize("path", PAGES, ids=lambda p: p.name)
def test_files_and_configurations(path, tmp_path):
    for name in re.findall(r"(?<![\w/.~-])(?:configs|docs|gnnpot|scripts|tests)/[\w./*-]*[\w*/]", path.read_text()):
        assert any(ROOT.glob(name.rstrip("/"))), f"{path.name}: there is no {name}"
    for text in blocks(path, "yaml"):
        (tmp_path / "train.yaml").write_text(text)
        if path.name == "functional.md":
            read_train_config(read_yaml(tmp_path / "train.yaml"))
        else:
            read_config(tmp_path / "train.yaml")


def test_every_option_has_a_meaning(monkeypatch):
    pytest.importorskip("sphinx")
    monkeypatch.syspath_prepend(ROOT / "docs" / "_ext")
    import configuration_options

    pages = "".join((ROOT / "docs" / name).read_text() for name in ("configuration.md", "api.md"))
    directives = re.findall(r"^```\{configuration-options\} (\S+) (\S+)$", pages, flags=re.MULTILINE)
    assert len(directives) >= 9
    empty = set()
    for module, name in directives:
        for kind in configuration_options.classes(getattr(importlib.import_module(module), name)):
            rows = configuration_options.rows(kind)
            empty |= {f"{kind.__name__}.{option}" for option, *_, meaning in rows if not meaning}
    assert not empty, f"options without a comment (`#:`): {', '.join(sorted(empty))}"


@pytest.mark.parametrize(
    "line, message",
    [
        ("gnnpot finetun 7net-0 my.extxyz", "no command 'finetun'"),
        ("gnnpot finetune 7net-0 my.extxyz --stratgy lora", "No such option"),
        ("gnnpot finetune 7net-0", "Missing parameter: data"),
        ("gnnpot finetune 7net-0 my.extxyz --strategy lara", "'lara' is not known"),
        ("gnnpot finetune 7net-0 my.extxyz --set epoch=20", "unknown option 'epoch'"),
        ("gnnpot finetune 7net-0 my.extxyz --set replay.part=0.5", "unknown option 'part'"),
        ("gnnpot distil 7net-0 my.extxyz --student hdnp", "'hdnp' is not known"),
        ("gnnpot distil 7net-0 my.extxyz --temperature hot", "valid number"),
        ("gnnpot distil 7net-0 my.extxyz --set explore.step=3", "unknown option 'step'"),
        ("gnnpot train configs/no-such.yaml", "does not exist"),
        ("gnnpot train mine.yaml --set data.sources.hot.weigth=2", "unknown option 'weigth'"),
        ("GNNPOT_CACHE=x gnnpot label a.cif -m 7net-0 -o x --distort 'rattled ratle=1'", "unknown option 'ratle'"),
        ("sbatch scripts/slurm-pretrain.sh configs/pretrain-m3gnet.yaml mp.store --set batch.atoms=3", "'atoms'"),
    ],
)
def test_a_wrong_line_is_found(line, message, tmp_path, monkeypatch):
    with pytest.raises((typer.BadParameter, typer.BadParameter.__base__, ConfigError, AssertionError), match=message):
        check_options(*parse(words_of(line)), tmp_path, monkeypatch)
