"""Thermal conductivity of silicon by potentials, compared with DFT: the table of docs/properties.md.

    python scripts/studies/properties/silicon_conductivity.py docs/properties/silicon-conductivity.json fast accurate

The supercell (2x2x2 of the cubic cell, 64 atoms), the mesh (9x9x9) and the approximation are those of phono3py's
example Si-PBEsol, with forces by VASP and PBEsol; the DFT value is taken from phono3py's test of this example. Models
that are in the file already are not computed again.
"""

import json
import sys
from pathlib import Path

import torch
from ase.build import bulk

from gnnpot.engines.calculator import Calculator
from gnnpot.hub.opening import open_potential
from gnnpot.hub.shipped import resolve_alias
from gnnpot.properties import thermal_conductivity
from gnnpot.properties.thermal_conductivity import ThermalConductivityConfig

#: W/m/K at 300 K, phono3py 4, test_kappa_RTA_si
REFERENCE = 107.7


def main(path: Path, models: list[str]) -> None:
    found = json.loads(path.read_text()) if path.exists() else {"dft_PBEsol_300K_W_mK": REFERENCE, "models": {}}
    for model in map(resolve_alias, models):
        if model in found["models"]:
            continue
        result = thermal_conductivity.calc(
            bulk("Si", cubic=True), Calculator(open_potential(model), dtype=torch.float64),
            ThermalConductivityConfig(supercell=(2, 2, 2), mesh=(9, 9, 9), temperatures=(300.0,)),
        )  # fmt: skip
        value = result.at(300.0)
        found["models"][model] = {"conductivity_300K_W_mK": value, "over_dft": value / REFERENCE}
        path.write_text(json.dumps(found, indent=1) + "\n")
        print(model, found["models"][model])


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
