"""Lattices and sites of gnnpot/builder/library/crystals.yaml, from the prototypes that pymatgen ships (AFLOW).

    python scripts/make_builder_crystals.py

Every `aflow: [formula, space group, mineral]` of substances.yaml is found in the library, standardised with spglib
and written as the conventional cell with one site for each orbit.
"""

from pathlib import Path

import yaml
from pymatgen.analysis.prototypes import AFLOW_PROTOTYPE_LIBRARY
from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

LIBRARY = Path(__file__).parents[1] / "gnnpot/builder/library"


def conventional(formula: str, spacegroup: int, mineral: str) -> dict:
    """The conventional cell of one prototype."""
    for entry in AFLOW_PROTOTYPE_LIBRARY:
        structure, tags = entry["snl"].structure, entry["tags"]
        same = structure.composition.reduced_formula == formula and tags["mineral"] == mineral
        if same and f"_{spacegroup}_" in tags["aflow"]:
            break
    else:
        raise LookupError(f"pymatgen has no prototype {formula} {spacegroup} {mineral!r}")
    analyzer = SpacegroupAnalyzer(structure, symprec=0.01)
    assert analyzer.get_space_group_number() == spacegroup, (formula, analyzer.get_space_group_number())
    cell = analyzer.get_refined_structure()
    return {
        "formula": formula,
        "spacegroup": spacegroup,
        "mineral": mineral,
        "lattice": [round(float(x), 5) for x in cell.lattice.parameters],
        "sites": [[s.specie.symbol, *(round(float(x) % 1, 6) for x in s.frac_coords)] for s in cell],
    }


def main() -> None:
    """Write crystals.yaml."""
    substances = yaml.safe_load((LIBRARY / "substances.yaml").read_text())
    wanted = [tuple(p["aflow"]) for s in substances for p in s["polymorphs"] if "aflow" in p]
    head = "# Written by scripts/make_builder_crystals.py: conventional cells (a, b, c, angles; every atom).\n"
    head += (
        "# Source: AFLOW Library of Crystallographic Prototypes (Mehl et al. 2017; Hicks et al. 2019), in pymatgen.\n"
    )
    crystals = [conventional(*key) for key in wanted]
    lines = [
        yaml.safe_dump([c], default_flow_style=True, sort_keys=False, width=10**6, allow_unicode=True) for c in crystals
    ]
    text = "".join("- " + line.strip()[1:-1] + "\n" for line in lines)
    (LIBRARY / "crystals.yaml").write_text(head + text)


if __name__ == "__main__":
    main()
