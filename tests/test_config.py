"""Configurations are strict, and say what is wrong with them."""

from dataclasses import dataclass, field
from typing import ClassVar, Literal

import pytest

from gnnpot.config import from_mapping, read_yaml, to_mapping
from gnnpot.errors import ConfigError
from gnnpot.models import HDNNPConfig, M3GNetConfig, ModelConfig


@dataclass(frozen=True)
class Options:
    model: ModelConfig
    rate: float = 1e-3
    steps: int | None = None
    kind: Literal["huber", "mse"] = "huber"
    sizes: tuple[int, ...] = ()
    extra: dict[str, float] = field(default_factory=dict)


GOOD = {"model": {"architecture": "m3gnet", "units": 16}, "rate": 1, "sizes": [1, 2], "extra": {"a": 2}}


def test_round_trip():
    options = from_mapping(Options, GOOD)
    assert options.model == M3GNetConfig(units=16) and options.rate == 1.0 and options.sizes == (1, 2)
    assert from_mapping(Options, to_mapping(options)) == options
    assert isinstance(from_mapping(Options, {"model": {"architecture": "hdnnp"}}).model, HDNNPConfig)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"raet": 1}, "unknown option 'raet'; did you mean 'rate'"),
        ({"steps": 1.5}, "steps: expected int"),
        ({"steps": True}, "steps: expected int"),
        ({"kind": "hubr"}, "did you mean 'huber'"),
        ({"model": {"architecture": "m3gnt"}}, "did you mean 'm3gnet'"),
        ({"model": {"architecture": "m3gnet", "cutof": 4}}, "model: unknown option 'cutof'; did you mean 'cutoff'"),
        ({"model": {"architecture": "m3gnet", "units": 0}}, "units: must lie between 1 and 4,096, got 0"),
        ({"sizes": [1, "b"]}, r"sizes\[1\]: expected int"),
        ({"model": 3}, "architecture"),
    ],
)
def test_what_is_wrong_is_said(change, message):
    with pytest.raises(ConfigError, match=message):
        from_mapping(Options, GOOD | change, where="train.yaml")


def test_yaml(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text("model: {architecture: m3gnet}\nrate: 1e-3\n")
    assert from_mapping(Options, read_yaml(path)).rate == 1e-3
    path.write_text("model: [\n")
    with pytest.raises(ConfigError, match="not valid YAML"):
        read_yaml(path)
    with pytest.raises(ConfigError, match="can't be read"):
        read_yaml(tmp_path / "none.yaml")


@dataclass(frozen=True)
class Renamed:
    RENAMED: ClassVar[dict[str, str]] = {"drawn": "random"}

    random: int = 1


def test_options_under_their_names_of_before_are_read():
    assert from_mapping(Renamed, {"drawn": 3}) == from_mapping(Renamed, {"random": 3}) == Renamed(3)
    assert to_mapping(Renamed(3)) == {"random": 3}
    with pytest.raises(ConfigError, match="'drawn' and 'random' are one option"):
        from_mapping(Renamed, {"drawn": 3, "random": 3})


def test_a_distillation_of_version_0_1_is_read(tmp_path):
    from pathlib import Path

    from gnnpot.workflows.distil.config import read_distil_config

    old = read_yaml(Path(__file__).parent / "frozen" / "options" / "distil.yaml")
    assert {"drawn", "picked"} <= set(old["pick"])
    path = tmp_path / "distil.yaml"
    path.write_text("pick: {drawn: 3, picked: 4}\n")
    options = read_distil_config("7net-0", ["x.extxyz"], run=tmp_path, path=path, overrides=["pick.apart=2"])
    assert (options.select.random, options.select.uncertain, options.select.apart) == (3, 4, 2)
