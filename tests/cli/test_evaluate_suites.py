"""`gnnpot evaluate --suite`, with a calculator of another package."""

import gzip
import json

import numpy as np
import pytest
from ase import units
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.io import write
from typer.testing import CliRunner

from gnnpot.cli import app
from gnnpot.data.references import ElementReferences
from gnnpot.errors import ConfigError
from gnnpot.hub.card import read_card
from gnnpot.hub.checkpoint import Card, save_checkpoint
from gnnpot.models.m3gnet import M3GNet, M3GNetConfig
from gnnpot.potential import Potential


def run(*arguments):
    return CliRunner().invoke(app, ["evaluate", *map(str, arguments)], catch_exceptions=False)


def test_a_suite_with_a_foreign_calculator(tmp_path):
    frames = [bulk("Cu", a=3.6 * x) for x in np.linspace(0.98, 1.02, 7)]
    for atoms in frames:
        atoms.info["acwf"] = "Cu-X/FCC"
    with gzip.open(tmp_path / "unaries_vasp_pbe_eos.extxyz.gz", "wt") as file:
        write(file, frames, format="extxyz")
    expected = {"Cu-X/FCC": {"min_volume": 12.0, "bulk_modulus_ev_ang3": 139 * units.GPa}}
    reference = tmp_path / "results-unaries-verification-PBE-v1-AE-average.json"
    reference.write_text(json.dumps({"BM_fit_data": expected}))
    out = tmp_path / "out"
    call = ("ase.calculators.emt:EMT", "--suite", "equations-of-state", "--data", tmp_path, "-o", out, "-q")
    found = run(*call)
    assert found.exit_code == 0 and "equations-of-state, ase.calculators.emt:EMT: done" in found.output
    assert "| ase.calculators.emt:EMT | 1 of 1 |" in (out / "table.md").read_text()
    assert (out / "table.json").exists() and (out / "equations-of-state.png").exists()
    results = out / "results" / "equations-of-state" / "ase.calculators.emt_EMT.json"
    before = results.stat().st_mtime_ns
    assert run(*call).exit_code == 0 and results.stat().st_mtime_ns == before
    assert json.loads(run(*call, "--json").stdout) == json.loads((out / "table.json").read_text())


def test_the_precision_is_part_of_the_results(tmp_path):
    frames = [bulk("Cu", a=a) for a in (3.5, 3.6, 3.7)]
    for atoms in frames:
        atoms.calc = EMT()
        atoms.get_forces()
    write(tmp_path / "frames.extxyz", frames)
    model = M3GNet(M3GNetConfig(elements=("Cu",), units=8, blocks=1, max_n=2, max_l=2))
    potential = Potential(model, ElementReferences.from_mapping({"energies": {"Cu": -3.5}}))
    tiny = save_checkpoint(tmp_path / "tiny", potential, Card(name="tiny"))
    for options, dtype in (((), "float32"), (("--dtype", "float64"), "float64")):
        found = json.loads(run(tiny, tmp_path / "frames.extxyz", "--stress", "none", *options, "--json").stdout)
        assert found["dtype"] == dtype and found["energy_count"] == 3
    call = (tiny, "--suite", "frames", "--data", tmp_path / "frames.extxyz", "-o", tmp_path / "out", "-q")
    table = json.loads(run(*call, "--dtype", "float64", "--json").stdout)
    (results,) = (tmp_path / "out" / "results").glob("frames*/tiny.json")
    key = json.loads(results.read_text())["key"]
    # the sha256 is that of the file, in its precision
    assert key["dtype"] == "float64" and key["sha256"] == read_card(tiny)["weights_sha256"]
    assert table[results.parent.name]["tiny"]["dtype"] == "float64"
    assert "tiny was evaluated in float64." in (tmp_path / "out" / "table.md").read_text()
    with pytest.raises(ConfigError, match="dtype"):
        run(*call)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("gnnpot-1",), "or a benchmark with --suite"),
        (("gnnpot-1", "--suite", "fonons"), "is no suite; did you mean 'phonons'"),
        (("gnnpot-1", "--suite", "phonons", "--stress", "none"), "leave them out with --suite"),
        (
            ("ase.calculators.emt:EMT", "x.xyz", "--dtype", "float64"),
            "--dtype: has no effect on ase.calculators.emt:EMT",
        ),
        (
            ("gnnpot-1", "a.b:C", "--suite", "speed", "--dtype", "float64"),
            "--dtype: has no effect on a.b:C, a calculator",
        ),
        (("gnnpot-1", "--suite", "speed", "-p", "2"), "--suite speed measures in one process"),
        (("gnnpot-1", "--suite", "phonons", "--suite", "speed", "--count", "5"), "and has no items; leave them out"),
        (("gnnpot-1", "gnnpot-1", "--suite", "diatomics"), "two models have one name"),
        (("gnnpot-1", "frames.extxyz", "-o", "out"), "is for benchmarks; add --suite, or leave it out"),
        (("gnnpot-1", "frames.extxyz", "--count", "5"), "is for benchmarks; add --suite, or leave it out"),
    ],
)
def test_errors_are_sentences(tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=words):
        run(*arguments)
    assert list(tmp_path.iterdir()) == []
