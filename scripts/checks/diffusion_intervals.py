"""Coverage of the intervals of `gnnpot conductivity`, on random walks of known D and Haven ratio.

    python scripts/checks/diffusion_intervals.py --cases 200 --out docs/checks/diffusion_intervals.json

Each case of `steps` is a random walk of M ions in a periodic cell, with added vibrations and slow rattling. D_tracer,
the Haven ratio H, M, the length and the amplitude of the rattling are drawn at random from ranges. The fraction
ρ = (1/H - 1)/(M - 1) of the variance of each step is common to all ions, so that D_collective = D_tracer / H.

In the cases of `groups`, up to 20 ions at a time jump by 3 Å, each in a direction of its own, so that H = 1, but the
squared displacements of the ions are correlated. The estimate `tracer_independent` neglects that.

A 95 % interval should contain the true value in 90 to 99 % of the cases. Finished cases are kept in OUT, and the same
command continues.
"""

import json
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from scipy.signal import lfilter

from gnnpot.properties.conductivity import Displacements, analyse
from gnnpot.properties.conductivity.msd import diffusion_samples, estimate_from_samples, tracer_msd
from gnnpot.runs.files import write_text

#: time between frames, ps; amplitude of the vibrations along each axis, Å
FRAME_TIME, VIBRATION = 0.2, 0.25
#: maximum amplitude of the rattling along each axis, Å; more (in total 0.3 of the site distance of 3 Å) would be a melt
RATTLING = 0.5
#: correlation time of the rattling, ps
RATTLING_TIME = 2.0
#: length of a jump, Å
JUMP = 3.0
ESTIMATES = ("tracer", "tracer_independent", "tracer_blocks", "collective", "collective_blocks", "haven_ratio")


def random_walk(
    tracer: float, haven: float, ions: int, frames: int, rattling: float, rng: np.random.Generator, side: float = 20.0
) -> Displacements:
    """Displacements of known D_tracer (cm²/s) and Haven ratio in a cube of `side` Å; `rattling`: Å, along each axis."""
    length = np.sqrt(2 * tracer * 1e4 * FRAME_TIME)
    common = (1 / haven - 1) / (ions - 1)
    own, shared = rng.normal(size=(frames, ions, 3)), rng.normal(size=(frames, 1, 3))
    walk = np.cumsum(length * (np.sqrt(1 - common) * own + np.sqrt(common) * shared), axis=0)
    # a first-order autoregressive process, whose mean square displacement grows to 6 u² within a few ps
    kept = np.exp(-FRAME_TIME / RATTLING_TIME)
    slow = rattling * lfilter([np.sqrt(1 - kept**2)], [1, -kept], rng.normal(size=walk.shape), axis=0)
    positions = walk + slow + rng.uniform(0, side, (ions, 3)) + VIBRATION * rng.normal(size=walk.shape)
    return Displacements("Li", positions.astype(np.float32), {}, FRAME_TIME, side * np.eye(3), ions)


def grouped_jumps(
    tracer: float, group: int, ions: int, frames: int, rng: np.random.Generator, side: float = 20.0
) -> Displacements:
    """Displacements of known D_tracer (cm²/s) of ions of which `group` at a time jump, in independent directions."""
    per_frame = 6 * tracer * 1e4 * FRAME_TIME / JUMP**2 * ions / group
    steps = np.zeros((frames, ions, 3))
    for frame, events in enumerate(rng.poisson(per_frame, frames)):
        for _ in range(events):
            directions = rng.normal(size=(group, 3))
            directions *= JUMP / np.linalg.norm(directions, axis=1, keepdims=True)
            steps[frame, rng.choice(ions, group, replace=False)] += directions
    positions = np.cumsum(steps, axis=0) + rng.uniform(0, side, (ions, 3)) + VIBRATION * rng.normal(size=steps.shape)
    return Displacements("Li", positions.astype(np.float32), {}, FRAME_TIME, side * np.eye(3), ions)


def case_of_steps(seed: int) -> dict[str, Any]:
    """True values of one random walk, and the estimates relative to them."""
    rng = np.random.default_rng(seed)
    tracer = float(10 ** rng.uniform(-5.3, -4.3))
    haven, ions, frames = float(rng.uniform(0.3, 0.9)), int(rng.integers(20, 41)), int(rng.integers(1000, 2000))
    rattling = float(rng.uniform(0.0, RATTLING))
    found = relative_estimates(random_walk(tracer, haven, ions, frames, rattling, rng), tracer, haven)
    return {"seed": seed, "ions": ions, "frames": frames, "rattling_A": rattling, **found}


def case_of_groups(seed: int) -> dict[str, Any]:
    """The same for ions that jump in groups."""
    rng = np.random.default_rng(seed)
    tracer, group = float(10 ** rng.uniform(-5.0, -4.3)), int(rng.integers(1, 21))
    ions, frames = int(rng.integers(40, 101)), int(rng.integers(1000, 2000))
    found = relative_estimates(grouped_jumps(tracer, group, ions, frames, rng), tracer, haven=1.0)
    return {"seed": seed, "ions": ions, "frames": frames, "group": group, **found}


def relative_estimates(moved: Displacements, tracer: float, haven: float) -> dict[str, Any]:
    """Estimates relative to the true values."""
    found = analyse(moved, temperature=600.0)
    msd = tracer_msd(moved.ions, np.round(found.lags / moved.frame_time).astype(int))
    first = round(found.fit_from / moved.frame_time)
    independent = estimate_from_samples(diffusion_samples(msd, moved.frame_time, first, seed=0))
    truth = {"tracer": tracer, "collective": tracer / haven, "haven_ratio": haven}
    case: dict[str, Any] = {"D_tracer_cm2_s": tracer, "haven_ratio_true": haven, "sufficient": found.sufficient}
    for name in ESTIMATES:
        estimate = independent if name == "tracer_independent" else getattr(found, name)
        true = truth[name.removesuffix("_blocks").removesuffix("_independent")]
        if estimate is not None:
            case[name] = {
                "value": estimate.value / true, "low": estimate.low / true, "high": estimate.high / true
            }  # fmt: skip
    return case


KINDS = {"steps": case_of_steps, "groups": case_of_groups}


def coverage(cases: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Fraction of intervals with the true value, mean ratio of estimate to true value, mean relative half width."""
    result = {}
    for name in ESTIMATES:
        rows = [case[name] for case in cases if name in case]
        result[name] = {
            "cases": len(rows),
            "held": float(np.mean([row["low"] <= 1 <= row["high"] for row in rows])),
            "mean_ratio": float(np.mean([row["value"] for row in rows])),
            "half_width": float(np.mean([(row["high"] - row["low"]) / 2 for row in rows])),
        }
    return result


def main(
    cases: Annotated[int, typer.Option(help="Number of random walks of each kind.")] = 200,
    out: Annotated[Path, typer.Option(help="JSON file of the cases and the coverage.")] = Path(
        "docs/checks/diffusion_intervals.json"
    ),
) -> None:
    """Run the cases that are not in OUT."""
    result = json.loads(out.read_text()) if out.is_file() else {}
    for kind, one_case in KINDS.items():
        done = result.get(kind, {}).get("cases", [])
        for seed in range(len(done), cases):
            done.append(one_case(seed))
            if len(done) % 10 == 0 or seed == cases - 1:
                result[kind] = {"coverage": coverage(done), "cases": done}
                write_text(out, json.dumps(result, indent=1) + "\n")
    typer.echo(json.dumps({kind: result[kind]["coverage"] for kind in KINDS}, indent=1))


if __name__ == "__main__":
    typer.run(main)
