"""Write the first seed of the study to the package as gnnpot-kedf-1, with the measured errors on its card.

    python scripts/studies/functional/ship.py runs/functional

Needs the stages `train`, `leave-one-out`, `validation` and `test` of study.py.
"""

import argparse
import json
from pathlib import Path

from measure import RESULTS

from gnnpot.functional import store

SEED = "seed-0"
DATA = (
    "Kohn-Sham LDA with BLPS local pseudopotentials: Si and the nine zincblende III-V crystals of Al, Ga, In with P, "
    "As, Sb at five volumes and on three grids, strained; III-V displaced; vacancies in 8 and 16 atoms; III-V as NaCl, "
    "CsCl, NiAs, flat hexagonal layers and 4H, Si in bcc, simple hexagonal and bct-C4 structures; random cells of 4 "
    "atoms, random displacements of 2 and 8 atoms; 27 non-interacting triples"
)
LIMITS = "bulk crystals; energies of phases to some 20 meV/atom, simple cubic silicon to 60; surfaces are not learnt"


def errors() -> dict:
    """Errors of the shipped functional, for its card."""
    test = json.loads((RESULTS / "test.json").read_text())["functionals"][SEED]
    left_out = json.loads((RESULTS / "validation.json").read_text())["leave_one_out"]
    densities = [error["density_error"] for crystal in left_out.values() for error in crystal.values()]
    forces = [error["force_error"] for error in test["thermal"].values()]
    return {
        "hexagonal_silicon": test["hexagonal"],
        "leave_one_out_density_error": [min(densities), max(densities)],
        "thermal_force_error_ev_per_angstrom": [min(forces), max(forces)],
        "vacancy_ev": test["vacancy"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=Path)
    trained = parser.parse_args().runs / SEED / "model"
    card = json.loads((trained / store.CARD).read_text())
    about = {
        "name": store.DEFAULT,
        "samples": card["samples"],
        "soap_steps": card["soap_steps"],
        "data": DATA,
        "elements": ["Al", "As", "Ga", "In", "P", "Sb", "Si"],
        "constraints": ["scaling law", "F >= 0", "uniform gas", "linear response of the uniform gas (to 5e-4)"],
        "errors": errors(),
        "limits": LIMITS,
        "licence": "MIT",
        "made_by": f"scripts/studies/functional/study.py, {SEED}",
    }
    store.save(store.load(trained), Path(store.__file__).parent / "shipped" / store.DEFAULT, about, overwrite=True)


if __name__ == "__main__":
    main()
