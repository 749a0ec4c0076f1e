"""Worker process of `symmetrix_xl.py` for one potential. It imports gnnpot only for a potential of gnnpot.

    python symmetrix_xl_worker.py convert FOLDER                # a MACE with random weights, for symmetrix-xl
    python symmetrix_xl_worker.py symmetrix-xl:speed FOLDER     # runs a step for each input line
    python symmetrix_xl_worker.py 7net-0 FOLDER                 # the same with gnnpot

A line is a number of atoms. `FOLDER/ATOMS.npz` has the structure, and the positions of consecutive steps.
"""

import json
import os
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

PEER = "symmetrix-xl"
MODEL = "mace.json"
#: options of MACE-MPA-0; they give 9,063,204 parameters, as many as the published model has (matbench-discovery)
ELEMENTS, CUTOFF, CHANNELS = 89, 6.0, 128
#: options of its calculator: the defaults, and one of its profiles
OPTIONS = {"dtype": "float32", "streamed_edges": "direct", "neighbor_skin": 0.5}


def convert(folder: Path) -> dict[str, Any]:
    """Write the MACE model in the format of symmetrix-xl; returns a description of it."""
    os.environ["TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"] = (
        "1"  # symmetrix-xl unpickles whole modules, here only the one written below
    )
    import mace  # noqa: F401 - before e3nn, whose constants it makes readable
    import torch
    from e3nn.o3 import Irreps
    from mace import modules
    from symmetrix.extract_mace_data import extract_mace_data

    torch.manual_seed(0)
    first, second = "RealAgnosticDensityInteractionBlock", "RealAgnosticDensityResidualInteractionBlock"
    model = modules.ScaleShiftMACE(
        r_max=CUTOFF, num_bessel=10, num_polynomial_cutoff=5, max_ell=3, num_interactions=2, num_elements=ELEMENTS,
        interaction_cls_first=modules.interaction_classes[first], interaction_cls=modules.interaction_classes[second],
        hidden_irreps=Irreps(f"{CHANNELS}x0e + {CHANNELS}x1o"), MLP_irreps=Irreps("16x0e"), radial_MLP=[64, 64, 64],
        correlation=3, gate=torch.nn.functional.silu, distance_transform="Agnesi", avg_num_neighbors=60.0,
        atomic_numbers=list(range(1, ELEMENTS + 1)), atomic_energies=np.zeros(ELEMENTS),
        atomic_inter_scale=1.0, atomic_inter_shift=0.0,
    )  # fmt: skip
    torch.save(model, folder / "mace.model")
    data = extract_mace_data(str(folder / "mace.model"))
    (folder / MODEL).write_text(json.dumps(data, separators=(",", ":")))
    return {
        "parameters": sum(p.numel() for p in model.parameters()), "cutoff": CUTOFF, "elements": ELEMENTS,
        "hidden": f"{CHANNELS}x0e + {CHANNELS}x1o", "layers": 2, "correlation": 3, "weights": "random",
    }  # fmt: skip


def open_calculator(name: str, folder: Path) -> tuple[Any, dict[str, Any]]:
    """Return the calculator and a description of it."""
    package, _, profile = name.partition(":")
    if package != PEER:
        from gnnpot.engines.calculator import Calculator

        return Calculator(name), {"package": "gnnpot", "versions": versions("gnnpot", "torch", "numba", "numpy")}
    from symmetrix import Symmetrix

    options = {**OPTIONS, "execution_profile": profile}
    calculator = Symmetrix(folder / MODEL, **options)
    found = {"package": PEER, "versions": versions(PEER, "numpy", "matscipy"), "options": options}
    kernels = [calculator.jit_artifact_id, *(one["artifact_id"] for one in calculator.jit_operator_modules.values())]
    flags = sorted({line for line in calculator.jit_diagnostics if line.startswith("host JIT flags")})
    return calculator, {**found, "kernels": kernels, "flags": flags}


def versions(*names: str) -> dict[str, str]:
    return {name: version(name) for name in names}


def main(name: str, folder: Path) -> None:
    # output of other packages must not mix with the answers
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    if name == "convert":
        print(json.dumps(convert(folder)), file=answers)
        return
    calculator, about = open_calculator(name, folder)
    print(json.dumps(about), file=answers)
    places: dict[str, tuple[Atoms, np.ndarray]] = {}
    counts: dict[str, int] = {}
    for line in sys.stdin:
        size = line.strip()
        if size not in places:
            saved = np.load(folder / f"{size}.npz")
            places[size] = Atoms(saved["numbers"], cell=saved["cell"], pbc=True), saved["positions"]
        atoms, positions = places[size]
        counts[size] = counts.get(size, -1) + 1
        atoms.positions = positions[counts[size] % len(positions)]
        atoms.calc = calculator
        stress, energy, forces = atoms.get_stress(), atoms.get_potential_energy(), atoms.get_forces()
        finite = bool(np.isfinite(energy) and np.isfinite(forces).all() and np.isfinite(stress).all())
        print(json.dumps(finite), file=answers)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
