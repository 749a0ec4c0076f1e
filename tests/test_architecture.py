"""Imports run one way; files and functions are short, and take few arguments; a class name has one meaning."""

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "gnnpot"
FILES = sorted(ROOT.rglob("*.py"))

#: A subpackage or module may import what stands on a lower step than itself; those on one step don't know each other.
STEPS = {
    "errors": 0, "domains": 1, "extras": 1, "plugins": 1, "units": 1, "config": 2, "torch_modes": 2, "runs": 3,
    "compiler": 3, "data": 4, "graphs": 5, "ops": 6, "models": 7, "potential": 8, "hub": 9, "engines": 10,
    "properties": 11, "sampling": 12, "testing": 12, "training": 13, "workflows": 14, "builder": 15, "functional": 15,
    "studio": 16, "cli": 17,
}  # fmt: skip
#: The package itself and `python -m` only hand on.
FRONT_DOORS = {"__init__", "__main__"}

MAX_FILE_LINES, MAX_FUNCTION_LINES, MAX_ARGUMENTS = 400, 60, 8
#: kernels take their arrays one by one, commands their options
COMPILED = ("njit", "intrinsic", "overload")

#: Class names that two modules share, and why: `gnnpot.functional` is a package of its own within the package.
SHARED_NAMES = {
    "Calculator": "each package's ASE calculator, of `gnnpot` and of `gnnpot.functional`; both are public",
    "DataConfig": "each package's options of the training data, of a potential and of a functional",
    "TrainConfig": "each package's options of a training, of a potential and of a functional",
}


def _arguments(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """How many a function takes, besides self; 0 for kernels."""
    names = [a.arg for a in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
    compiled = any(name in ast.unparse(d) for d in node.decorator_list for name in COMPILED)
    return 0 if compiled else len(names) - (names[:1] in (["self"], ["cls"]))


def _subpackage(path: Path) -> str:
    return path.relative_to(ROOT).with_suffix("").parts[0]


def _imports(tree: ast.AST, path: Path) -> Iterator[tuple[int, str]]:
    """(line, subpackage) of every import of gnnpot, inside functions too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import; name the subpackage"
            names = [f"{node.module}.{a.name}" for a in node.names] if node.module == "gnnpot" else [node.module]
        else:
            continue
        for name in names:
            parts = name.split(".")
            if parts[0] == "gnnpot" and len(parts) > 1:
                yield node.lineno, parts[1]


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_run_one_way(path):
    subpackage = _subpackage(path)
    if subpackage in FRONT_DOORS:
        return
    assert subpackage in STEPS, f"{path}: a subpackage that the order does not know"
    for line, other in _imports(ast.parse(path.read_text()), path):
        assert other == subpackage or STEPS[other] < STEPS[subpackage], (
            f"{path}:{line}: {subpackage} must not import {other}"
        )


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_habits(path):
    text = path.read_text()
    tree = ast.parse(text)
    lines = text.count("\n")
    assert lines <= MAX_FILE_LINES, f"{path}: {lines} lines; split it"
    assert not text or ast.get_docstring(tree), f"{path}: no docstring says what it is"
    for node in ast.walk(tree):
        where = f"{path}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            length = node.end_lineno - node.lineno + 1
            assert length <= MAX_FUNCTION_LINES, f"{where}: {node.name} has {length} lines; split it"
            if _subpackage(path) != "cli":
                number = _arguments(node)
                assert number <= MAX_ARGUMENTS, f"{where}: {node.name} takes {number} arguments; group them"
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called != "print", f"{where}: print; use logging or Rich"
            assert not called.endswith("set_default_dtype"), f"{where}: a global default dtype"
            safe = any(k.arg == "weights_only" and ast.unparse(k.value) == "True" for k in node.keywords)
            unsafe = called in ("pickle.load", "pickle.loads") or (called == "torch.load" and not safe)
            assert not unsafe, f"{where}: {called} executes what it reads"
    for number, line in enumerate(text.splitlines(), 1):
        assert "TODO" not in line and "FIXME" not in line, f"{path}:{number}: do it or leave it"


def _twice(trees: Iterable[tuple[str, ast.Module]]) -> dict[str, list[str]]:
    """Modules of each top-level class name that more than one of them defines, private names included."""
    found: dict[str, list[str]] = {}
    for module, tree in trees:
        for node in tree.body:
            if isinstance(node, ast.ClassDef):
                found.setdefault(node.name, []).append(module)
    return {name: modules for name, modules in found.items() if len(modules) > 1}


def test_a_class_name_has_one_meaning():
    twice = _twice((str(path.relative_to(ROOT)), ast.parse(path.read_text())) for path in FILES)
    for name, modules in twice.items():
        # a third definition is no part of the reasons
        assert name in SHARED_NAMES and len(modules) == 2, f"class {name} is defined in {', '.join(modules)}; rename"
    assert set(SHARED_NAMES) == set(twice), f"no longer shared: {set(SHARED_NAMES) - set(twice)}"


def test_it_finds_classes_of_one_name():
    first, second = ast.parse("class A: ...\nclass _B: ..."), ast.parse("class _B: ...\nclass C: ...")
    assert _twice([("one.py", first), ("two.py", second)]) == {"_B": ["one.py", "two.py"]}


def test_it_finds_what_it_looks_for(tmp_path):
    source = "from gnnpot import hub\nimport gnnpot.cli.data\nfrom gnnpot.models.base import EnergyModel\n"
    assert [subpackage for _, subpackage in _imports(ast.parse(source), tmp_path)] == ["hub", "cli", "models"]
