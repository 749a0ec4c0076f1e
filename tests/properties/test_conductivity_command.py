"""Simulations of a conductivity study: runs that are interrupted and extended, and the command."""

import json
import shlex
from dataclasses import replace

import numpy as np
import pytest
import typer
from ase import Atoms
from ase.calculators.emt import EMT
from typer.testing import CliRunner

from gnnpot.errors import ConfigError, SimulationError
from gnnpot.properties.conductivity import (
    AnalysisConfig,
    ConductivityConfig,
)
from tests.properties.random_walks import walk


@pytest.fixture
def run(tmp_path, monkeypatch):
    from gnnpot.cli import conductivity

    monkeypatch.chdir(tmp_path)
    app = typer.Typer()
    conductivity.register(app)
    app.command("other")(lambda: None)
    return lambda line: CliRunner().invoke(app, shlex.split(line))


def test_the_command_simulates_resumes_and_reports(run, tmp_path):
    """Copper in aluminium does not conduct, which the verdict says; the folder is for this study only."""
    pytest.importorskip("plotly")
    atoms = Atoms("CuAl3", [[0, 0, 0], [0, 2, 2], [2, 0, 2], [2, 2, 0]], cell=[4.0, 4.0, 4.0], pbc=True)
    atoms.write("crystal.cif")
    line = "conductivity crystal.cif -m ase.calculators.emt:EMT --ion Cu -T 300,600 --supercell 1x1x2 -q --processes 1"
    line += " --equilibration 0.02 --interval 4 --production 0.1 --volume npt"
    result = run(line)
    assert result.exit_code == 0, result.exception
    folder = tmp_path / "crystal-conductivity"
    found = json.loads((folder / "conductivity.json").read_text(), parse_constant=pytest.fail)
    assert [r["temperature_K"] for r in found["runs"]] == [300, 600] and not found["runs"][0]["sufficient"]
    assert found["fits"]["collective"] is None and found["runs"][0]["atoms"] == 8
    conditions = found["conditions"]
    assert conditions["potential"] == {"model": "ase.calculators.emt:EMT"} and conditions["supercell"] == [1, 1, 2]
    expected = {"timestep_fs": 2.0, "thermostat": "bussi", "volume": "npt", "charge_e": 1.0, "seed": 0}
    assert expected.items() <= conditions.items() and conditions["gnnpot"]
    assert [(r["seed"], r["frames"], r["ions"], r["atoms"]) for r in conditions["runs"]] == [
        (0, 26, 2, 8),
        (1, 26, 2, 8),
    ]
    page = (folder / "report.html").read_text()
    for text in (
        "too short",
        "Potential and conditions",
        "ase.calculators.emt:EMT",
        "<td>1 x 1 x 2</td>",
        "volume, Å³",
    ):
        assert text in page
    # a folder of an earlier version, which does not name the potential, nor a pressure
    (folder / "300K/potential.json").unlink()
    plan = json.loads((folder / "plan.json").read_text())
    assert plan.pop("pressure") == 0.0
    (folder / "plan.json").write_text(json.dumps(plan))
    assert run(line.replace("0.1", "0.2")).exit_code == 0
    longer = json.loads((folder / "conductivity.json").read_text())
    assert longer["runs"][0]["time_ps"] == pytest.approx(0.2)
    assert isinstance(run(line + " --timestep 1").exception, ConfigError)
    # its analysis alone, on what it wrote
    only = run(f"conductivity --trajectory {folder}/300K/run.zarr --ion Cu -T 300 -o again -q")
    assert only.exit_code == 0, only.exception
    conditions = json.loads((tmp_path / "again/conductivity.json").read_text())["conditions"]
    (known,) = conditions["runs"]
    assert known["trajectory"].endswith("300K/run.zarr") and (known["frames"], known["frame_time_fs"]) == (51, 4.0)
    assert "potential" not in conditions and "51" in (tmp_path / "again/report.html").read_text()
    assert isinstance(run("conductivity --ion Cu").exception, ConfigError)
    unknown = run(line.replace("--ion Cu", "--ion Al")).exception
    assert isinstance(unknown, ConfigError) and "the charge of Al ions has no default" in str(unknown)
    # no option is passed over
    for unused in ("--supercell 2x2x2", "--production 20", "--model fast", "-p 2"):
        found = run(f"conductivity --trajectory {folder}/300K/run.zarr --ion Cu -T 300 -o again -q {unused}").exception
        assert isinstance(found, ConfigError) and "only analyses" in str(found)
    found = run(line + " --frame-time 10").exception
    assert isinstance(found, ConfigError) and "--frame-time: is for --trajectory" in str(found)


def test_temperatures_are_added_anywhere(tmp_path, monkeypatch):
    """Those of the folder keep their seeds, and so continue exactly; the order of a later call does not matter."""
    from gnnpot.properties.conductivity import calc

    seen = {}

    def simulate(cell, calculator, config, temperature, *_):
        seen[temperature] = config.seed + config.temperatures.index(temperature)

    monkeypatch.setattr(calc, "simulate", simulate)
    monkeypatch.setattr(calc, "analyse_folder", lambda folder, config, repeats: config)
    atoms = Atoms("Li", cell=[3.0, 3.0, 3.0], pbc=True)

    def conduct(*temperatures, **options):
        seen.clear()
        config = ConductivityConfig(ion="Li", temperatures=temperatures, seed=5, **options)
        calc.calc(atoms, lambda: None, config, tmp_path / "study")
        return dict(seen)

    assert conduct(500.0, 800.0) == {500.0: 5, 800.0: 6}
    assert conduct(500.0, 650.0, 800.0) == {500.0: 5, 800.0: 6, 650.0: 7}
    assert conduct(400.0, 500.0, 650.0, 800.0) == {500.0: 5, 800.0: 6, 650.0: 7, 400.0: 8}
    assert conduct(800.0, 650.0, 500.0, 400.0, production=200.0) == {500.0: 5, 800.0: 6, 650.0: 7, 400.0: 8}
    with pytest.raises(ConfigError, match=r"also holds simulations at 650, 400 K; give all of its temperatures"):
        conduct(500.0, 800.0)
    with pytest.raises(ConfigError, match="in which these are different: timestep; give the same again"):
        conduct(400.0, 500.0, 650.0, 800.0, timestep=1.0)
    # what is refused leaves the folder as it was
    assert conduct(400.0, 500.0, 650.0, 800.0)[650.0] == 7


def test_the_shape_of_the_cell_relaxes_under_pressure(tmp_path):
    """Copper, stretched along c: `npt` keeps c/a, `npt-full` does not; 20 GPa make both smaller than 0 GPa."""
    from ase.calculators.emt import EMT

    from gnnpot.engines.trajectory_reader import read_trajectory
    from gnnpot.properties.conductivity.runs import simulate

    sites = [[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]]
    atoms = Atoms("Cu4", scaled_positions=sites, cell=[3.55, 3.55, 3.9], pbc=True)
    times = {"equilibration": 0.3, "production": 0.08, "interval": 4.0}
    found = {}
    for volume, pressure in (("npt", 0.0), ("npt", 20.0), ("npt-full", 20.0)):
        config = ConductivityConfig(ion="Cu", temperatures=(300.0,), volume=volume, pressure=pressure, **times)
        folder = tmp_path / f"{volume}-{pressure:g}"
        first = next(iter(read_trajectory(simulate(atoms, EMT(), config, 300.0, folder))))
        cells = np.array([frame.cell.array for frame in read_trajectory(folder / "pressure.traj")])
        mean = cells[int(0.3 * len(cells)) :]
        if volume == "npt":
            assert first.get_volume() == pytest.approx(np.linalg.det(mean).mean())
        else:
            np.testing.assert_allclose(first.cell.array, mean.mean(axis=0), atol=1e-6)
        found[volume, pressure] = first
    ratio = {key: a.cell.lengths()[2] / a.cell.lengths()[0] for key, a in found.items()}
    assert ratio["npt", 0.0] == pytest.approx(3.9 / 3.55) == ratio["npt", 20.0]
    assert ratio["npt-full", 20.0] < 3.9 / 3.55 - 0.01
    assert found["npt", 20.0].get_volume() < 0.99 * found["npt", 0.0].get_volume()
    assert found["npt-full", 20.0].get_volume() < 0.99 * found["npt", 0.0].get_volume()


def test_a_pressure_without_effect_is_refused(run, tmp_path):
    atoms = Atoms("Cu", cell=[3.0, 3.0, 3.0], pbc=True)
    atoms.write("crystal.cif")
    line = "conductivity crystal.cif -m ase.calculators.emt:EMT --ion Cu -q --pressure 2"
    found = run(line).exception
    assert isinstance(found, ConfigError) and str(found).startswith("--pressure: is for --volume npt and npt-full")
    found = run(f"{line} --volume npt-full --equilibration 0").exception
    assert isinstance(found, ConfigError) and "no time to find the volume of 'npt-full'" in str(found)
    found = run("conductivity --trajectory run.traj --ion Cu -T 300 --pressure 2").exception
    assert isinstance(found, ConfigError) and "--pressure: is for simulations" in str(found)
    assert not (tmp_path / "crystal-conductivity").exists()
    with pytest.raises(ValueError, match="pressure: has no effect on a given volume"):
        ConductivityConfig(ion="Cu", pressure=1.0)


def test_an_explosion_names_options_of_the_study(tmp_path):
    from gnnpot.properties.conductivity.calc import calc

    atoms = Atoms("Cu4", [[0, 0, 0], [0, 1.8, 1.8], [1.8, 0, 1.8], [1.8, 1.8, 0]], cell=[3.6, 3.6, 3.6], pbc=True)
    config = ConductivityConfig(
        ion="Cu", temperatures=(2000.0,), supercell=(1, 1, 1), timestep=100, equilibration=0, production=20
    )
    with pytest.raises(SimulationError, match=r"exploded.*; take a shorter timestep.* or leave out 2000 K") as stopped:
        calc(atoms, EMT, config, tmp_path / "study")
    assert "max_temperature" not in str(stopped.value)
    # the other temperatures are run first
    with pytest.raises(SimulationError, match=r"2000 K: .*exploded.*; 1500 K: .*exploded"):
        calc(atoms, EMT, replace(config, temperatures=(2000.0, 1500.0)), tmp_path / "study")
    with pytest.raises(ConfigError, match="temperatures: 30000 K is above 20000 K, where a simulation is stopped"):
        calc(atoms, EMT, ConductivityConfig(ion="Cu", temperatures=(30000.0,)), tmp_path / "hot")
    assert not (tmp_path / "hot").exists()


def test_the_potential_of_a_run_is_named(tmp_path):
    """By its weights; several, if temperatures were run with different ones."""
    from types import SimpleNamespace

    from gnnpot.properties.conductivity.conditions import simulation_conditions, write_potential

    config = ConductivityConfig(ion="Li", temperatures=(500.0, 600.0), seed=3)
    folders, moved = [tmp_path / "500K", tmp_path / "600K"], [walk(1e-5, frames=30, ions=2)] * 2
    known = {"model": "my-model", "architecture": "sevennet", "functional": "PBE", "weights_sha256": "ab12"}
    for folder in folders:
        folder.mkdir()
    assert simulation_conditions(config, (1, 1, 1), folders, moved)["potential"] == {}
    for folder in folders:
        write_potential(SimpleNamespace(parameters=known | {"dtype": "float32", "more": 1}), folder)
    found = simulation_conditions(config, (1, 1, 1), folders, moved)
    assert found["potential"] == known | {"dtype": "float32"} and [r["seed"] for r in found["runs"]] == [3, 4]
    write_potential(SimpleNamespace(parameters=known | {"dtype": "float64"}), folders[1])
    several = simulation_conditions(config, (1, 1, 1), folders, moved)["potential"]
    assert [p["dtype"] for p in several] == ["float32", "float64"]


@pytest.mark.parametrize(
    ("line", "kelvin"),
    [
        ("crystal.cif -m {} --ion Cu --temperatures 350 400 500 650 800", (350, 400, 500, 650, 800)),
        ("--temperatures 350 400.5 crystal.cif -m {} --ion Cu", (350, 400.5)),
        ("-T 350 4e2 --ion Cu crystal.cif -m {}", (350, 400)),
        ("crystal.cif -m {} --ion Cu -T '350 400' 500", (350, 400, 500)),
        ("crystal.cif -m {} --ion Cu -T '350 400'", (350, 400)),
        ("crystal.cif -m {} --ion Cu -T 350,400", (350, 400)),
        ("crystal.cif -m {} --ion Cu -T 350, 400, 500 -q", (350, 400, 500)),
        ("crystal.cif -m {} --ion Cu --temperatures=350 400", (350, 400)),
        ("-m {} --ion Cu -T 350 400 -- crystal.cif", (350, 400)),
    ],
)
def test_temperatures_as_words(run, monkeypatch, line, kelvin):
    """Quoted or not; nothing is simulated."""
    from gnnpot.cli import conductivity

    class Asked(Exception):
        pass

    def simulated(atoms, make, config, *_):
        raise Asked(*config.temperatures)

    monkeypatch.setattr(conductivity, "_simulated", simulated)
    Atoms("Cu", cell=[3.0, 3.0, 3.0], pbc=True).write("crystal.cif")
    found = run(f"conductivity {line.format('ase.calculators.emt:EMT')}").exception
    assert isinstance(found, Asked) and found.args == kelvin


@pytest.mark.parametrize(
    "words", ["-T 350 400 crystal.cif 500K", "crystal.cif -T 350 400 hot", "crystal.cif 400 -T 350"]
)
def test_words_that_are_no_temperatures(run, words):
    Atoms("Cu", cell=[3.0, 3.0, 3.0], pbc=True).write("crystal.cif")
    result = run(f"conductivity -m ase.calculators.emt:EMT --ion Cu {words}")
    assert result.exit_code == 2 and "unexpected extra argument" in result.output
    for bad in ("350 -5", "350 nan"):
        found = run(f"conductivity crystal.cif -m ase.calculators.emt:EMT --ion Cu -T {bad}").exception
        assert isinstance(found, ConfigError) and "temperatures" in str(found)


def test_the_processes_share_the_cores():
    from gnnpot.properties.conductivity.calc import _threads

    cores_and_processes = ((16, 2, 8), (16, 5, 3), (16, 16, 1), (2, 5, 1), (1, 1, 1))
    for cores, processes, threads in cores_and_processes:
        assert _threads(cores, processes) == threads


def test_a_process_takes_its_threads():
    """As many as it is given, but no more than PyTorch began with."""
    import multiprocessing
    import queue

    import numba
    import torch

    from gnnpot.properties.conductivity import calc

    before = torch.get_num_threads(), numba.get_num_threads()
    try:
        for given, used in ((1, 1), (2, 2), (3, 3), (8, 3)):
            torch.set_num_threads(3)
            calc._work(Atoms(), lambda: None, None, [], (multiprocessing.Value("i", 0), queue.Queue(), given))
            assert torch.get_num_threads() == used
            assert numba.get_num_threads() == min(used, numba.config.NUMBA_NUM_THREADS)
    finally:
        torch.set_num_threads(before[0])
        numba.set_num_threads(before[1])


def test_what_is_asked_for():
    for bad in ({"temperatures": (300.0, 300.0)}, {"volume": "any"}, {"interval": 1.0}, {"supercell": (0, 1, 1)}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            ConductivityConfig(ion="Li", **bad)
    with pytest.raises(ValueError, match="charge"):
        AnalysisConfig(charge=0.0)
    with pytest.raises(ValueError, match="the charge of Mg ions has no default"):
        ConductivityConfig(ion="Mg")
    assert ConductivityConfig(ion="Mg", analysis=AnalysisConfig(charge=2.0)).analysis.charge_of("Mg") == 2.0
