"""Fixtures that all tests use."""

import copy
import os
from collections.abc import Callable
from pathlib import Path

import pytest

#: a package of its own, which `test_plugin_package.py` installs and tests
collect_ignore = ["plugin"]


#: variables of a terminal, by which commands choose the width and the colours of their output
TERMINAL = ("COLUMNS", "LINES", "FORCE_COLOR", "NO_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE")


def pytest_configure() -> None:
    """Commands write the same in any terminal."""
    for name in TERMINAL:
        os.environ.pop(name, None)


def slow_tests() -> tuple[str, ...]:
    """Beginnings of the names of the tests in `tests/slow.txt`."""
    lines = Path(__file__).with_name("slow.txt").read_text().splitlines()
    return tuple(line.split(maxsplit=1)[1] for line in lines if line and not line.startswith("#"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what `scripts/test --fast` leaves out."""
    slow = slow_tests()
    for item in items:
        if item.nodeid.startswith(slow):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data and reference numbers; tests that need it skip without it."""
    path = Path(os.environ.get("GNNPOT_SHARED", ""))
    if "GNNPOT_SHARED" not in os.environ or not (path / "data").is_dir():
        pytest.skip("needs the shared data (set GNNPOT_SHARED to its folder)")
    return path


@pytest.fixture(scope="session")
def published(tmp_path_factory) -> Callable:
    """Opens a published potential (float32, a copy of one's own) by name.

    It comes from the user's cache, and else, once, from where `gnnpot import` would get it or the shared weights; the
    test skips, with the reason, where none can be reached. `GNNPOT_REQUIRE_WEIGHTS=1` makes that a failure. Weights
    that are there, but not as published, always are one.
    """
    from gnnpot.errors import DownloadError
    from gnnpot.hub.cache import has_sha256
    from gnnpot.hub.opening import load
    from gnnpot.hub.registry import resolve

    opened, failed = {}, {}

    def fetch(name: str):
        try:
            return load(name)
        except DownloadError as error:
            weights = Path(os.environ.get("GNNPOT_SHARED", os.devnull)) / "weights"
            sources = resolve(name)[0].sources
            folders = [weights / name, *weights.glob("*"), *weights.glob("*/*")]
            found = [f for f in folders if all(has_sha256(f / s.file, s.sha256) for s in sources)]
            if not found:
                raise
            reason = error
        mirror = tmp_path_factory.mktemp("mirror")
        (mirror / resolve(name)[0].name).symlink_to(found[0])
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("GNNPOT_MIRROR", str(mirror))
            try:
                return load(name)
            except DownloadError:
                raise reason from None

    def get(name: str):
        # what one wheel lacks for one potential, it lacks for all
        source = resolve(name)[0].sources[0]
        origin = source.wheel or source
        if name not in opened and origin not in failed:
            try:
                opened[name] = fetch(name)
            except DownloadError as error:
                failed[origin] = error
        if name not in opened:
            if os.environ.get("GNNPOT_REQUIRE_WEIGHTS"):
                raise failed[origin]
            pytest.skip(f"no weights: {failed[origin]}")
        return copy.deepcopy(opened[name])

    return get


@pytest.fixture
def declare_plugin(tmp_path, monkeypatch) -> Callable[..., Path]:
    """Makes a package of one module that an installed package could be, with its entry points, and gives its folder.

    `declare_plugin("gnnpot-made-up", {"gnnpot.readers": {"name": "attribute"}}, source)`
    """
    import sys

    def declare(package: str, groups: dict[str, dict[str, str]], source: str = "") -> Path:
        folder = tmp_path / "site" / package
        module = package.replace("-", "_")
        info = folder / f"{module}-1.2.dist-info"
        info.mkdir(parents=True, exist_ok=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.2\n")
        lines = []
        for group, names in groups.items():
            lines += [f"[{group}]", *(f"{name} = {module}:{attribute}" for name, attribute in names.items())]
        (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
        (folder / f"{module}.py").write_text(source)
        monkeypatch.syspath_prepend(folder)
        # another test may have imported a module of this name
        monkeypatch.delitem(sys.modules, module, raising=False)
        return folder

    return declare
