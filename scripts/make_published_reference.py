"""What the authors' packages give: reference numbers for the tests and for `gnnpot/published`.

    pip install chgnet==0.4.2 sevenn==0.13.0
    python scripts/make_published_reference.py tests/hub/importers/published.json

Energies (eV), forces (eV/Å), stress (eV/Å³, ASE's order) and magnetic moments (µB) of a few small structures, made
here with fixed seeds and written down with the results. The first two are the registry's reference structures.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import bulk, fcc111, molecule
from ase.calculators.calculator import Calculator
from chgnet.model import CHGNet
from chgnet.model.dynamics import CHGNetCalculator
from rich.console import Console
from sevenn.calculator import SevenNetCalculator

from gnnpot.hub.registry import reference_structures


def structures() -> dict[str, Atoms]:
    rng = np.random.default_rng(7)
    salt, perovskite = reference_structures()
    oxide = bulk("MnO", "rocksalt", a=4.45, cubic=True)
    oxide.rattle(0.05, seed=1)
    alloy = bulk("Cu", a=3.7, cubic=True) * (2, 1, 1)
    alloy.symbols = ["Cu", "Zn", "Al", "Ni", "Ti", "Pd", "Fe", "Cu"]
    alloy.set_cell(alloy.cell.array @ (np.eye(3) + 0.04 * rng.standard_normal((3, 3))), scale_atoms=True)
    alloy.rattle(0.08, seed=2)
    water = molecule("H2O", vacuum=4.0)
    water.pbc = True
    slab = fcc111("Pt", (1, 1, 3), vacuum=6.0, orthogonal=False)
    slab.rattle(0.05, seed=3)
    slab.pbc = True
    return {"NaCl": salt, "SrTiO3": perovskite, "MnO": oxide, "alloy": alloy, "water": water, "slab": slab}


def calculators() -> dict[str, Calculator]:
    made = {
        f"chgnet-{name}": CHGNetCalculator(CHGNet.load(model_name=name, verbose=False), use_device="cpu")
        for name in ("0.3.0", "0.2.0", "r2scan")
    }
    made |= {name: SevenNetCalculator(name, device="cpu") for name in ("7net-0", "7net-l3i5")}
    for fidelity in ("PBE", "R2SCAN"):
        made[f"7net-mf-0@{fidelity}"] = SevenNetCalculator("7net-mf-0", modal=fidelity, device="cpu")
    return made


def results(calculator: Calculator, atoms: Atoms) -> dict:
    atoms = atoms.copy()
    atoms.calc = calculator
    found = {"energy": float(atoms.get_potential_energy()), "forces": atoms.get_forces().tolist()}
    found["stress"] = atoms.get_stress().tolist()
    if "magmoms" in calculator.results:
        found["magmoms"] = np.asarray(calculator.results["magmoms"]).tolist()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", type=Path)
    output = parser.parse_args().output
    chosen = structures()
    content = {
        "made_with": "chgnet 0.4.2, sevenn 0.13.0",
        "structures": {
            name: {"numbers": s.numbers.tolist(), "positions": s.positions.tolist(), "cell": s.cell.array.tolist()}
            for name, s in chosen.items()
        },
        "results": {
            model: {name: results(calculator, s) for name, s in chosen.items()}
            for model, calculator in calculators().items()
        },
    }
    output.write_text(json.dumps(content) + "\n")
    for model, found in content["results"].items():
        Console().print(model, found["NaCl"]["energy"], found["SrTiO3"]["energy"])


if __name__ == "__main__":
    main()
