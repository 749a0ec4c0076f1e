"""Scripts of `scripts/checks` measure and count what they say; lists of versions say the same as pyproject.toml."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


class Answering:
    """A version whose calls take a known time, and who asked when."""

    def __init__(self, name: str, seconds: Iterator[float], asked: list[str]) -> None:
        self.name, self.seconds, self.asked = name, seconds, asked

    def ask(self, kind: str, model: str, atoms: int) -> dict:
        self.asked.append(self.name)
        if kind == "prepare":
            return {"missing": "no such model"} if (self.name, model) == ("old", "CHGNet") else {"energy": -3.0}
        return {"seconds": next(self.seconds)}


def test_versions_take_turns_and_ratios_are_old_over_new(load_script):
    module, asked = load_script("checks/compare_versions.py"), []
    old, new = Answering("old", iter([2.0, 8.0]), asked), Answering("new", iter([1.0, 1.0]), asked)
    (row,) = module.measure(old, new, [("M3GNet", 64)], rounds=2)
    assert asked == ["old", "new", "new", "old"]
    assert row["ratio"] == pytest.approx(4.0)
    assert row["ratios"] == [2.0, 8.0]
    assert (row["old_ms"], row["new_ms"]) == (5000.0, 1000.0)


def test_models_that_a_version_lacks_are_left_out_and_energies_must_agree(load_script):
    module, asked = load_script("checks/compare_versions.py"), []
    old, new = Answering("old", iter([]), asked), Answering("new", iter([]), asked)
    assert module.prepare(old, new, ("CHGNet", "M3GNet"), (8,)) == [("M3GNet", 8)]
    new.ask = lambda *_: {"energy": -3.1}
    with pytest.raises(RuntimeError, match="not the same"):
        module.prepare(old, new, ("M3GNet",), (8,))


def test_ignores_are_counted(load_script, tmp_path):
    (tmp_path / "one.py").write_text("a = 1  # type: ignore[assignment]\nb = 2\nc = 3  # type: ignore\n")
    assert load_script("checks/types.py").ignores(tmp_path) == 2


def test_lowest_versions_are_those_of_the_project():
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    lowest = dict(re.match(r"([\w-]+)>=([\d.]+)$", line).groups() for line in declared)
    listed = dict(re.findall(r"^([\w-]+)==(\S+)$", (ROOT / "constraints-lowest.txt").read_text(), re.MULTILINE))
    # of torch, only the pinned build is without CUDA everywhere
    pinned = dict(re.findall(r"^([\w-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE))
    assert listed.pop("torch") == pinned["torch"]
    assert set(listed) == set(lowest) - {"torch"}
    for name, version in listed.items():
        assert [*map(int, version.split("."))][: lowest[name].count(".") + 1] == [*map(int, lowest[name].split("."))], (
            name
        )
