"""Kernels are kept by their sources, in private folders only, and are safe in forks and threads."""

import json
import logging
import os
import pickle
import platform
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms

import gnnpot
from gnnpot.compiler import folder as folders
from gnnpot.compiler.sources import source_digest
from gnnpot.engines.warm import small_structure
from tests.child_process import environment

CHECKPOINTS = Path(__file__).parents[1] / "frozen" / "checkpoints"

#: two modules with kernels: one is compiled into the other
INNER = """
from gnnpot.compiler.decorator import njit
FACTOR = 2.0
@njit(forceinline=True)
def inner(x):
    return FACTOR * x
"""
OUTER = """
from gnnpot.compiler.decorator import njit
from inner import inner
@njit(cache=True)
def outer(x):
    total = 0.0
    for k in range(len(x)):
        total += inner(x[k])
    return total
"""
MAIN = """
import sys, numpy as np
from gnnpot.compiler.events import compilation_events
from gnnpot.compiler.folder import kernel_folder
from outer import outer
names = []
with compilation_events(lambda name, running: names.append(name) if running else None):
    result = outer(np.ones(3))
print(result, len(names), kernel_folder())
"""


def run(script: str, folder: Path, **more: str) -> subprocess.CompletedProcess:
    """Python in a process of its own, with two threads."""
    variables = {"OMP_NUM_THREADS": "2", "NUMBA_NUM_THREADS": "2", **more}
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, timeout=900, check=False,
        env=environment(folder, **variables), cwd=folder,
    )  # fmt: skip


@pytest.fixture
def modules(tmp_path):
    folder = tmp_path / "modules"
    folder.mkdir()
    (folder / "inner.py").write_text(INNER)
    (folder / "outer.py").write_text(OUTER)
    return folder


def outcome(result: subprocess.CompletedProcess) -> tuple[float, int, str]:
    assert result.returncode == 0, result.stderr
    value, count, folder = result.stdout.split()
    return float(value), int(count), folder


def test_a_kernel_is_compiled_anew_when_what_is_compiled_into_it_changes(modules, tmp_path):
    kept = {"GNNPOT_KERNELS": str(tmp_path / "kernels")}
    assert outcome(run(MAIN, modules, **kept))[:2] == (6.0, 1)
    assert outcome(run(MAIN, modules, **kept))[:2] == (6.0, 0)
    status = (modules / "inner.py").stat()
    (modules / "inner.py").write_text(INNER.replace("2.0", "3.0"))
    # neither size nor time tell, as after a checkout
    os.utime(modules / "inner.py", ns=(status.st_atime_ns, status.st_mtime_ns))
    for cached in modules.rglob("*.pyc"):
        cached.unlink()
    assert outcome(run(MAIN, modules, **kept))[:2] == (9.0, 1)
    # and the older one is still there for who goes back
    (modules / "inner.py").write_text(INNER)
    assert outcome(run(MAIN, modules, **kept))[:2] == (6.0, 0)
    assert not list(modules.rglob("*.nb[ic]"))


def test_an_unknown_numba_compiles_in_its_own_way(modules, tmp_path):
    script = "import gnnpot.compiler.libraries as libraries\nassert libraries.IS_TESTED\nlibraries.IS_TESTED = False\n"
    assert outcome(run(script + MAIN, modules, GNNPOT_KERNELS=str(tmp_path / "kernels")))[:2] == (6.0, 1)


def test_every_source_of_a_kernel_is_in_its_digest(monkeypatch):
    from gnnpot.compiler import sources
    from gnnpot.models.fast import equivariant_layer
    from gnnpot.ops.simd import vectors

    parts, pending = set(), [equivariant_layer.__name__]
    while pending:
        name = pending.pop()
        if name not in parts:
            parts.add(name)
            pending += sources.snapshot(name).parts
    expected = {"gate", "simd.vectors", "simd.vector_math", "tensor_product.edges"}
    assert {f"gnnpot.ops.{name}" for name in expected} <= parts
    # no module without kernels, which would make it compile anew too often
    assert not {"gnnpot.graphs.graph", "gnnpot.models.base", "gnnpot.errors"} & parts
    before = source_digest(equivariant_layer.__name__)
    monkeypatch.setattr(vectors, "SOME_CONSTANT", 3, raising=False)
    assert source_digest(equivariant_layer.__name__) != before


def test_all_kernels_are_decorated_in_one_place():
    package = Path(gnnpot.__file__).parent
    others = [
        path for path in package.rglob("*.py")
        if path.parent.name != "compiler" and re.search(r"from numba import .*\bn?jit\b|numba\.n?jit", path.read_text())
    ]  # fmt: skip
    assert not others, f"{others}: import njit from gnnpot.compiler.decorator"


def test_folders_of_others_are_not_used(tmp_path, monkeypatch, caplog):
    monkeypatch.delenv("GNNPOT_KERNELS", raising=False)
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    find = folders.kernel_folder.__wrapped__
    usual = tmp_path / "cache" / "gnnpot" / "kernels"
    assert find() == usual and usual.stat().st_mode & 0o777 == 0o700
    usual.chmod(0o777)
    with caplog.at_level(logging.WARNING):
        private = find()
    assert private.parent == tmp_path and private.stat().st_mode & 0o777 == 0o700
    assert [str(private) in record.message for record in caplog.records] == [True]
    private.rmdir()
    private.symlink_to(usual)
    caplog.clear()
    assert find() is None and "in each process" in caplog.text
    monkeypatch.setenv("GNNPOT_KERNELS", str(usual))
    with pytest.raises(gnnpot.errors.ConfigError, match="name another one"):
        find()


def test_without_a_folder_for_temporary_files_nothing_is_kept(tmp_path, monkeypatch, caplog):
    def none():
        raise FileNotFoundError("No usable temporary directory found")

    (tmp_path / "file").touch()
    monkeypatch.delenv("GNNPOT_KERNELS", raising=False)
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr("tempfile.gettempdir", none)
    assert folders.kernel_folder.__wrapped__() is None and "in each process" in caplog.text


def test_without_any_folder_kernels_are_compiled_in_each_process(modules):
    script = "from gnnpot.compiler import decorator\ndecorator.kernel_folder = lambda: None\n" + MAIN
    assert outcome(run(script, modules))[:2] == (6.0, 1)


@pytest.mark.parametrize(
    ("files", "damage"),
    [
        ("*.nbc", lambda data: data[:100]),
        ("*.nbi", lambda data: b""),
        # a text that is not UTF-8 after the version of Numba
        ("*.nbi", lambda data: data[: data.index(b".\x80") + 1] + b"\x80\x04\x8c\x02\xff\xff."),
    ],
    ids=["code", "empty index", "damaged index"],
)
def test_a_damaged_kernel_is_compiled_anew(modules, tmp_path, files, damage):
    kept = {"GNNPOT_KERNELS": str(tmp_path / "kernels")}
    run(MAIN, modules, **kept)
    paths = list((tmp_path / "kernels").rglob(files))
    assert paths
    for path in paths:
        path.write_bytes(damage(path.read_bytes()))
    assert outcome(run(MAIN, modules, **kept))[:2] == (6.0, 1)
    assert outcome(run(MAIN, modules, **kept))[:2] == (6.0, 0)


def test_older_kernels_are_removed(tmp_path):
    names = [f"models.zbl-{k:016x}" for k in range(7)] + ["models.zbl_more-0"]
    for k, name in enumerate(names):
        (tmp_path / name).mkdir()
        os.utime(tmp_path / name, (k, k))
    folders.remove_older(tmp_path / names[6])
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(names[6 - folders.KEPT :])


SHARED = """
import multiprocessing, sys, threading
import numpy as np
import gnnpot
from gnnpot.engines.warm import small_structure

shared = gnnpot.Calculator(CHECKPOINT)
atoms = small_structure(shared.potential)

def energies(k, calculator=shared):
    moved = atoms.copy()
    moved.rattle(0.05, seed=k)
    moved.calc = calculator
    found = []
    for _ in range(20):
        moved.calc.reset()
        found.append(moved.get_potential_energy())
    return found

def in_threads(make):
    found = {}
    work = lambda k, calculator: found.update({k: energies(k, calculator)})
    threads = [threading.Thread(target=work, args=(k, make())) for k in range(4)]
    [t.start() for t in threads], [t.join() for t in threads]
    return np.array([found[k] for k in range(4)])

if __name__ == "__main__":
    alone = np.array([energies(k) for k in range(4)])
    assert len(set(alone[:, 0].round(4))) == 4
    assert np.allclose(in_threads(lambda: shared), alone, rtol=0, atol=1e-5)
    assert np.allclose(in_threads(lambda: gnnpot.Calculator(CHECKPOINT)), alone, rtol=0, atol=1e-5)
    if "fork" in multiprocessing.get_all_start_methods():
        with multiprocessing.get_context("fork").Pool(2) as pool:
            assert np.allclose(pool.map_async(energies, range(4)).get(timeout=900), alone, rtol=0, atol=1e-5)
    print("same")
"""


@pytest.mark.parametrize("layer", ["omp", "workqueue"])
def test_threads_and_forks_calculate_the_same(layer, tmp_path):
    """Threads that share a calculator and that have their own; then a pool by fork, after the first use."""
    script = SHARED.replace("CHECKPOINT", repr(str(CHECKPOINTS / "hdnnp-format-2")))
    result = run(script, tmp_path, NUMBA_THREADING_LAYER=layer)
    assert result.returncode == 0 and result.stdout == "same\n", result.stderr[-2000:]


@pytest.mark.parametrize("architecture", ["hdnnp", "m3gnet"])
def test_a_used_calculator_is_pickled_without_what_can_be_derived(architecture):
    calculator = gnnpot.Calculator(CHECKPOINTS / f"{architecture}-format-2")
    before = len(pickle.dumps(calculator))
    atoms = small_structure(calculator.potential) * (2, 2, 2)
    atoms.calc = calculator
    energy = atoms.get_potential_energy()
    content = pickle.dumps(calculator)
    # the last structure and its results
    assert len(content) < before + 30_000
    copied = atoms.copy()
    copied.calc = pickle.loads(content)
    copied.calc.reset()
    assert copied.get_potential_energy() == pytest.approx(energy, abs=1e-4)


CPUS = """
import json, sys, torch
import gnnpot
from gnnpot.engines.warm import small_structure
found = []
for path in PATHS:
    calculator = gnnpot.Calculator(path, dtype=torch.float64)
    atoms = small_structure(calculator.potential)
    atoms.calc = calculator
    found.append([atoms.get_potential_energy() / len(atoms), *atoms.get_forces().ravel()])
print(json.dumps(found))
"""


@pytest.mark.parametrize("processor", ["generic", "haswell"])
def test_kernels_for_other_processors_calculate_the_same(processor, tmp_path):
    if platform.machine() not in ("x86_64", "AMD64"):
        pytest.skip("the processors are of another kind")
    paths = [str(CHECKPOINTS / f"{name}-format-2") for name in ("m3gnet",)]
    result = run(CPUS.replace("PATHS", repr(paths)), tmp_path, NUMBA_CPU_NAME=processor, NUMBA_CPU_FEATURES="")
    assert result.returncode == 0, result.stderr[-2000:]
    for path, found in zip(paths, json.loads(result.stdout), strict=True):
        calculator = gnnpot.Calculator(path, dtype=torch.float64)
        atoms = small_structure(calculator.potential)
        atoms.calc = calculator
        here = [atoms.get_potential_energy() / len(atoms), *atoms.get_forces().ravel()]
        np.testing.assert_allclose(found, here, rtol=0, atol=1e-8)


def test_what_a_process_compiled_is_there_for_the_next():
    from typer.testing import CliRunner

    from gnnpot.cli import app

    name = str(CHECKPOINTS / "hdnnp-format-2")
    calculator = gnnpot.Calculator(name)
    atoms = small_structure(calculator.potential)
    atoms.calc = calculator
    atoms.get_forces()
    result = CliRunner().invoke(app, ["warm", name, "-p", "1", "-q"], env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    # model, what for, kernels compiled, seconds
    assert ["prediction", "0"] in [line.split()[1:3] for line in result.output.splitlines()]
    assert "gnnpot warm" in CliRunner().invoke(app, ["warm", "--help"]).output


def test_the_small_structure_has_neighbours_and_triplets():
    calculator = gnnpot.Calculator(CHECKPOINTS / "m3gnet-format-2")
    atoms = small_structure(calculator.potential)
    assert isinstance(atoms, Atoms) and np.ptp(atoms.positions) > 2
    assert calculator.graph(atoms).edge_index.shape[1] > 8
