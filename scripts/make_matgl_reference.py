"""What matgl gives for an M3GNet potential with MatPES's options and made-up weights: reference numbers for the tests.

    pip install ".[peers]"
    python scripts/make_matgl_reference.py tests/hub/importers/matgl-4.1.2.json

Energies (eV), forces (eV/Å) and stress (eV/Å³, ASE's order) in float64, with matgl's own description of the potential
and the names and shapes of its weights, from which `made_up_weights` draws them again. matgl has had three conventions
(see `gnnpot/models/matgl_rows.py`); the references of the older two are made the same way with matgl==1.2.7 and
dgl==1.1.3, and with matgl==4.0.3.
"""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import ase.constraints
import ase.filters
import numpy as np
import torch
from ase import Atoms, units
from ase.io import read
from ase.stress import full_3x3_to_voigt_6_stress
from made_up_weights import made_up_state

# matgl 1.2.7 looks for it where older versions of ASE had it
ase.constraints.ExpCellFilter = ase.filters.ExpCellFilter

import matgl  # noqa: E402
from matgl.apps.pes import Potential  # noqa: E402
from matgl.config import DEFAULT_ELEMENTS  # noqa: E402
from matgl.ext.ase import PESCalculator  # noqa: E402
from matgl.models import M3GNet  # noqa: E402

STRUCTURES = Path(__file__).parents[1] / "tests" / "importers" / "published.json"
#: the options of M3GNet-MatPES-PBE-v2025.1-PES that are not the defaults, and its energy scale
OPTIONS = {"units": 128, "use_smooth": True, "is_intensive": False, "element_types": DEFAULT_ELEMENTS}
SCALE = 3.25149679
#: eV of each element
OFFSETS = np.linspace(-9, 3, len(DEFAULT_ELEMENTS)).round(2).tolist()


def structures(path: Path | None) -> dict[str, Atoms]:
    if path is not None:
        return {atoms.info["name"]: atoms for atoms in read(path, ":")}
    return {name: Atoms(**s, pbc=True) for name, s in json.loads(STRUCTURES.read_text())["structures"].items()}


def saved_by_matgl(folder: Path) -> tuple[Potential, dict[str, list[int]]]:
    """A potential with made-up weights, saved as matgl saves it, and the shapes of its weights."""
    offsets = torch.tensor(OFFSETS, dtype=torch.float64)
    potential = Potential(M3GNet(**OPTIONS), data_std=torch.tensor(SCALE), element_refs=offsets)
    shapes = {name: list(p.shape) for name, p in potential.named_parameters()}
    potential.load_state_dict(made_up_state(shapes), strict=False)
    potential.save(folder)
    return potential.double(), shapes


def results(potential: Potential, atoms: Atoms) -> dict[str, Any]:
    atoms = atoms.copy()
    atoms.calc = PESCalculator(potential)
    energy, forces = float(atoms.get_potential_energy()), atoms.get_forces().tolist()
    stress = np.asarray(atoms.calc.results["stress"]).reshape(3, 3) * units.GPa
    return {"energy": energy, "forces": forces, "stress": full_3x3_to_voigt_6_stress(stress).tolist()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", type=Path)
    parser.add_argument("--structures", type=Path, help="structures with names, instead of the tests' own")
    arguments = parser.parse_args()
    matgl.set_default_dtype("float", 64)
    chosen = structures(arguments.structures)
    with tempfile.TemporaryDirectory() as scratch:
        potential, shapes = saved_by_matgl(Path(scratch))
        found = {name: results(potential, atoms) for name, atoms in chosen.items()}
        description = json.loads((Path(scratch) / "model.json").read_text())
    content = {
        "made_with": matgl.__version__,
        "description": description,
        "shapes": shapes,
        "buffers": {"data_std": SCALE, "data_mean": 0.0, "element_refs.property_offset": OFFSETS},
        "results": found,
    }
    arguments.output.write_text(json.dumps(content) + "\n")


if __name__ == "__main__":
    main()
