"""`gnnpot data mp` and `gnnpot data report`, as a user types them."""

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gnnpot.cli import app
from gnnpot.data import FrameStore, bundled_path
from gnnpot.data.mp import MP_TABLE
from gnnpot.data.mp.delta import S3_OPTIONS, TrajectoryTable
from gnnpot.errors import ConfigError, DataError

from .conftest import write_table
from .test_files import mptrj


def run(*arguments, **environment) -> str:
    environment = {"COLUMNS": "200", "MP_API_KEY": None, **environment}
    result = CliRunner().invoke(app, ["data", *map(str, arguments)], env=environment)
    if result.exception is not None:
        raise result.exception
    return result.output


@pytest.mark.parametrize("command", ["mp", "report"])
def test_help_shows_an_example(command):
    assert f"Example: gnnpot data {command}" in run(command, "--help")


def test_from_the_table_to_the_report(table, tmp_path):
    options = tmp_path / "curation.yaml"
    options.write_text("filters:\n  - {filter: labels}\n  - {filter: forces, limit: 3}\nsource: a trial\n")
    out = run("mp", "-o", tmp_path / "s", "--table", table, "-c", options, "--run-types", "GGA")
    store = FrameStore(tmp_path / "s", verify="sha256")
    assert "a force above 3 eV/Å" in out and "stress agrees with the energies" in out
    assert {f.provenance.functional for f in store} == {"PBE"} and store.manifest.source == "a trial"
    run("report", tmp_path / "s", "-o", tmp_path / "report")
    page = (tmp_path / "report" / "report.html").read_text()
    left_out = store.manifest.filters["a force above 3 eV/Å"]
    assert left_out > 0 and re.search(rf"a force above 3 eV/Å</td><td>{left_out}</td>", page)
    assert f"<td>kept</td><td>{len(store)}</td>" in page and "kbar:compression" in page
    for name in ("filters", "histograms", "elements"):
        assert (tmp_path / "report" / f"{name}.png").stat().st_size > 5000 and f'alt="{name}"' in page


def test_from_mptrj(trajectories, tmp_path):
    path = tmp_path / "MPtrj.json"
    path.write_text(json.dumps(mptrj(trajectories)))
    run("mp", "-o", tmp_path / "s", "--mptrj", path, "--elements", "Si,C", "--energy", "zero")
    assert set(FrameStore(tmp_path / "s").manifest.elements) == {"C", "Si"}


def test_a_resumed_command_stays_with_its_version(rows, tmp_path, monkeypatch):
    uri = write_table(tmp_path / "t", rows)
    from gnnpot.data import builder

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(builder.ShardWriter, "close", full)
        with pytest.raises(DataError, match="No space left"):
            run("mp", "-o", tmp_path / "s", "--table", uri)
    write_table(tmp_path / "t", rows[:3], mode="append")
    run("mp", "-o", tmp_path / "s", "--table", uri)
    assert FrameStore(tmp_path / "s").manifest.curation["source"]["version"] == 0
    run("mp", "-o", tmp_path / "new", "--table", uri)
    assert FrameStore(tmp_path / "new").manifest.curation["source"]["version"] == 1


def test_what_can_not_be_is_said(table, tmp_path):
    with pytest.raises(ConfigError, match="need a key of the Materials Project in MP_API_KEY"):
        run("mp", "-o", tmp_path / "s", "--table", table, "--with-ids")
    with pytest.raises(ConfigError, match="three sources"):
        run("mp", "-o", tmp_path / "s", "--table", table, "--mptrj", "a.json")
    with pytest.raises(ConfigError, match="belong to the table"):
        run("mp", "-o", tmp_path / "s", "--mptrj", "a.json", "--with-ids")
    with pytest.raises(ConfigError, match="'fre' is not a choice"):
        run("mp", "-o", tmp_path / "s", "--table", table, "--energy", "fre")
    with pytest.raises(ConfigError, match="several functionals"):
        run("mp", "-o", tmp_path / "s", "--table", table, "--run-types", "GGA,r2SCAN")
    assert list(tmp_path.glob("s*")) == []
    run("convert", bundled_path(), "-o", tmp_path / "plain")
    with pytest.raises(DataError, match="was not curated"):
        run("report", tmp_path / "plain", "-o", tmp_path / "report")


def test_the_default_address_is_that_of_mp_api(monkeypatch, tmp_path):
    """What mp-api's client opens to read one trajectory, and what is opened here without a table named."""
    import deltalake
    from mp_api.client.core import client

    class Opened(Exception):
        pass

    def opening(uri, version=None, storage_options=None):
        raise Opened(uri, storage_options)

    monkeypatch.setattr(deltalake, "DeltaTable", opening)
    with pytest.raises(Opened) as here:
        TrajectoryTable.open()
    monkeypatch.setattr(client, "DeltaTable", opening)
    source = Path(client.__file__).parents[1] / "routes" / "materials" / "tasks.py"
    bucket, prefix = re.search(r'"(materialsproject-\w+)",\s*"([\w/]+)",\s*label="traj"', source.read_text()).groups()
    rester = client.BaseRester.__new__(client.BaseRester)
    rester.timeout, rester._query_builder = 20, None
    with pytest.raises(Opened) as there:
        rester._get_delta_table(bucket, prefix)
    uri, options = there.value.args
    assert here.value.args[0] == MP_TABLE == uri.replace("s3a://", "s3://")
    assert here.value.args[1] == S3_OPTIONS and {k: options[k] for k in S3_OPTIONS if k.startswith("AWS")} == {
        k: v for k, v in S3_OPTIONS.items() if k.startswith("AWS")
    }
