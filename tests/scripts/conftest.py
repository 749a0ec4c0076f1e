"""Scripts as modules."""

import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.fixture
def load_script(monkeypatch) -> Iterator[Callable[[str], ModuleType]]:
    """Loads a script by its path below `scripts`.

    Modules of its folder that it imports are removed afterwards, since scripts of other folders may have their names.
    """
    before = set(sys.modules)

    def load(path: str) -> ModuleType:
        file = SCRIPTS / path
        monkeypatch.syspath_prepend(str(file.parent))
        spec = importlib.util.spec_from_file_location(file.stem, file)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    yield load
    for name in set(sys.modules) - before:
        file = getattr(sys.modules[name], "__file__", None)
        if file is not None and Path(file).is_relative_to(SCRIPTS):
            del sys.modules[name]
