"""Write the results of the study (JSON beside the page) into the tables of a page.

    python scripts/studies/functional/table.py docs/functional.md docs/functional

Tables are written between `<!-- table: NAME -->` and `<!-- end -->`, where NAME is one of `TABLES`.
"""

import argparse
import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path

import curve
import numpy as np

from gnnpot.runs.files import write_text

PHASES = ("hexagonal", "beta-tin", "sc", "fcc")
CRYSTALS = ("diamond", *PHASES, "GaAs", "InP")
THERMAL = ("Si", "GaAs")
NAMES = {"seed-0": "gnnpot-kedf-1 (seed 0)", "seed-1": "seed 1", "seed-2": "seed 2"}
BLOCK = re.compile(r"(<!-- table: (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)


def table(head: Iterable[object], rows: Iterable[Iterable[object]]) -> str:
    """A table in Markdown."""
    lines = [list(head), *map(list, rows)]
    lines.insert(1, ["---"] * len(lines[0]))
    return "".join("| " + " | ".join(map(str, line)) + " |\n" for line in lines)


def hexagonal(results: dict) -> str:
    """Hexagonal silicon."""
    functionals, rows = results["test"], []
    for name, value in functionals.items():
        one = value["hexagonal"]
        numbers = f"{one['density_error']:.4f}", f"{one['plane_average_error']:.1e}", f"{one['energy_error_mev']:.0f}"
        rows.append((NAMES.get(name, name), *numbers, f"{one['kinetic_error_mev']:.0f}", one["steps"]))
    seeds = [value["hexagonal"] for name, value in functionals.items() if name in NAMES]
    middle = {key: np.median([seed[key] for seed in seeds]) for key in seeds[0]}
    numbers = f"{middle['density_error']:.4f}", f"{middle['plane_average_error']:.1e}"
    rows.append(("median of the seeds", *numbers, f"{middle['energy_error_mev']:.0f}", "", ""))
    head = ("functional", "density", "plane average, e/bohr³", "energy, meV/atom", "T[rho_KS], meV/atom", "steps")
    return table(head, rows)


def equations(results: dict) -> str:
    """V0 and B0 compared with Kohn-Sham."""
    rows = []
    for name, value in results["test"].items():
        rows.append((NAMES.get(name, name), *(_fit(value["equations_of_state"][crystal]) for crystal in CRYSTALS)))
    return table(("V0 / B0, %", *CRYSTALS), rows)


def _fit(found: dict) -> str:
    one, exact = found.get("functional"), found.get("kohn_sham")
    if one is None or exact is None or not np.isfinite([one["volume"], one["bulk_modulus"]]).all():
        return "none"
    volume, modulus = (100 * (one[key] / exact[key] - 1) for key in ("volume", "bulk_modulus"))
    return f"{volume:+.1f} / {modulus:+.0f}"


def phases(results: dict) -> str:
    """Energies of silicon's phases above diamond, for functionals that have a minimum for each."""
    functionals = results["test"]
    rows = [("Kohn-Sham", *_above(next(iter(functionals.values()))["equations_of_state"], "kohn_sham"))]
    for name, value in functionals.items():
        energies = _above(value["equations_of_state"], "functional")
        if "nan" not in energies:
            rows.append((NAMES.get(name, name), *energies))
    return table(("meV/atom", *PHASES), rows)


def _above(found: dict, which: str) -> list[str]:
    energies = {crystal: found[crystal].get(which, {}).get("energy", np.nan) for crystal in ("diamond", *PHASES)}
    return [f"{1000 * (energies[phase] - energies['diamond']):.0f}" for phase in PHASES]


def others(results: dict) -> str:
    """The TO phonon, the vacancy, forces."""
    functionals = results["test"]
    first = next(iter(functionals.values()))
    exact = ", ".join(f"{first['phonon'][f'{size} kohn_sham']:.0f}" for size in ("0.01", "0.02"))
    rows = [("Kohn-Sham", exact, f"{first['vacancy']['kohn_sham']:.2f}", "", "", "")]
    for name, value in functionals.items():
        phonon = ", ".join(f"{value['phonon'][size]:.0f}" for size in ("0.01", "0.02"))
        vacancy = f"{value['vacancy']['functional']:.2f}" if value["vacancy"] else ""
        frames = [[value["thermal"][f"thermal-{crystal}-{n}"]["force_error"] for n in (1, 2)] for crystal in THERMAL]
        forces = [", ".join(f"{error:.2f}" for error in pair) for pair in frames]
        whole = np.sqrt(np.mean(np.square(frames)))
        rows.append((NAMES.get(name, name), phonon, vacancy, *forces, f"{whole:.3f}"))
    columns = (f"forces {crystal}, eV/Å" for crystal in THERMAL)
    return table(("", "phonon, meV a cell", "vacancy, eV", *columns, "all four frames"), rows)


def self_consistency(results: dict) -> str:
    """Steps from each start, the spread of their energies, energies on each grid against the finest."""
    rows = []
    functionals = {name: value["self_consistency"] for name, value in results["test"].items() if name in NAMES}
    first = next(iter(functionals.values()))
    starts, grids = list(first["starts"]), sorted(first["grids"], key=float)
    for name, found in functionals.items():
        spread = np.ptp([value["energy"] for value in found["starts"].values()])
        steps = (found["starts"][start]["steps"] for start in starts)
        drift = (f"{found['grids'][cutoff] - found['grids'][grids[-1]]:+.1f}" for cutoff in grids[:-1])
        rows.append((NAMES[name], *steps, f"{spread:.2f}", *drift))
    return table(("", *(f"steps, {s}" for s in starts), "spread", *(f"{float(g):g}/bohr" for g in grids[:-1])), rows)


def validation(results: dict) -> str:
    """Density errors of the validation set, by which designs are chosen."""
    found = results["validation"]["validation"]
    names = sorted(next(iter(found.values())))
    rows = [
        (NAMES.get(key, key), *(f"{errors[name]['density_error']:.4f}" for name in names))
        for key, errors in found.items()
    ]
    return table(("density", *names), rows)


def validation_energies(results: dict) -> str:
    """Energy errors of the seeds on the validation set."""
    found = {key: value for key, value in results["validation"]["validation"].items() if key in NAMES}
    names = sorted(next(iter(found.values())))
    rows = [(NAMES[key], *(f"{1000 * one[name]['energy_error']:.0f}" for name in names)) for key, one in found.items()]
    return table(("energy, meV/atom", *names), rows)


def left_out(results: dict) -> str:
    """Errors of each crystal by the functional that was trained without it."""
    rows = [
        (
            crystal,
            ", ".join(f"{one['density_error']:.4f}" for one in found.values()),
            ", ".join(f"{1000 * one['energy_error']:.0f}" for one in found.values()),
        )
        for crystal, found in sorted(results["validation"]["leave_one_out"].items())
    ]
    return table(("crystal", "density", "energy, meV/atom"), rows)


def learning_curve(results: dict) -> str:
    """Density errors against the number of crystals."""
    found = {count: curve.densities(errors) for count, errors in results["curve"].items()}
    rows = [(count, *(f"{error:.4f}" for error in errors.values())) for count, errors in found.items()]
    return table(("crystals", *curve.GROUPS), rows)


def grid_drift(results: dict) -> str:
    """Dependence of T on the grid; in brackets, of its von Weizsäcker part."""
    found = results["grid-drift"]
    cutoffs = list(next(iter(found.values()))["drift"])
    rows = [
        (crystal, *(f"{one['drift'][c]['whole']:.1f} ({one['drift'][c]['von_weizsacker']:.1f})" for c in cutoffs))
        for crystal, one in found.items()
    ]
    return table(("", *(f"{cutoff}/bohr" for cutoff in cutoffs)), rows)


TABLES: dict[str, Callable[[dict], str]] = {
    "hexagonal": hexagonal,
    "equations": equations,
    "phases": phases,
    "others": others,
    "self-consistency": self_consistency,
    "left-out": left_out,
    "validation": validation,
    "validation-energies": validation_energies,
    "curve": learning_curve,
    "grid-drift": grid_drift,
}


def read(folder: Path) -> dict:
    """Read results; the seeds come first, then the classical functionals by their density error."""
    results = {path.stem: json.loads(path.read_text()) for path in folder.glob("*.json")}
    functionals = results["test"]["functionals"]
    ranked = sorted(functionals.items(), key=lambda item: (item[0] not in NAMES, item[1]["hexagonal"]["density_error"]))
    return results | {"test": dict(ranked)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("page", type=Path)
    parser.add_argument("results", type=Path)
    arguments = parser.parse_args()
    results = read(arguments.results)
    text = arguments.page.read_text()
    write_text(arguments.page, BLOCK.sub(lambda m: m[1] + TABLES[m[2]](results) + m[3], text))


if __name__ == "__main__":
    main()
