"""Print the results of the study (docs/functional/*.json) as the tables of docs/functional.md.

python scripts/studies/functional/table.py docs/functional
"""

import json
import sys
from pathlib import Path

import numpy as np

PHASES = ("diamond", "hexagonal", "beta-tin", "sc", "fcc")


def row(*cells: object) -> str:
    return "| " + " | ".join(str(cell) for cell in cells) + " |\n"


def hexagonal(functionals: dict) -> str:
    """Hexagonal silicon."""
    text = row("functional", "density", "plane average, e/bohr³", "energy, meV/atom", "T[rho_KS], meV/atom", "steps")
    for name, value in functionals.items():
        one = value["hexagonal"]
        text += row(
            name,
            f"{one['density_error']:.4f}",
            f"{one['plane_average_error']:.1e}",
            f"{one['energy_error_mev']:.0f}",
            f"{one['kinetic_error_mev']:.0f}",
            one["steps"],
        )
    return text


def equations(functionals: dict) -> str:
    """V0 and B0 against Kohn-Sham, and energies above diamond."""
    text = ""
    for name, value in functionals.items():
        found, cells = value["equations_of_state"], []
        for crystal, fits in found.items():
            if "failed" in fits:
                cells.append(f"{crystal} failed")
                continue
            own, reference = fits["functional"], fits["kohn_sham"]
            v, b = (100 * (own[key] / reference[key] - 1) for key in ("volume", "bulk_modulus"))
            cells.append(f"{crystal} {v:+.1f}/{b:+.0f}" if np.isfinite(v) else f"{crystal} none")
        text += row(name, *cells)
        for kind in ("functional", "kohn_sham"):
            energies = [found[phase].get(kind, {}).get("energy", np.nan) for phase in PHASES]
            text += row(
                f"{name} {kind}",
                *(f"{p} {1000 * (e - energies[0]):.0f}" for p, e in zip(PHASES, energies, strict=True)),
            )
    return text


def rest(functionals: dict) -> str:
    """Phonon, vacancy, thermal frames, self-consistency, densities of the phases."""
    text = ""
    for name, value in functionals.items():
        thermal = [v.get("force_error", np.nan) for v in value["thermal"].values()]
        phases = {key: round(v.get("density_error", np.nan), 4) for key, v in value["phases"].items()}
        phonon = {key: round(v, 1) for key, v in value["phonon"].items()}
        text += row(
            name, phonon, value["vacancy"], [round(x, 3) for x in thermal], phases, value.get("self_consistency")
        )
    return text


def main() -> None:
    folder = Path(sys.argv[1])
    functionals = json.loads((folder / "test.json").read_text())["functionals"]
    sys.stdout.write("\n".join((hexagonal(functionals), equations(functionals), rest(functionals))))
    validation = json.loads((folder / "validation.json").read_text())
    for name, errors in {**validation["validation"], **validation["leave_one_out"]}.items():
        cells = [
            f"{k} {v.get('density_error', np.nan):.4f} {1000 * v.get('energy_error', np.nan):.0f}"
            for k, v in errors.items()
        ]
        sys.stdout.write(row(name, *cells))


if __name__ == "__main__":
    main()
