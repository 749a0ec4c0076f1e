"""Deviations of named potentials from exact physics: forces as derivatives, rotation, reflection, smoothness.

    python scripts/studies/accuracy/physics.py                   # all potentials that are missing
    python scripts/studies/accuracy/physics.py --only 7net-0

The probes of `gnnpot check` are run in float64 on a rattled and strained crystal of NaCl (LiS for the potentials of
Li10GeP2S12) and on a molecule of it without a cell. For smoothness, two pairs and a molecule are pulled through each
cutoff. The largest deviations are written to `gnnpot/hub/physics.json`, which `gnnpot models --physics` and `gnnpot
card` show.
"""

import json
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console

from gnnpot.engines.calculator import Calculator
from gnnpot.hub.catalogue import list_models
from gnnpot.properties.contract import Tolerances, probes, reach
from gnnpot.properties.contract.structures import default_structures
from gnnpot.runs.files import write_text

TARGET = Path(__file__).parents[3] / "gnnpot" / "hub" / "physics.json"
#: the elements that a potential supports are used
ELEMENTS = (("Na", "Cl"), ("Li", "S"))


def main(
    only: Annotated[list[str] | None, typer.Option(help="Name of a potential. May be repeated.")] = None,
    again: Annotated[bool, typer.Option("--again", help="Repeat existing measurements.")] = False,
) -> None:
    """Run the missing measurements."""
    torch.set_num_threads(1)
    found = json.loads(TARGET.read_text())
    for name in only or [model.name for model in list_models() if model.cached]:
        if name not in found or again:
            found[name] = measure(name)
            write_text(TARGET, json.dumps(dict(sorted(found.items())), indent=1) + "\n")
            Console(soft_wrap=True).print(name, found[name], highlight=False)


def measure(name: str) -> dict[str, float]:
    """Largest deviation of each quantity."""
    calculator = Calculator(name, dtype=torch.float64)
    probe = probes.Probe(calculator, Tolerances().step, Tolerances().interval, *reach(calculator))
    first, second = next(pair for pair in ELEMENTS if {*pair} <= {*calculator.elements})
    structures = default_structures((first, second))
    asked = [structures["crystal"], structures["molecule"]]
    smooth = [
        *probes.smooth_dimer(probe, first, first),
        *probes.smooth_dimer(probe, first, second),
        *probes.smooth_cluster(probe, first, second),
    ]

    def largest(deviations: list[tuple[str, float]], quantity: str) -> float:
        return float(f"{max(value for key, value in deviations if key == quantity):.2g}")

    return {
        "force_derivative": largest(
            [d for atoms in asked for d in probes.forces_are_derivatives(probe, atoms)], "force derivative"
        ),
        "rotation": largest([d for atoms in asked for d in probes.rotation(probe, atoms)], "forces"),
        "reflection": largest([d for atoms in asked for d in probes.reflection(probe, atoms)], "forces"),
        "energy_jump": largest(smooth, "energy jump"),
        "force_jump": largest(smooth, "force jump"),
    }


if __name__ == "__main__":
    typer.run(main)
