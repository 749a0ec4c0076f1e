"""What every command has in common: version, help, what is imported, presets; and `gnnpot predict`."""

import json
import subprocess
import sys
from itertools import islice

import numpy as np
import pytest
from ase.build import bulk
from ase.io import read, write
from typer.testing import CliRunner

import gnnpot
from gnnpot.cli import app, data, predict
from gnnpot.cli.predict import _keep_whole
from gnnpot.config import presets, read_yaml
from gnnpot.errors import ConfigError, DataError
from gnnpot.runs.lock import file_lock

#: modules that take long to import
HEAVY = ("torch", "torch_geometric", "numba", "pymatgen", "lightning", "matplotlib", "pyarrow", "scipy", "numpy", "ase")
#: what the extras install, and core packages need not
EXTRAS = ("lightning", "matplotlib", "pyarrow", "deltalake", "mp_api", "ijson", "pytorch_optimizer", "tensorboard")


def run(line):
    return CliRunner().invoke(app, line.split())


#: what takes some milliseconds each, which `--help` need not spend
NOT_FOR_HELP = ("yaml", "importlib.metadata", "multiprocessing", "rich.progress", "rich.logging", "filelock", "psutil")


def imported(code, among=HEAVY):
    code = f"import sys\n{code}\nprint('@', *[m for m in {among!r} if m in sys.modules])"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    return set(shown.rpartition("@")[2].split())


def test_help_models_and_card_import_little():
    call = "from typer.testing import CliRunner\nfrom gnnpot.cli import app\n"
    call += "assert CliRunner().invoke(app, {}).exit_code == 0"
    assert imported(call.format(["--help"]), (*HEAVY, *NOT_FOR_HELP)) == set()
    assert imported(call.format(["models", "--json"])) == set()
    assert imported(call.format(["card", "--json"])) == set()
    missing = "import gnnpot.cli, sys\nsys.argv = ['gnnpot', 'card', 'gnnpot-11']\ntry:\n    gnnpot.cli.main()\n"
    missing += "except SystemExit as ended:\n    assert ended.code == 1"
    assert imported(missing) == set()


def test_prediction_needs_no_extra():
    block = f"""
import importlib.abc
class Block(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {EXTRAS!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Block())
import gnnpot
gnnpot.load, gnnpot.Calculator, gnnpot.relax, gnnpot.run_md, gnnpot.predict, gnnpot.check, gnnpot.list_models
try:
    gnnpot.train
except gnnpot.GnnpotError as error:
    assert "gnnpot[train]" in str(error), error
else:
    raise AssertionError("train should need an extra")
"""
    assert "lightning" not in imported(block)


def test_version_and_short_help():
    assert run("--version").stdout == f"gnnpot {gnnpot.__version__}\n"
    assert run("models -h").exit_code == 0


def test_written_out_choices_are_those_of_the_readers():
    from gnnpot.data.readers import formats
    from gnnpot.data.splits import FRACTIONS
    from gnnpot.data.stress import PRESETS

    assert formats() == data.FORMATS and tuple(PRESETS) == data.CONVENTIONS and dict(FRACTIONS) == data.FRACTIONS


def test_presets_are_printed_and_can_be_read(tmp_path):
    assert run("config").stdout.split() == list(presets())
    path = tmp_path / "mine.yaml"
    path.write_text(run("config m3gnet").stdout)
    assert read_yaml(path) == read_yaml(presets()["m3gnet"])
    assert json.loads(run("config m3gnet --json").stdout) == read_yaml(path)
    assert json.loads(run("config --json").stdout) == list(presets())
    with pytest.raises(ConfigError, match="did you mean 'm3gnet'"):
        CliRunner().invoke(app, ["config", "m3gne"], catch_exceptions=False)
    with pytest.raises(ConfigError, match="either a YAML file or --preset"):
        CliRunner().invoke(app, ["train"], catch_exceptions=False)


def test_configurations_extend_one_another(tmp_path):
    base, mine = tmp_path / "base.yaml", tmp_path / "mine.yaml"
    base.write_text("model: {architecture: m3gnet, units: 64}\nepochs: 3\n")
    mine.write_text("extends: base.yaml\nmodel: {units: 8}\n")
    assert read_yaml(mine) == {"model": {"architecture": "m3gnet", "units": 8}, "epochs": 3}
    # another architecture, or kind, has other options: nothing of the mapping below is kept
    base.write_text("model: {architecture: hdnnp, hidden: [8]}\nexplore: {kind: a, size: 1}\nrun: x\n")
    mine.write_text("extends: base.yaml\nmodel: {architecture: m3gnet, units: 8}\nexplore: {kind: b}\n")
    assert read_yaml(mine) == {"model": {"architecture": "m3gnet", "units": 8}, "explore": {"kind": "b"}, "run": "x"}
    base.write_text("extends: mine.yaml\n")
    with pytest.raises(ConfigError, match="extends it in turn"):
        read_yaml(mine)


def test_predictions_are_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    frames = [bulk("NaCl", "rocksalt", a=5.6 + 0.02 * k) for k in range(5)]
    write("in.extxyz", frames)
    summary = json.loads(run("predict in.extxyz -o out.extxyz --json -q").stdout)
    assert summary["structures"] == 5 and summary["resumed_from"] == 0
    found = read("out.extxyz", ":")
    assert all({"energy", "forces", "stress"} <= set(atoms.calc.results) for atoms in found)
    with pytest.raises(DataError, match="exists already"):
        CliRunner().invoke(app, ["predict", "in.extxyz", "-o", "out.extxyz", "-q"], catch_exceptions=False)
    with pytest.raises(DataError, match="extended XYZ"):
        CliRunner().invoke(app, ["predict", "in.extxyz", "-o", "out.cif", "-q"], catch_exceptions=False)


def test_a_second_process_does_not_predict_into_the_same_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write("in.extxyz", bulk("NaCl", "rocksalt", a=5.6))
    words = ["predict", "in.extxyz", "-o", "out.extxyz", "-q"]
    with file_lock(tmp_path / "out.extxyz", "a prediction"), pytest.raises(DataError) as refused:
        CliRunner().invoke(app, words, catch_exceptions=False)
    assert str(refused.value).startswith("out.extxyz: another process is writing it")
    assert run(" ".join(words)).exit_code == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.extxyz", "out.extxyz"]


def test_predictions_of_an_earlier_call_are_kept(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    frames = [bulk("NaCl", "rocksalt", a=5.6 + 0.02 * k) for k in range(5)]
    write("in.extxyz", frames)
    monkeypatch.setattr(predict, "CHUNK", 2)

    whole = gnnpot.predict

    def interrupted(*arguments, **options):
        """Predictions of three frames, after which the user interrupts."""
        yield from islice(whole(*arguments, **options), 3)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("gnnpot.engines.predict.predict", interrupted)
        assert run("predict in.extxyz -o out.extxyz -q").exit_code != 0
    assert not (tmp_path / "out.extxyz").exists() and len(read("out.extxyz.partial", ":", format="extxyz")) == 2
    kept = (tmp_path / "out.extxyz.partial").read_text()
    summary = json.loads(run("predict in.extxyz -o out.extxyz --json -q").stdout)
    assert (summary["structures"], summary["resumed_from"]) == (5, 2)
    assert (tmp_path / "out.extxyz").read_text().startswith(kept)
    found = [atoms.cell.array for atoms in read("out.extxyz", ":")]
    assert np.allclose(found, [atoms.cell.array for atoms in frames])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.extxyz", "out.extxyz"]


def test_a_file_that_ends_within_a_frame_is_cut_to_whole_frames(tmp_path):
    path = tmp_path / "cut.extxyz"
    write(path, [bulk("Cu", cubic=True)] * 3)
    whole = path.read_bytes()
    path.write_bytes(whole[:-5])
    assert _keep_whole(path) == 2 and len(read(path, ":")) == 2
    path.write_bytes(whole)
    assert _keep_whole(path) == 3 and path.read_bytes() == whole
