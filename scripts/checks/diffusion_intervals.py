"""Coverage of the intervals of `gnnpot conductivity`, on random walks of known D and Haven ratio.

    python scripts/checks/diffusion_intervals.py --cases 200 --out docs/checks/diffusion_intervals.json

Each case is a random walk of M ions in a periodic cell, with added vibrations and slow rattling. D_tracer, the Haven
ratio H, M, the length and the amplitude of the rattling are drawn at random from ranges. The fraction
ρ = (1/H - 1)/(M - 1) of the variance of each step is common to all ions, so that D_collective = D_tracer / H. A 95 %
interval should contain the true value in 90 to 99 % of the cases.
Finished cases are kept in OUT, and the same command continues.
"""

import json
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from scipy.signal import lfilter

from gnnpot.properties.conductivity import Displacements, analyse

#: time between frames, ps; amplitude of the vibrations along each axis, Å
FRAME_TIME, VIBRATION = 0.2, 0.25
#: maximum amplitude of the rattling along each axis, Å; more (in total 0.3 of the site distance of 3 Å) would be a melt
RATTLING = 0.5
#: correlation time of the rattling, ps
RATTLING_TIME = 2.0
ESTIMATES = ("tracer", "tracer_blocks", "collective", "collective_blocks", "haven_ratio")


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


def one_case(seed: int) -> dict[str, Any]:
    """True values of one random walk, and the estimates relative to them."""
    rng = np.random.default_rng(seed)
    tracer = float(10 ** rng.uniform(-5.3, -4.3))
    haven, ions, frames = float(rng.uniform(0.3, 0.9)), int(rng.integers(20, 41)), int(rng.integers(1000, 2000))
    rattling = float(rng.uniform(0.0, RATTLING))
    found = analyse(random_walk(tracer, haven, ions, frames, rattling, rng), temperature=600.0)
    truth = {"tracer": tracer, "collective": tracer / haven, "haven_ratio": haven}
    case: dict[str, Any] = {"seed": seed, "D_tracer_cm2_s": tracer, "haven_ratio": haven, "ions": ions}
    case |= {"frames": frames, "rattling_A": rattling, "sufficient": found.sufficient}
    for name in ESTIMATES:
        estimate = getattr(found, name)
        true = truth[name.removesuffix("_blocks")]
        if estimate is not None:
            case[name] = {
                "value": estimate.value / true, "low": estimate.low / true, "high": estimate.high / true
            }  # fmt: skip
    return case


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
    cases: Annotated[int, typer.Option(help="Number of random walks.")] = 200,
    out: Annotated[Path, typer.Option(help="JSON file of the cases and the coverage.")] = Path(
        "docs/checks/diffusion_intervals.json"
    ),
) -> None:
    """Run the cases that are not in OUT."""
    done = json.loads(out.read_text())["cases"] if out.is_file() else []
    for seed in range(len(done), cases):
        done.append(one_case(seed))
        if len(done) % 10 == 0 or seed == cases - 1:
            text = json.dumps({"coverage": coverage(done), "cases": done}, indent=1)
            partial = out.with_suffix(".partial")
            partial.write_text(text + "\n")
            partial.replace(out)
    typer.echo(json.dumps(coverage(done), indent=1))


if __name__ == "__main__":
    typer.run(main)
