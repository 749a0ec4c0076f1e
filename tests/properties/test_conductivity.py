"""Transport coefficients: random walks of known truth."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.signal import lfilter

from gnnpot.errors import DataError
from gnnpot.properties.conductivity import (
    AnalysisConfig,
    Displacements,
    analyse,
)
from gnnpot.properties.conductivity.arrhenius import fit_arrhenius
from gnnpot.properties.conductivity.jumps import count_jumps
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
from tests.properties.random_walks import FRAME_TIME, SIDE, walk, with_framework


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


def test_intervals_hold_the_truth_where_ions_jump_in_groups():
    """Half of the ions at a time; without the correlation of ions, only about half of the intervals would hold it."""
    held = independent = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        moved = walk(0.0, ions=40, seed=seed)
        steps = rng.normal(size=moved.ions.shape) * (rng.random((len(moved.ions), 40)) < 0.5)[..., None]
        # a group jumps in one of 25 frames, by 1 Å² along each axis
        steps *= (rng.random((len(moved.ions), 1)) < 0.04)[..., None]
        moved = replace(moved, ions=(moved.ions + np.cumsum(steps, axis=0)).astype(np.float32))
        true = 0.5 * 0.04 / (2 * FRAME_TIME) * 1e-4
        found = analyse(moved, 600.0)
        held += found.tracer.holds(true)
        msd = tracer_msd(moved.ions, np.round(found.lags / FRAME_TIME).astype(int))
        first = round(found.fit_from / FRAME_TIME)
        independent += estimate_from_samples(diffusion_samples(msd, FRAME_TIME, first, 0)).holds(true)
    assert held >= 17
    assert independent <= 14


def test_copies_of_ions_add_no_information():
    """Nine ions that move with each ion: the same interval; and there is nothing to correct if ions are independent."""
    moved = walk(2e-5, ions=100, seed=4)
    copies = replace(moved, ions=np.repeat(moved.ions, 10, axis=1), atoms=10 * moved.atoms)
    one, ten = analyse(moved, 600.0), analyse(copies, 600.0)
    assert one.ion_correlation < 1.5
    assert ten.ion_correlation == pytest.approx(10 * one.ion_correlation, rel=0.3)
    assert ten.tracer.value == pytest.approx(one.tracer.value, rel=0.01)
    assert ten.tracer.relative == pytest.approx(one.tracer.relative, rel=0.15)


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

    moved = walk(2e-5, frames=400)
    found = analyse(moved, 600.0)
    other = replace(found, tracer_blocks=found.tracer.scaled(3.0), framework_diffusion={"S": 0.0})
    (caution,) = cautions(other, moved)
    assert caution.startswith("the intervals of the tracer diffusion coefficient do not overlap")
    for blocks in (found.tracer, None):
        assert cautions(replace(other, tracer_blocks=blocks), moved) == ()
    (unseen,) = cautions(replace(other, tracer_blocks=None, framework_diffusion={}), moved)
    assert "no element besides Li" in unseen
    (vacuum,) = cautions(replace(other, tracer_blocks=None), replace(moved, vacuum=(0, 2)))
    assert "along a and c the cell has a vacuum" in vacuum
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
