"""A run's folder is one run's."""

from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from gnnpot.errors import ConfigError
from gnnpot.runs.directory import RunFolder


@dataclass(frozen=True)
class Config:
    run: Path
    steps: int = 1
    title: str = ""


FOLDER = RunFolder(what="a walk", config="walk.yaml", names=("log.txt", "pages"), kept=("state-*",), free=("title",))


@pytest.fixture
def config(tmp_path):
    """That of a folder with a log, and something that is not the run's."""
    config = Config(tmp_path / "deep" / "run")
    FOLDER.claim(config, resume=True)
    for name in ("log.txt", "mine.txt", "pages/one"):
        (config.run / name).parent.mkdir(exist_ok=True)
        (config.run / name).touch()
    return config


def left(config):
    return sorted(path.name for path in config.run.iterdir())


def test_the_same_run_goes_on(config):
    (config.run / "state-1").mkdir()
    FOLDER.claim(replace(config, title="another"), resume=True)
    assert left(config) == ["log.txt", "mine.txt", "pages", "state-1", "walk.yaml"]
    assert "another" in (config.run / "walk.yaml").read_text()


def test_another_run_is_refused_where_there_is_something_to_lose(config):
    (config.run / "state-1").mkdir()
    with pytest.raises(ConfigError, match=r"holds a walk with another configuration \(steps\)"):
        FOLDER.claim(replace(config, steps=2), resume=True)
    assert len(left(config)) == 5
    FOLDER.claim(replace(config, steps=2), resume=False)
    assert left(config) == ["mine.txt", "walk.yaml"]


def test_a_run_that_never_began_claims_nothing(config):
    FOLDER.claim(replace(config, steps=2), resume=True)
    assert left(config) == ["mine.txt", "walk.yaml"]


def test_another_kind_of_run_and_a_folder_that_cannot_be(config):
    (config.run / "state-1").touch()
    (config.run / "walk.yaml").write_text("paces: 3\n")
    with pytest.raises(ConfigError, match="another configuration"):
        FOLDER.claim(config, resume=True)
    with pytest.raises(ConfigError, match="name another folder for the run"):
        FOLDER.claim(Config(config.run / "walk.yaml"), resume=True)
