"""The study of Li10GeP2S12: rows of temperatures that end at different times, and the fits that are made of them."""

import json

import numpy as np
import pytest
import typer
from ase.io import read

from gnnpot.units import BOLTZMANN

SYMBOLS = ["Li"] * 20 + ["P"] * 4 + ["S"] * 24 + ["Ge"] * 2


@pytest.fixture
def script(load_script):
    return load_script("studies/lgps/conductivity.py")


def row(script, temperature: float, left_out: str = "", name: str = "order-1") -> dict:
    """As of a run with an activation energy of 0.2 eV, 10 mS/cm at 300 K, and an error of 3 %."""
    middle = 10 * 300 / temperature * np.exp(-0.2 / BOLTZMANN * (1 / temperature - 1 / 300))
    samples = middle * np.exp(0.03 * np.random.default_rng(int(temperature)).normal(size=4000))
    quantiles = np.quantile(samples, script.QUANTILES).tolist()
    found = {"set": name, "potential": "student", "atoms": 400, "temperature_K": temperature, "time_ps": 300.0}
    found |= {
        "timestep_fs": script.RunSet(name).timestep,
        "left_out": left_out,
        "left_out_of_collective": left_out,
        "volume_A3_per_atom": 19.2,
    }
    found["sigma_mS_cm"] = found["sigma_collective_mS_cm"] = [middle, 0.9 * middle, 1.1 * middle]
    found |= {"D_cm2_s": [1e-6, 0.9e-6, 1.1e-6], "haven_ratio": [1.0, 0.9, 1.1]}
    return found | {"sigma_quantiles_mS_cm": quantiles, "sigma_collective_quantiles_mS_cm": quantiles}


def test_fits_are_made_of_the_rows_that_are_there(script, tmp_path):
    out = tmp_path / "conductivity.json"
    for temperature in (650.0, 500.0, 800.0):
        script._add(out, [row(script, temperature), row(script, temperature, "a part of 300 ps") | {"time_ps": 100.0}])
        content = json.loads(out.read_text())
        assert out.with_suffix(".png").stat().st_size > 1000
        # not before all temperatures of the set have ended
        assert len(content["fits"]) == (len(content["runs"]) == 6)
    assert [r["temperature_K"] for r in content["runs"]] == [500.0, 500.0, 650.0, 650.0, 800.0, 800.0]
    (fit,) = content["fits"]
    value, low, high = fit["Ea_eV"]
    assert low < 0.2 < high and high - low < 0.03 and value == pytest.approx(0.2, abs=0.01)
    assert fit["sigma_300K_mS_cm"][1] < 10 < fit["sigma_300K_mS_cm"][2] and fit["temperatures_K"] == [500, 650, 800]
    tables = (tmp_path / "conductivity-results.md").read_text()
    assert tables.count("| `order-1` | `student` |") == 7 and "left out: a part of 300 ps" in tables
    assert f"{value:.3f} ({low:.3f} to {high:.3f})" in tables


def test_what_has_a_row_is_not_run_again(script):
    sets = [s for s in script.SETS if s.name in ("order-1", "hdnnp")]
    models = {"student": "models/student", "hdnnp": None}
    waiting = list(script._waiting(sets, models, [row(script, 650.0)]))
    assert [(s.name, t, m) for s, t, m in waiting] == [
        ("order-1", 500.0, "models/student"),
        ("order-1", 800.0, "models/student"),
    ]


def test_temperatures_left_out_are_not_fitted(script):
    found = [row(script, 500.0), row(script, 650.0), row(script, 800.0, "S diffuses, at 3.0 % of Li")]
    assert script.fits(found)[0]["temperatures_K"] == [500, 650]
    found[1]["left_out_of_collective"] = "the collective diffusion coefficient is uncertain by 88 %; run longer"
    (fit,) = script.fits(found)
    assert fit["temperatures_K"] == [500, 650] and fit["Ea_collective_eV"] is None and fit["Ea_eV"][1] < 0.2
    assert script.fits(found[:1]) == []


def test_temperatures_to_run_now_are_those_of_the_sets(script):
    sets = [s for s in script.SETS if s.name in ("volume", "repeat-1")]
    assert script._chosen(None, sets) == {500.0, 650.0, 800.0}
    assert script._chosen("800,500", sets) == {500.0, 800.0}
    for wrong in ("700", "hot", ""):
        with pytest.raises(typer.BadParameter, match="no temperature of these sets; they have 500, 650, 800"):
            script._chosen(wrong, sets)


def test_rows_of_another_time_step_are_no_rows_of_the_set(script):
    sets = [s for s in script.SETS if s.name == "order-1"]
    found = [row(script, t) | {"timestep_fs": 2.0} for t in (500.0, 650.0)]
    assert len(list(script._waiting(sets, {"student": "student"}, found))) == 3
    mixed = [*found, row(script, 800.0)]
    assert script.fits(mixed) == []


def test_germanium_is_put_on_the_sites_that_it_shares(script):
    atoms = script.crystal()
    assert atoms.get_chemical_symbols() == SYMBOLS
    # the experimental cell: a, c of Kamaya et al. 2011
    assert atoms.cell.cellpar() == pytest.approx([8.71771, 8.71771, 12.63452, 90, 90, 90])
    # PS4 and GeS4
    sulphur = atoms.symbols.search("S")
    for centre in (*atoms.symbols.search("P"), *atoms.symbols.search("Ge")):
        distances = np.sort(atoms.get_distances(centre, sulphur, mic=True))
        assert distances[3] < 2.4 and distances[4] > 3.0
    for chosen in (s for s in script.SETS if s.germanium is not None):
        placed = script.crystal(chosen.germanium)
        assert set(np.flatnonzero(placed.symbols == "Ge")) == set(chosen.germanium) <= set(script.SHARED)
        assert placed.symbols.count("P") == 4 and all(placed.symbols[[22, 23]] == "P")


def test_lammps_gets_the_crystal(load_script, tmp_path):
    load_script("studies/lgps/in_lammps.py").prepare(tmp_path / "run", "lgps-4")
    found = read(tmp_path / "run" / "cell.data", format="lammps-data", units="metal")
    assert found.get_chemical_formula() == "Ge2Li20P4S24" and found.get_volume() == pytest.approx(8.71771**2 * 12.63452)
    text = (tmp_path / "run" / "in.lammps").read_text()
    assert "pair_coeff * * lgps-4 Li Ge P S" in text and "replicate 4 4 2" in text


def test_the_headline_waits_for_all_of_its_temperatures(script):
    rows = [row(script, t, name="main") | {"atoms": 1600} for t in script.FIVE]
    assert script.fits(rows[:4]) == [] and script.aim([]) is None
    fitted = script.fits(rows)
    assert fitted[0]["headline"] and script.aim(fitted)["met"] == {"Ea": True, "sigma_300K": True}
    # 25 mS/cm are more than a factor of 2 from 12
    worse = [fitted[0] | {"sigma_300K_mS_cm": [25.0, 20.0, 30.0], "Ea_eV": [0.31, 0.30, 0.32]}]
    assert script.aim(worse)["met"] == {"Ea": False, "sigma_300K": False}


def test_controls_are_compared_over_the_same_time(script):
    def at(name, diffusion, time=300.0):
        limits = [diffusion, 0.9 * diffusion, 1.1 * diffusion]
        return row(script, 650.0, name=name) | {"D_cm2_s": limits, "time_ps": time}

    part = at("size-400", 1e-5) | {"left_out": "a part of 1000 ps"}
    rows = [at("size-400", 2e-5, 1000.0), part, at("step", 1.15e-5), at("nve", 1.3e-5)]
    found = script.controls(rows, {"step": "size-400", "nve": "size-400"})
    assert [(c["set"], c["agree"]) for c in found] == [("step", True), ("nve", False)]
    assert all(c["D_reference_cm2_s"][0] == 1e-5 for c in found)


def test_independent_runs_are_taken_together(script):
    """Student's interval of four runs, and their scatter over what their own intervals say."""
    rng = np.random.default_rng(0)
    rows = []
    for k in range(1, 5):
        one = row(script, 500.0, name=f"repeat-{k}")
        for key, middle in (("D_cm2_s", 1e-5), ("D_collective_cm2_s", 2.5e-5)):
            value = middle * (1 + 0.05 * rng.normal())
            one[key] = [value, value - 0.098 * middle, value + 0.098 * middle]
        rows.append(one)
    assert script.repeated(rows[:1]) == []
    (found,) = script.repeated(rows)
    assert found["runs"] == 4 and found["haven_ratio"][1] < 0.4 < found["haven_ratio"][2]
    assert found["D_cm2_s"][1] < 1e-5 < found["D_cm2_s"][2]
    values = [one["D_cm2_s"][0] for one in rows]
    assert found["D_cm2_s"][2] - found["D_cm2_s"][0] == pytest.approx(3.182 * np.std(values, ddof=1) / 2, rel=1e-3)
    assert found["scatter_D"] == pytest.approx(np.std(values, ddof=1) / 0.05e-5, rel=1e-2)
