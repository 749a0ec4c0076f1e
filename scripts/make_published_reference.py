"""What the authors' packages give: reference numbers for the tests and for the registry of published potentials.

    pip install chgnet==0.4.2 sevenn==0.13.0
    python scripts/make_published_reference.py tests/importers/published.json --packages chgnet sevenn
    pip install nequix==0.4.5                 # in an environment of its own
    python scripts/make_published_reference.py tests/importers/published.json --packages nequix --weights FOLDER

Energies (eV), forces (eV/Å), stress (eV/Å³, ASE's order) and magnetic moments (µB) of a few small structures, made
here with fixed seeds and written down with the results; a file that exists keeps its structures and the results of
other packages. The first two are the registry's reference structures.
"""

import argparse
import json
from importlib.metadata import version
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import bulk, fcc111, molecule
from ase.calculators.calculator import Calculator
from rich.console import Console


def structures() -> dict[str, Atoms]:
    from gnnpot.published import reference_structures

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


def chgnet(_: Path | None) -> dict[str, Calculator]:
    from chgnet.model import CHGNet
    from chgnet.model.dynamics import CHGNetCalculator

    return {
        f"chgnet-{name}": CHGNetCalculator(CHGNet.load(model_name=name, verbose=False), use_device="cpu")
        for name in ("0.3.0", "0.2.0", "r2scan")
    }


def sevenn(_: Path | None) -> dict[str, Calculator]:
    from sevenn.calculator import SevenNetCalculator

    made = {name: SevenNetCalculator(name, device="cpu") for name in ("7net-0", "7net-l3i5")}
    for fidelity in ("PBE", "R2SCAN"):
        made[f"7net-mf-0@{fidelity}"] = SevenNetCalculator("7net-mf-0", modal=fidelity, device="cpu")
    return made


def nequix(weights: Path | None) -> dict[str, Calculator]:
    from nequix.calculator import NequixCalculator

    return {
        path.stem: NequixCalculator(model_path=str(path), backend="jax", use_kernel=False)
        for path in sorted(weights.glob("*.nqx"))
    }


PACKAGES = {"chgnet": chgnet, "sevenn": sevenn, "nequix": nequix}


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
    parser.add_argument("--packages", nargs="+", choices=PACKAGES, required=True)
    parser.add_argument("--weights", type=Path, help="the folder of Nequix's .nqx files")
    arguments = parser.parse_args()
    content = json.loads(arguments.output.read_text()) if arguments.output.exists() else _new()
    chosen = {name: Atoms(**s, pbc=True) for name, s in content["structures"].items()}
    for package in arguments.packages:
        content["made_with"][package] = version(package)
        for model, calculator in PACKAGES[package](arguments.weights).items():
            found = {name: results(calculator, s) for name, s in chosen.items()}
            content["results"][model] = found
            Console().print(model, found["NaCl"]["energy"], found["SrTiO3"]["energy"])
    arguments.output.write_text(json.dumps(content) + "\n")


def _new() -> dict:
    kept = {
        name: {"numbers": s.numbers.tolist(), "positions": s.positions.tolist(), "cell": s.cell.array.tolist()}
        for name, s in structures().items()
    }
    return {"made_with": {}, "structures": kept, "results": {}}


if __name__ == "__main__":
    main()
