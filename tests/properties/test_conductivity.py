"""Transport coefficients: random walks of known truth, trajectories of others, runs that are interrupted."""

import json
import shlex
from dataclasses import replace

import numpy as np
import pytest
import typer
from ase import Atoms
from ase.calculators.emt import EMT
from ase.io import write
from scipy.signal import lfilter
from typer.testing import CliRunner

from gnnpot.engines.trajectories import create_trajectory
from gnnpot.errors import ConfigError, DataError, SimulationError
from gnnpot.properties.conductivity import (
    AnalysisConfig,
    ConductivityConfig,
    Displacements,
    analyse,
    read_displacements,
)
from gnnpot.properties.conductivity.arrhenius import fit_arrhenius
from gnnpot.properties.conductivity.jumps import count_jumps
from gnnpot.properties.conductivity.maps import density, van_hove
from gnnpot.properties.conductivity.msd import (
    block_slopes,
    chosen_lags,
    collective_msd,
    diffusion_samples,
    estimate_from_blocks,
    estimate_from_samples,
    tracer_msd,
)
from gnnpot.properties.conductivity.result import conclude
from gnnpot.properties.conductivity.tables import framework_cell
from gnnpot.properties.conductivity.transport import conductivity_factor
from gnnpot.units import BOLTZMANN

#: Å, ps
SIDE, FRAME_TIME = 20.0, 0.2


def walk(tracer: float, haven: float = 1.0, *, ions: int = 24, frames: int = 1200, seed: int = 0) -> Displacements:
    """A random walk with vibrations; D_tracer in cm²/s."""
    rng = np.random.default_rng(seed)
    common = (1 / haven - 1) / (ions - 1)
    own, shared = rng.normal(size=(frames, ions, 3)), rng.normal(size=(frames, 1, 3))
    steps = np.sqrt(2 * tracer * 1e4 * FRAME_TIME) * (np.sqrt(1 - common) * own + np.sqrt(common) * shared)
    positions = np.cumsum(steps, axis=0) + rng.uniform(0, SIDE, (ions, 3)) + 0.2 * rng.normal(size=steps.shape)
    return Displacements("Li", positions.astype(np.float32), {}, FRAME_TIME, SIDE * np.eye(3), ions)


def test_intervals_of_blocks_hold_the_truth():
    """95 % intervals in 60 cases: at least 51 (a chance of 1 in 1000 of fewer, if they are right)."""
    held = {"tracer": 0, "collective": 0}
    for seed in range(60):
        moved = walk(2e-5, 0.5, ions=12, frames=800, seed=seed)
        for name, true in (("tracer", 2e-5), ("collective", 4e-5)):
            slopes = block_slopes(moved.ions, 5, 10, collective=name == "collective")
            held[name] += estimate_from_blocks(slopes).scaled(1e-4 / FRAME_TIME).holds(true)
    assert min(held.values()) >= 51


def test_intervals_hold_the_truth():
    """The script `scripts/checks/diffusion_intervals.py` does 200; here are eight, of which one may miss each."""
    held = {"tracer": 0, "collective": 0, "haven_ratio": 0}
    for seed in range(8):
        found = analyse(walk(2e-5, 0.5, seed=seed), 600.0)
        truth = {"tracer": 2e-5, "collective": 4e-5, "haven_ratio": 0.5}
        for name, true in truth.items():
            held[name] += getattr(found, name).holds(true)
    assert min(held.values()) >= 6
    assert found.framework_diffusion == {}
    assert found.nernst_einstein.value == pytest.approx(
        found.tracer.value * conductivity_factor(24, SIDE**3, 600.0, 1.0)
    )
    assert all(axis.holds(2e-5) for axis in analyse(walk(2e-5, seed=3), 600.0).axes)


def test_intervals_hold_the_truth_where_ions_rattle():
    """The line does not pass through zero there: slow rattling adds 6 u² to the mean square."""
    held = {"tracer": 0, "collective": 0}
    for seed in range(20):
        moved = walk(1e-5, 0.5, seed=seed)
        noise = np.random.default_rng(1000 + seed).normal(size=moved.ions.shape)
        rattling = lfilter([np.sqrt(1 - 0.9**2)], [1, -0.9], noise, axis=0)
        found = analyse(replace(moved, ions=moved.ions + 0.6 * rattling.astype(np.float32)), 600.0)
        for name, true in (("tracer", 1e-5), ("collective", 2e-5)):
            held[name] += getattr(found, name).holds(true)
        assert found.tracer.high - found.tracer.value < 1.2 * (found.tracer.value - found.tracer.low)
    assert min(held.values()) >= 17


def test_the_posterior_is_that_of_kinisi():
    """Where its chains begin at the truth: a line through zero."""
    diffusion, sc = pytest.importorskip("kinisi.diffusion"), pytest.importorskip("scipp")
    moved = walk(2e-5, seed=5)
    msd = tracer_msd(moved.ions, chosen_lags(len(moved.ions)))
    time = sc.array(dims=["time interval"], values=msd.lags * FRAME_TIME, unit="ps")
    data = sc.DataArray(
        data=sc.Variable(dims=["time interval"], values=msd.values, variances=msd.variances, unit="angstrom^2"),
        coords={"time interval": time, "n_samples": sc.array(dims=["time interval"], values=msd.independent)},
    )
    fit = diffusion.Diffusion(sc.DataGroup({"da": data, "dimensionality": sc.scalar(3.0)}))
    fit.bayesian_regression(time[0], n_samples=1500, n_burn=3000, progress=False, random_state=np.random.RandomState(0))
    theirs = estimate_from_samples(np.asarray(fit.gradient.values) / 6 * 1e-4)
    ours = estimate_from_samples(diffusion_samples(msd, FRAME_TIME, 1, 0))
    assert ours.value == pytest.approx(theirs.value, rel=0.01)
    assert ours.high - ours.low == pytest.approx(theirs.high - theirs.low, rel=0.1)


def test_diffusion_along_axes():
    """Directions of a cell that is not orthogonal; ions move along c only, or in the plane of a and b."""
    moved = walk(2e-5, ions=400)
    cell = np.array([[20.0, 0, 0], [10, 17, 0], [0, 0, 25]])
    flat, straight = (moved.ions * np.array(mask, np.float32) for mask in ((1, 1, 0), (0, 0, 1)))
    along = analyse(replace(moved, ions=flat, cell=cell), 600.0).axes
    assert [a.value for a in along] == pytest.approx([2e-5, 2e-5, 0.0], abs=1.5e-6)
    along = analyse(replace(moved, ions=straight, cell=cell), 600.0, AnalysisConfig(fit_from=5.0)).axes
    assert [a.value for a in along] == pytest.approx([0.0, 0.0, 2e-5], abs=1.5e-6)


def test_jumps_of_a_lattice_gas():
    """Jumps of 3 Å along the axes at a known rate, independent of each other: the correlation factor is 1."""
    rng = np.random.default_rng(0)
    ions, frames, rate, length = 40, 4000, 0.1, 3.0
    steps = np.zeros((frames, ions, 3))
    jumped = rng.random((frames, ions)) < rate * FRAME_TIME
    axis, sign = rng.integers(0, 3, (frames, ions)), rng.choice((-length, length), (frames, ions))
    np.put_along_axis(steps, axis[..., None], (jumped * sign)[..., None], axis=2)
    positions = np.cumsum(steps, axis=0) + 0.2 * rng.normal(size=steps.shape)
    moved = Displacements("Li", positions.astype(np.float32), {}, FRAME_TIME, SIDE * np.eye(3), ions)
    tracer = rate * length**2 / 6 * 1e-4
    found = count_jumps(moved, length, tracer)
    assert found.rate == pytest.approx(rate, rel=0.1) and found.residence == pytest.approx(1 / rate, rel=0.1)
    assert found.length == pytest.approx(length, rel=0.05)
    assert found.correlation == pytest.approx(1.0, abs=0.1)
    assert found.along == pytest.approx((1 / 3, 1 / 3, 1 / 3), abs=0.03)
    # back and forth between two sites is no diffusion
    there_and_back = np.zeros((frames, ions, 3))
    there_and_back[:, :, 0] = length * (np.cumsum(jumped, axis=0) % 2)
    again = count_jumps(replace(moved, ions=there_and_back.astype(np.float32)), length, 1e-9)
    assert again.correlation < 0.01 and again.along[0] == pytest.approx(1.0)


def test_nernst_and_einstein():
    """1e-7 cm²/s of 1e22 ions per cm³ at 300 K: n e² D/(k T) = 6.1973 mS/cm."""
    assert 1e-7 * conductivity_factor(100, 1e4, 300.0, 1.0) == pytest.approx(6.1973, rel=1e-4)
    assert conductivity_factor(1, 1.0, 300.0, 2.0) == pytest.approx(4 * conductivity_factor(1, 1.0, 300.0, -1.0))


def test_mean_squares_against_a_loop():
    moved = walk(1e-5, ions=3, frames=40)
    x = moved.ions.astype(float)
    pairs = [(s, s + 7) for s in range(33)]
    tracer = np.mean([np.sum((x[e] - x[s]) ** 2) / 3 for s, e in pairs])
    total = np.mean([np.sum((x[e] - x[s]).sum(axis=0) ** 2) / 3 for s, e in pairs])
    assert tracer_msd(moved.ions, np.array([7])).values[0] == pytest.approx(tracer, rel=1e-5)
    assert collective_msd(moved.ions, np.array([7])).values[0] == pytest.approx(total, rel=1e-5)


def test_a_run_that_is_too_short_is_said_to_be():
    found = analyse(walk(1e-9), 300.0)
    assert not found.sufficient and any("site to site" in reason for reason in found.verdict)
    with pytest.raises(DataError, match="discard"):
        analyse(walk(1e-5, frames=100), 300.0, AnalysisConfig(discard=19.0))


def with_framework(moved: Displacements, share: float, *, atoms: int = 30, seed: int = 50) -> Displacements:
    """Add sulphur that vibrates, librates slowly, and diffuses at `share` of 2e-5 cm²/s; and still phosphorus."""
    frames = len(moved.ions)
    still = walk(0.0, ions=6, frames=frames, seed=seed + 1).ions
    rng = np.random.default_rng(seed + 2)
    # a correlation time of 10 ps
    slow = lfilter([np.sqrt(1 - 0.98**2)], [1, -0.98], rng.normal(size=(frames, atoms, 3)), axis=0)
    moving = walk(share * 2e-5, ions=atoms, frames=frames, seed=seed).ions + 0.3 * slow.astype(np.float32)
    return replace(moved, framework={"P": still, "S": moving}, atoms=moved.atoms + 6 + atoms)


def test_a_framework_that_melts_is_left_out():
    """Sulphur at 32 % and 5 % of lithium's coefficient; solid, vibrating ones are used, also in short runs."""
    solid = [analyse(with_framework(walk(2e-5, seed=s), 0.0, seed=50 + s), 500.0 + s) for s in range(3)]
    melted = [analyse(with_framework(walk(2e-5, seed=9, frames=2000), share), 800.0) for share in (0.32, 0.05)]
    for found, share in zip(melted, (0.32, 0.05), strict=True):
        assert found.framework_share["S"] == pytest.approx(share, rel=0.3) and abs(found.framework_share["P"]) < 0.01
        (reason,) = found.framework_verdict
        assert reason.startswith("S diffuses at") and "melts or reacts" in reason
        assert not found.verdict and not found.sufficient and not found.collective_sufficient
        assert found.to_json()["verdict_framework"] == [reason] and not found.to_json()["sufficient"]
    assert all(t.sufficient and not t.framework_verdict for t in solid)
    assert framework_cell(melted[0]).startswith("S 3") and framework_cell(analyse(walk(2e-5), 500.0)) == "–"
    assert framework_cell(replace(solid[0], framework_diffusion={"S": -1e-9})) == "S < 0.1 %"
    result = conclude([*solid, melted[0]], 1.0)
    assert result.left_out == (800.0,) and 800.0 not in result.nernst_einstein.temperatures
    assert result.melted == (f"800 K: {melted[0].framework_verdict[0]}",) and result.melted[0] in result.verdict
    assert not any("S diffuses" in reason for reason in result.too_short)
    # a limit of its own, for two mobile ions
    mixed = AnalysisConfig(framework_limit=1.0)
    assert analyse(with_framework(walk(2e-5, seed=9, frames=2000), 0.32), 800.0, mixed).sufficient


def test_noise_is_no_melting():
    """Short runs of few atoms that vibrate: slopes scatter by more than the limit, and no temperature is left out."""
    shares = []
    for seed in range(20):
        moved = with_framework(walk(2e-5, seed=seed, frames=200, ions=8), 0.0, atoms=4, seed=100 + 10 * seed)
        found = analyse(moved, 600.0)
        assert not found.framework_verdict
        shares.append(found.framework_share["S"])
    assert max(shares) > 0.02
    # nothing diffuses: there is nothing to compare with
    assert not analyse(with_framework(walk(1e-9), 0.0), 300.0).framework_verdict


def test_intervals_that_do_not_overlap_are_a_caution():
    """They leave no temperature out."""
    from gnnpot.properties.conductivity.verdict import cautions

    found = analyse(walk(2e-5, frames=400), 600.0)
    other = replace(found, tracer_blocks=found.tracer.scaled(3.0), framework_diffusion={"S": 0.0})
    (caution,) = cautions(other)
    assert caution.startswith("the intervals of the tracer diffusion coefficient do not overlap")
    assert cautions(replace(other, tracer_blocks=found.tracer)) == cautions(replace(other, tracer_blocks=None)) == ()
    (unseen,) = cautions(replace(other, tracer_blocks=None, framework_diffusion={}))
    assert "no element besides Li" in unseen
    cautious = replace(other, cautions=(caution,), verdict=(), collective_verdict=())
    result = conclude([cautious], 1.0)
    assert cautious.sufficient and result.left_out == () and result.verdict == ()
    assert result.cautions == (f"600 K: {caution}",) and result.to_json()["cautions"] == list(result.cautions)


def test_arrhenius_finds_its_energy():
    rng = np.random.default_rng(0)
    temperatures = (500.0, 600.0, 700.0, 800.0)
    held = np.zeros(2)
    for _ in range(40):
        true = 1e4 * np.exp(-0.25 / (BOLTZMANN * np.array(temperatures))) / temperatures
        samples = [v * np.exp(0.1 * (rng.normal() + rng.normal(size=500))) for v in true]
        fit = fit_arrhenius(temperatures, samples, of_product=True)
        room = 1e4 * np.exp(-0.25 / (BOLTZMANN * 300)) / 300
        held += (fit.activation_energy.holds(0.25), fit.at(300.0).holds(room))
    assert held.min() >= 34


def test_a_foreign_trajectory(tmp_path):
    """Wrapped into the cell, with a framework that drifts: displacements come out relative to it."""
    moved = walk(2e-5, frames=60, ions=6)
    frames = []
    for k, positions in enumerate(moved.ions):
        drift = np.array([0.05 * k, 0, 0])
        fixed = np.array([[1.0, 2, 3], [11, 12, 13]]) + drift
        atoms = Atoms("Li6S2", np.vstack([positions + drift, fixed]), cell=SIDE * np.eye(3), pbc=True)
        atoms.wrap()
        frames.append(atoms)
    path = tmp_path / "foreign.extxyz"
    write(path, frames)
    with pytest.raises(DataError, match="frame-time"):
        read_displacements(path, "Li")
    found = read_displacements(path, "Li", frame_time=200.0)
    expected = moved.ions - moved.ions[0]
    np.testing.assert_allclose(found.ions - found.ions[0], expected, atol=1e-4)
    np.testing.assert_allclose(found.framework["S"] - found.framework["S"][0], 0, atol=1e-4)
    assert found.frame_time == pytest.approx(0.2) and found.atoms == 8
    with pytest.raises(DataError, match="no Na"):
        read_displacements(path, "Na", frame_time=200.0)
    frames[30].positions[0] += 9.0
    write(path, frames)
    with pytest.raises(DataError, match="too far to be followed"):
        read_displacements(path, "Li", frame_time=200.0)


def test_elements_that_change_their_order_are_refused(tmp_path):
    moved = walk(2e-5, frames=30, ions=6)
    frames = [Atoms("Li5S", positions, cell=SIDE * np.eye(3), pbc=True) for positions in moved.ions]
    frames[20].symbols[[0, 5]] = ["S", "Li"]
    write(tmp_path / "sorted.extxyz", frames)
    with pytest.raises(DataError, match="frame 20 has its elements in another order"):
        read_displacements(tmp_path / "sorted.extxyz", "Li", frame_time=200.0)


@pytest.mark.parametrize("elements", [(), ("Li",), ("Li", "Na")])
def test_the_framework_is_of_all_other_atoms(tmp_path, caplog, elements):
    """Also of those that were not written: a second ion that is written is not the framework."""
    path, moved = tmp_path / "run.zarr", walk(2e-5, frames=40, ions=6)
    still = np.random.default_rng(1).uniform(0, SIDE, (20, 3))
    writer = None
    for k, positions in enumerate(moved.ions):
        atoms = Atoms("Li4Na2S20", np.vstack([positions, still]), cell=SIDE * np.eye(3), pbc=True)
        state = {"step": 50 * k, "time": 100.0 * k}
        if writer is None:
            writer = create_trajectory(path, atoms, state, elements)
        else:
            writer.write(atoms, state)
    writer.close()
    found = read_displacements(path, "Li")
    mean = (moved.ions[:, 4:].sum(axis=1) - moved.ions[0, 4:].sum(axis=0)) / 22
    expected = moved.ions[:, :4] - moved.ions[0, :4] - mean[:, None]
    np.testing.assert_allclose(found.ions - found.ions[0], expected, atol=1e-4)
    assert found.atoms == 26 and not caplog.records


def test_maps():
    moved = walk(2e-5)
    found = density(moved)
    voxel = SIDE**3 / found.values.size
    assert found.values.sum() * voxel == pytest.approx(24)
    assert density(moved, most_points=1000).values.shape == (10, 10, 10)
    # two cells folded into one
    folded = density(moved, (2, 1, 1))
    assert folded.cell[0, 0] == pytest.approx(SIDE / 2)
    assert folded.values.sum() * SIDE**3 / 2 / folded.values.size == pytest.approx(12)
    hove = van_hove(moved)
    # the longest time spreads beyond half of the cell
    width = hove.distances[1] - hove.distances[0]
    assert (hove.self_part[0].sum() * width) == pytest.approx(1, abs=0.01)
    # independent ions: 1 everywhere
    assert hove.distinct_part[:, 40:].mean() == pytest.approx(1, abs=0.1)


def test_the_isosurface_of_a_cell_without_right_angles():
    """Points that plotly takes: a full grid along x, y, z; with the ions where they are."""
    pytest.importorskip("plotly")
    from gnnpot.properties.conductivity.report import on_box

    cell = np.array([[4.0, 0, 0], [-2, 2 * 3**0.5, 0], [1, 0.5, 6]])
    ions = np.array([[0.5, 0.25, 0.5]]) @ cell + 0.1 * np.random.default_rng(0).normal(size=(200, 1, 3))
    moved = Displacements("Li", ions.astype(np.float32), {}, 0.1, cell, 1)
    places, values = on_box(density(moved))
    assert len(places) == np.prod([len(np.unique(places[:, k].round(6))) for k in range(3)])
    assert np.average(places, axis=0, weights=values) == pytest.approx(ions.mean(axis=(0, 1)), abs=0.3)


def test_the_report_shows_each_temperature(tmp_path):
    """Maps and isosurfaces of all, with numbers along the axes, of blocks and at 300 K; the page stays small."""
    pytest.importorskip("plotly")
    from gnnpot.properties.conductivity.report import NAMES, write_report
    from gnnpot.properties.conductivity.result import Study

    moved = [with_framework(walk(d, seed=k, frames=600), 0.0) for k, d in enumerate((1e-5, 2e-5, 4e-5))]
    # a large cell: its isosurface is drawn on a coarser grid
    moved[0] = replace(moved[0], cell=60 * np.eye(3))
    transports = [analyse(m, t) for m, t in zip(moved, (500.0, 600.0, 800.0), strict=True)]
    result = conclude(transports, 1.0)
    path = write_report(Study(result, tuple(moved), (2, 1, 1)), tmp_path, "Conductivity of Li")
    written = {file.name for file in tmp_path.iterdir()}
    assert {"maps-500K.png", "maps-600K.png", "maps.png"} <= written
    assert all(any(file.match(pattern) for pattern in NAMES) for file in tmp_path.iterdir())
    page = path.read_text()
    assert page.count("<img alt=") == 6 and page.count('"type":"isosurface"') == 3 and '"label":"600 K"' in page
    for text in ("D along b, 1e-6 cm²/s", "by blocks", "D at 300 K, cm²/s", "⟨cos²⟩ along a, b, c", ">framework<"):
        assert text in page
    assert "Potential and conditions" not in page and len(page) < 12e6
    fit = json.loads((tmp_path / "conductivity.json").read_text())["fits"]["nernst_einstein"]
    assert fit["D_300K_cm2_s"]["value"] == pytest.approx(result.diffusion.at(300.0).value)
    # of equal cells, the same as from the conductivity
    equal = conclude([replace(t, volume=SIDE**3) for t in transports], 1.0)
    factor = conductivity_factor(24, SIDE**3, 300.0, 1.0)
    assert equal.diffusion.at(300.0).value == pytest.approx(equal.nernst_einstein.at(300.0).value / factor, rel=1e-6)


def test_self_parts_of_all_times_are_drawn():
    """Vibrations in sites have a peak that is many times as high as the curves at long times."""
    from gnnpot.properties.conductivity.pictures import draw_maps

    moved = walk(1e-6, ions=8, frames=300)
    axes = next(a for a in draw_maps(moved, (1, 1, 1), 600.0).axes if "self part" in a.get_ylabel())
    low, high = axes.get_ylim()
    curves = [line.get_ydata() for line in axes.lines]
    assert len(curves) == 4 and high > max(curve.max() for curve in curves)
    assert all(low < curve.max() / 10 for curve in curves)


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

    from gnnpot.engines.trajectories import read_trajectory
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


def test_short_runs_are_left_out_of_fits():
    transports = [
        analyse(walk(d, seed=k, frames=4000), t)
        for k, (d, t) in enumerate(((1e-9, 300.0), (1e-5, 500.0), (2e-5, 600.0)))
    ]
    result = conclude(transports, 1.0)
    assert result.left_out == (300.0,) and result.nernst_einstein.temperatures == (500.0, 600.0)
    # what is wrong with the collective coefficient alone keeps a temperature out of its fit only
    uncertain = replace(result.transports[1], collective_verdict=("uncertain",))
    again = conclude([result.transports[0], uncertain, result.transports[2]], 1.0)
    assert again.nernst_einstein.temperatures == (500.0, 600.0) and again.left_out == (300.0,)
    assert again.collective is None and again.collective_left_out == (300.0, 500.0)
    assert again.verdict[-1] == "500 K: uncertain" and uncertain.sufficient and not uncertain.collective_sufficient
