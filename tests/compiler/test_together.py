"""What a first use needs is compiled in several processes, and however these end, nothing is wrong or lost."""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch
from filelock import FileLock

from gnnpot.compiler import together
from gnnpot.compiler.overloads import Overload, _plain, _type
from gnnpot.hub.shipped import DEFAULT
from gnnpot.models.fast.first_call import PREDICTION, TRAINING, _rows, use_name
from gnnpot.runs.processes import Processes, one_thread
from tests.child_process import environment

CHECKPOINTS = Path(__file__).parents[1] / "frozen" / "checkpoints"

MODULE = """
from gnnpot.compiler.decorator import njit
"""
KERNEL = """
@njit(cache=True)
def {name}(x):
    total = 0.0
    for k in range(len(x)):
        total += {factor} * x[k]
    return total
"""
NAMES = ("first", "second", "third", "fourth")

#: no main guard, as in users' scripts. This process takes `first`, and does not continue before a worker has `second`
SCRIPT = """
import logging, sys, threading
import numpy as np, psutil
from gnnpot.compiler import together
from gnnpot.compiler.events import compilation_events
from gnnpot.compiler.overloads import Overload
print("begins")
here, began, compiled = Overload.compile, threading.Event(), []
def event(name, running):
    if running:
        compiled.append(name)
    if name == "kernels.second" and running:
        began.set()
def compile(self):
    assert began.wait(200)
    return here(self)
Overload.compile = compile
{more}
overloads = [Overload(f"kernels.{{name}}", ["float64 1C"], 9.0 - k) for k, name in enumerate({names})]
with compilation_events(event):
    try:
        together.compile_overloads(overloads, 2)
    except KeyboardInterrupt:
        print("interrupted")
    assert not psutil.Process().children()
    import kernels
    values = [getattr(kernels, name)(np.ones(3)) for name in {names}]
print(values, sorted(compiled), flush=True)
"""


@pytest.fixture
def modules(tmp_path):
    folder = tmp_path / "modules"
    folder.mkdir()
    kernels = [KERNEL.format(name=name, factor=float(k + 1)) for k, name in enumerate(NAMES)]
    (folder / "kernels.py").write_text(MODULE + "".join(kernels))
    return folder


def run(folder, more="", **more_variables):
    """Lines that the script prints."""
    variables = {"GNNPOT_KERNELS": str(folder.parent / "kernels"), **more_variables}
    (folder / "script.py").write_text(SCRIPT.format(more=textwrap.dedent(more), names=NAMES))
    result = subprocess.run(
        [sys.executable, "script.py"],
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
        env=environment(folder, **variables),
        cwd=folder,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    return result.stdout.splitlines()


VALUES = "[3.0, 6.0, 9.0, 12.0]"
ALL = str(sorted(f"kernels.{name}" for name in NAMES))
#: each overload has a file of its own for its index, and one for its code
FILES = 2 * len(NAMES)


def files(folder):
    return list((folder.parent / "kernels").rglob("*.nb[ic]"))


def test_two_processes_share_the_work_once(modules):
    # what the worker has compiled is loaded here: none is compiled twice, and the script runs once
    assert run(modules) == ["begins", f"{VALUES} {ALL}"]
    assert len(files(modules)) == FILES
    # with all of it in the cache no process is started
    nothing = "together._workers = None\n"
    assert run(modules, nothing) == ["begins", f"{VALUES} []"]


def test_a_killed_worker_costs_time_only(modules):
    kill = """
    original = event
    def event(name, running):
        if name == "kernels.second" and running and not began.is_set():
            for child in psutil.Process().children():
                child.kill()
        original(name, running)
    """
    begins, result = run(modules, kill)
    assert begins == "begins" and result.startswith(VALUES)
    assert set(NAMES) == {name.partition(".")[2] for name in json.loads(result.removeprefix(VALUES).replace("'", '"'))}
    assert run(modules, "began.set()") == ["begins", f"{VALUES} []"]


def test_an_interrupt_ends_the_workers(modules):
    interrupt = """
    def compile(self):
        assert began.wait(200)
        raise KeyboardInterrupt
    Overload.compile = compile
    """
    begins, interrupted, result = run(modules, interrupt)
    assert (begins, interrupted) == ("begins", "interrupted") and result.startswith(VALUES)
    assert run(modules, "began.set()") == ["begins", f"{VALUES} []"]


def test_a_worker_that_cannot_start_costs_nothing(modules):
    # an interpreter that ends at once; and one that isn't there
    broken = modules / "python"
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o700)
    for k, executable in enumerate((broken, modules / "absent" / "python")):
        lines = run(
            modules, f"began.set(); sys.executable = {str(executable)!r}", GNNPOT_KERNELS=str(modules.parent / f"k{k}")
        )
        assert lines == ["begins", f"{VALUES} {ALL}"]


def overload(seconds):
    return Overload("gnnpot.graphs.skin._farthest", ["float64 2C", "float64 2C"], seconds)


def start_no_worker(*_):
    raise AssertionError("started")


def test_no_process_is_started_where_it_may_not_be(monkeypatch, tmp_path):
    monkeypatch.setattr(together, "_workers", start_no_worker)
    monkeypatch.setattr(Overload, "is_kept", lambda self: False)
    others = [overload(9.0), Overload("gnnpot.graphs.skin._all_finite", ["float64 2C"], 9.0)]
    with pytest.raises(AssertionError, match="started"):
        together.compile_overloads(others, 2)
    # this one does as much in the time
    together.compile_overloads([overload(9.0)], 2)
    together.compile_overloads([overload(9.0), overload(9.0)], 2)
    together.compile_overloads(others, 1)
    # kernels can't be kept
    monkeypatch.setattr(together, "can_be_written", lambda path: False)
    together.compile_overloads(others, 2)
    monkeypatch.setattr(together, "kernel_folder", lambda: None)
    together.compile_overloads(others, 2)


@pytest.mark.parametrize(
    ("seconds", "most", "count"),
    [
        ([], 8, 1),
        ([9.0], 8, 1),
        # the longest is all that matters; what is short is here before a process has started
        ([10.0, 1.0, 1.2], 8, 2),
        ([1.0, 1.0, 1.0], 8, 1),
        ([5.0, 5.0, 1.0, 1.0], 1, 1),
        ([5.0, 5.0, 1.0, 1.0], 64, 3),
        ([4.0] * 30, 64, 11),
    ],
)
def test_no_more_processes_than_save_time(seconds, most, count):
    assert together._process_count(seconds, most) == count


def test_no_process_is_started_while_another_compiles_in_the_folder(monkeypatch, tmp_path):
    monkeypatch.setattr(together, "_workers", start_no_worker)
    monkeypatch.setattr(together, "kernel_folder", lambda: tmp_path)
    monkeypatch.setattr(Overload, "is_kept", lambda self: False)
    missing = [overload(9.0), Overload("gnnpot.graphs.skin._all_finite", ["float64 2C"], 9.0)]
    with FileLock(tmp_path / ".compiling"):
        together.compile_overloads(missing, 2)
    with pytest.raises(AssertionError, match="started"):
        together.compile_overloads(missing, 2)


def test_one_process_in_workers_and_where_one_thread_is_asked_for(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setattr(together.numba, "get_num_threads", lambda: 4)
    monkeypatch.setattr(together, "_quota", lambda: 3)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert together.allowed_processes() == 3
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert together.allowed_processes() == 2
    monkeypatch.setattr(together.sys, "executable", "/opt/lammps/bin/lmp")
    assert together.allowed_processes() == 1
    monkeypatch.undo()
    with one_thread():
        assert together.allowed_processes() == 1
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.delenv("NUMBA_NUM_THREADS", raising=False)
    with Processes(1) as executor:
        assert executor.submit(together.allowed_processes).result() == 1


def test_the_outer_block_is_asked_once_and_only_if_something_is_missing(monkeypatch):
    asked = []
    monkeypatch.setattr(together, "compile_overloads", asked.append)
    with together.compiled_together(lambda: "outer"):
        assert asked == []
        with together.compiled_together(lambda: "inner"):
            together.compile_expected()
            together.compile_expected()
    together.compile_expected()
    assert asked == ["outer"]


#: a process forked for each model, before any of them has called a kernel
CALLED = """
import json, os, sys
from gnnpot.compiler.overloads import used_overloads
from gnnpot.data.references import ElementReferences
from gnnpot.engines.warm import call_once
from gnnpot.hub.opening import load
from gnnpot.models.architectures import OWN, build_model, config_class
from gnnpot.potential import Potential
def untrained(name):
    references = ElementReferences.from_mapping({"energies": {"Na": 0.0, "Cl": 0.0}})
    return Potential(build_model(config_class(name)(elements=("Na", "Cl"))), references)
for name in sys.argv[1:]:
    child = os.fork()
    if child == 0:
        potential = untrained(name) if name in OWN else load(name)
        call_once(potential)
        predicted = [overload.key for overload in used_overloads()]
        call_once(potential, "training")
        sys.stdout.write(json.dumps([predicted, [overload.key for overload in used_overloads()]]) + "\\n")
        sys.stdout.flush()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0, name
"""
#: the architecture of each model: checkpoints, or untrained ones of the usual size
MODELS = {
    "m3gnet": "m3gnet",
    "m3gnet-matgl-rows": "m3gnet-matgl-rows",
    "chgnet": "chgnet",
    str(CHECKPOINTS / "sevennet-format-3"): "sevennet",
    "gnnpot-1": "sevennet",
    "lgps-4": "sevennet",
    str(CHECKPOINTS / "nequix-format-3"): "nequix",
    DEFAULT: "nequix",
    str(CHECKPOINTS / "hdnnp-format-3"): "hdnnp",
}


@pytest.fixture(scope="module")
def called():
    """What each model calls, for a prediction, and for that and training."""
    result = subprocess.run(
        [sys.executable, "-c", CALLED, *MODELS], capture_output=True, text=True, timeout=1500, check=False,
        env=environment(),
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-3000:]
    lines = [[{tuple(key) for key in keys} for keys in json.loads(line)] for line in result.stdout.splitlines()]
    return dict(zip(MODELS, lines, strict=True))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("name", MODELS, ids=[Path(name).name for name in MODELS])
def test_the_list_of_a_first_call_is_what_is_called(called, name):
    predicted, both = called[name]
    prediction, training = (listed_overloads(MODELS[name], use) for use in (PREDICTION, TRAINING))
    advice = "run scripts/fixtures/make_first_call.py"
    assert predicted <= prediction.keys(), advice
    assert both <= prediction.keys() | training.keys(), advice
    # little is compiled in vain, for options that other models of the architecture have
    for listed, used in ((prediction, predicted), (training, both)):
        assert sum(seconds for key, seconds in listed.items() if key not in used) <= 0.2 * sum(listed.values()), advice


def listed_overloads(architecture, use):
    rows = [row for row in _rows()[architecture] if use_name(torch.float32, use) in row["uses"]]
    return {Overload(row["kernel"], row["types"]).key: row["seconds"] for row in rows}


def test_every_listed_overload_is_one_of_this_version():
    for rows in _rows().values():
        for row in rows:
            listed = Overload(row["kernel"], row["types"], row["seconds"])
            assert listed._found() is not None, row["kernel"]
            assert [_plain(_type(value)) for value in row["types"]] == row["types"]


#: stops where processes would be started, before anything is compiled
ASKED = """
from ase.build import bulk
import gnnpot
from gnnpot.compiler import together
from gnnpot.models.fast.first_call import first_call
class Asked(Exception):
    pass
def compile_overloads(overloads, processes=None):
    raise Asked(overloads)
together.compile_overloads = compile_overloads
potential = gnnpot.load()
atoms = bulk("Cu")
atoms.calc = gnnpot.Calculator(potential)
graph = gnnpot.graphs.build_graph(gnnpot.Frame.from_atoms(atoms, labels=False), potential.cutoff)
calls = {"prediction": atoms.get_forces, "training": lambda: potential(graph, training=True)}
for use, call in calls.items():
    try:
        call()
    except Asked as asked:
        (overloads,) = asked.args
        assert overloads and overloads == first_call(potential.model, use)
        print(use)
"""


def test_a_first_use_asks_for_what_it_needs(tmp_path):
    result = subprocess.run(
        [sys.executable, "-c", ASKED], capture_output=True, text=True, timeout=900, check=False,
        env=environment(GNNPOT_KERNELS=str(tmp_path)),
    )  # fmt: skip
    assert result.stdout.split() == ["prediction", "training"], result.stderr[-2000:]


@pytest.mark.parametrize(
    "value",
    ["int64", "bool", "float32", None, "float64 2C", "bool 1A", "int64 1C readonly", ["int64", None], ["float64"] * 3],
)
def test_types_as_plain_values(value):
    assert _plain(_type(json.loads(json.dumps(value)))) == value


@pytest.mark.parametrize("value", ["int65", "pyobject", "int65 2C", "os"])
def test_what_is_no_type_is_no_overload(value):
    listed = Overload("gnnpot.graphs.skin._farthest", [value, value])
    assert listed.is_kept() and not listed.compile()
    assert not Overload("gnnpot.graphs.skin.absent", ["int64"]).compile()
    assert not Overload("gnnpot.absent.kernel", ["int64"]).compile()
