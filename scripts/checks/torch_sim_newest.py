"""Test a torch-sim version that needs Python 3.12 on Python 3.11: its validation of models, relaxation, dynamics.

    pip install --no-deps --ignore-requires-python --target FOLDER torch-sim-atomistic==0.6.2
    python scripts/checks/torch_sim_newest.py FOLDER

If PyTorch is available for Python 3.12, `tests/engines/test_torch_sim.py` can be run there. This script uses a copy of
torch-sim without the type parameters of functions and classes (PEP 695), the only syntax that Python 3.11 lacks.
"""

import argparse
import re
import shutil
import sys
import tempfile
from importlib.metadata import PathDistribution
from pathlib import Path

import numpy as np
import torch
from ase.build import bulk

from gnnpot.engines.calculator import Calculator
from gnnpot.units import stress_from_voigt

PARAMETERS = re.compile(r"^( *(?:def|class) \w+)\[T: [^\]]*\]", re.MULTILINE)
FUTURE = "from __future__ import annotations\n"


def without_type_parameters(package: Path, target: Path) -> int:
    """Copy a package without type parameters; returns the number of those removed."""
    shutil.copytree(package, target / package.name, ignore=shutil.ignore_patterns("__pycache__"))
    total = 0
    for path in (target / package.name).rglob("*.py"):
        source, count = PARAMETERS.subn(r"\1", path.read_text("utf-8"))
        if count:
            # prevents the evaluation of annotations that contain T
            head = "" if FUTURE in source else FUTURE
            path.write_text(head + source, "utf-8")
            total += count
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, help="folder into which pip has installed torch-sim")
    parser.add_argument("--model", "-m", default="fast")
    options = parser.parse_args()
    version = PathDistribution(next(options.folder.glob("torch_sim_atomistic-*.dist-info"))).version
    with tempfile.TemporaryDirectory() as folder:
        count = without_type_parameters(options.folder / "torch_sim", Path(folder))
        sys.path.insert(0, folder)
        check(options.model)
    print(f"torch-sim {version}, {count} type parameters taken out: everything agrees")


def check(model: str) -> None:
    import torch_sim as ts
    from torch_sim.models.interface import validate_model_outputs

    from gnnpot.engines.torch_sim import TorchSimModel

    for dtype in (torch.float32, torch.float64):
        potential = TorchSimModel(model, dtype=dtype)
        validate_model_outputs(potential, potential.device, dtype)
    calculator = Calculator(model, dtype=torch.float64)
    structures = [bulk("Cu", a=3.7), bulk("NaCl", "rocksalt", a=5.7), bulk("Si", a=5.5, cubic=True)]
    for k, atoms in enumerate(structures):
        atoms.rattle(0.05, seed=k)
    compare(potential(ts.initialize_state(structures, potential.device, torch.float64)), structures, calculator)
    relaxed = ts.optimize(
        structures, potential, optimizer=ts.Optimizer.fire, max_steps=300,
        convergence_fn=ts.generate_force_convergence_fn(force_tol=0.01, include_cell_forces=False),
    )  # fmt: skip
    for atoms in relaxed.to_atoms():
        assert np.abs(calculator.get_forces(atoms)).max() < 0.01
    moved = ts.integrate(
        structures, potential, integrator=ts.Integrator.nvt_langevin, n_steps=10, temperature=300, timestep=0.001
    )
    compare(potential(moved), moved.to_atoms(), calculator)


def compare(found: dict[str, torch.Tensor], structures: list, calculator: Calculator) -> None:
    """Compare energies, forces and stresses of a batch with the ASE calculator."""
    forces = found["forces"].split([len(atoms) for atoms in structures])
    for k, atoms in enumerate(structures):
        assert abs(float(found["energy"][k]) - calculator.get_potential_energy(atoms)) < 1e-9
        np.testing.assert_allclose(forces[k], calculator.get_forces(atoms), atol=1e-9)
        np.testing.assert_allclose(found["stress"][k], stress_from_voigt(calculator.get_stress(atoms)), atol=1e-10)


if __name__ == "__main__":
    main()
