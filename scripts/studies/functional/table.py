"""Print the results of the study (docs/functional/*.json) as the tables of docs/functional.md.

python scripts/studies/functional/table.py docs/functional
"""

import json
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np

PHASES = ("hexagonal", "beta-tin", "sc", "fcc")
CRYSTALS = ("diamond", *PHASES, "GaAs", "InP")
NAMES = {"seed-0": "gnnpot-kedf-1 (seed 0)", "seed-1": "seed 1", "seed-2": "seed 2"}


def table(head: Iterable[object], rows: Iterable[Iterable[object]]) -> str:
    """A table in Markdown."""
    lines = [list(head), *map(list, rows)]
    lines.insert(1, ["---"] * len(lines[0]))
    return "".join("| " + " | ".join(map(str, line)) + " |\n" for line in lines) + "\n"


def hexagonal(functionals: dict) -> str:
    """Hexagonal silicon."""
    rows = []
    for name, value in functionals.items():
        one = value["hexagonal"]
        numbers = f"{one['density_error']:.4f}", f"{one['plane_average_error']:.1e}", f"{one['energy_error_mev']:.0f}"
        rows.append((NAMES.get(name, name), *numbers, f"{one['kinetic_error_mev']:.0f}", one["steps"]))
    seeds = [value["hexagonal"] for name, value in functionals.items() if name in NAMES]
    middle = {key: np.median([seed[key] for seed in seeds]) for key in seeds[0]}
    rows.append(
        (
            "median of the seeds",
            f"{middle['density_error']:.4f}",
            f"{middle['plane_average_error']:.1e}",
            f"{middle['energy_error_mev']:.0f}",
            "",
            "",
        )
    )
    head = ("functional", "density", "plane average, e/bohr³", "energy, meV/atom", "T[rho_KS], meV/atom", "steps")
    return table(head, rows)


def equations(functionals: dict) -> str:
    """V0 and B0 against Kohn-Sham, then energies above diamond."""
    fits, energies = [], []
    for name, value in functionals.items():
        found = value["equations_of_state"]
        fits.append((NAMES.get(name, name), *(_fit(found[crystal]) for crystal in CRYSTALS)))
        energies.append((NAMES.get(name, name), *_above(found, "functional")))
    reference = ("Kohn-Sham", *_above(next(iter(functionals.values()))["equations_of_state"], "kohn_sham"))
    minima = [row for row in energies if "nan" not in row]
    return table(("V0 / B0, %", *CRYSTALS), fits) + table(("meV/atom", *PHASES), [reference, *minima])


def _fit(found: dict) -> str:
    one, exact = found.get("functional"), found.get("kohn_sham")
    if one is None or exact is None or not np.isfinite([one["volume"], one["bulk_modulus"]]).all():
        return "none"
    volume, modulus = (100 * (one[key] / exact[key] - 1) for key in ("volume", "bulk_modulus"))
    return f"{volume:+.1f} / {modulus:+.0f}"


def _above(found: dict, which: str) -> list[str]:
    energies = {crystal: found[crystal].get(which, {}).get("energy", np.nan) for crystal in ("diamond", *PHASES)}
    return [f"{1000 * (energies[phase] - energies['diamond']):.0f}" for phase in PHASES]


def others(functionals: dict) -> str:
    """The TO phonon, the vacancy, forces; self-consistency of the seeds."""
    first = next(iter(functionals.values()))
    exact = ", ".join(f"{first['phonon'][f'{size} kohn_sham']:.0f}" for size in ("0.01", "0.02"))
    rows = [("Kohn-Sham", exact, f"{first['vacancy']['kohn_sham']:.2f}", "", "")]
    for name, value in functionals.items():
        phonon = ", ".join(f"{value['phonon'][size]:.0f}" for size in ("0.01", "0.02"))
        vacancy = f"{value['vacancy']['functional']:.2f}" if value["vacancy"] else ""
        forces = [
            ", ".join(f"{value['thermal'][f'thermal-{crystal}-{seed}']['force_error']:.2f}" for seed in (1, 2))
            for crystal in ("Si", "GaAs")
        ]
        rows.append((NAMES.get(name, name), phonon, vacancy, *forces))
    text = table(("", "phonon, meV a cell", "vacancy, eV", "forces Si, eV/Å", "forces GaAs, eV/Å"), rows)
    for name in (name for name in functionals if name in NAMES):
        found = functionals[name]["self_consistency"]
        steps = ", ".join(f"{start} {value['steps']}" for start, value in found["starts"].items())
        spread = np.ptp([value["energy"] for value in found["starts"].values()])
        last = found["grids"]["9.0"]
        grids = ", ".join(f"{cutoff} {energy - last:+.1f}" for cutoff, energy in found["grids"].items())
        text += f"{NAMES[name]}: steps {steps}; energies within {spread:.2f} meV/atom; grids {grids}\n"
    return text + "\n"


def validation(result: dict) -> str:
    """Density errors of what designs are chosen by, then those of the crystals that were left out."""
    names = sorted(next(iter(result["validation"].values())))
    rows = [
        (NAMES.get(name, name), *(f"{value[sample]['density_error']:.4f}" for sample in names))
        for name, value in result["validation"].items()
    ]
    energies = [
        (NAMES[name], *(f"{1000 * value[sample]['energy_error']:.0f}" for sample in names))
        for name, value in result["validation"].items()
        if name in NAMES
    ]
    left_out = [
        (
            crystal,
            ", ".join(f"{one['density_error']:.4f}" for one in found.values()),
            ", ".join(f"{1000 * one['energy_error']:.0f}" for one in found.values()),
        )
        for crystal, found in sorted(result["leave_one_out"].items())
    ]
    head = ("crystal", "density", "energy, meV/atom")
    return table(("density", *names), rows) + table(("energy, meV/atom", *names), energies) + table(head, left_out)


def ordered(functionals: dict) -> dict:
    """Seeds first, then the classic functionals by the density's error."""
    return dict(
        sorted(functionals.items(), key=lambda item: (item[0] not in NAMES, item[1]["hexagonal"]["density_error"]))
    )


def main() -> None:
    folder = Path(sys.argv[1])
    functionals = ordered(json.loads((folder / "test.json").read_text())["functionals"])
    sys.stdout.write(hexagonal(functionals) + equations(functionals) + others(functionals))
    sys.stdout.write(validation(json.loads((folder / "validation.json").read_text())))


if __name__ == "__main__":
    main()
