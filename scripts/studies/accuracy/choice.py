"""Compare all named potentials trained on PBE, for the choice of the default.

    python scripts/studies/accuracy/choice.py            # writes docs/accuracy/choice.md from the results there

Quantities are grouped in five classes: energies, forces, equations of state, elasticity, phonons. The ratio of a class
is the geometric mean of the ratios of its errors to those of the default. The total ratio is the geometric mean of the
five.
"""

import json
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from gnnpot.runs.files import write_text

FIRST, SECOND = "nequix-oam-1", "nequix-oam-1-pft"
FAST = "gnnpot-1"
BESIDE = (FAST, "7net-0", "7net-l3i5")
#: other named potentials trained on PBE
RIVALS = (
    FIRST, "7net-l3i5", "7net-mf-0@PBE", "7net-0", "nequix-mp-1-pft", "nequix-mp-1", "nequix-omat-1", "chgnet-0.3.0",
    "chgnet-0.2.0", "m3gnet-matpes-pbe-2025.1", "m3gnet-mp-2021.2.8", FAST,
)  # fmt: skip
SETS = ("Si", "Mo", "Cu", "Ni", "LGPS")
#: suite, figure of merit, class, words, unit
MERITS = (
    ("frames.held-out-highest-stress", "energy, MAE", "energies", "high stress", "meV/atom"),
    ("frames.held-out-highest-stress", "force, mean length of the error", "forces", "high stress, length", "eV/Å"),
    ("frames.held-out-random", "energy, MAE", "energies", "random frames", "meV/atom"),
    ("frames.held-out-random", "force, mean length of the error", "forces", "random frames, length", "eV/Å"),
    ("equations-of-state", "volume, median relative error", "equations of state", "volume", "%"),
    ("equations-of-state", "bulk modulus, median relative error", "equations of state", "bulk modulus", "%"),
    ("elasticity", "bulk modulus, median error", "elasticity", "bulk modulus", "GPa"),
    ("elasticity", "shear modulus, median error", "elasticity", "shear modulus", "GPa"),
    ("phonons", "highest frequency, MAE", "phonons", "highest frequency", "THz"),
    ("phonons", "all frequencies, MAE", "phonons", "all frequencies", "THz"),
)
TEXT = Path(__file__).with_name("choice.txt")


def main(
    folder: Annotated[Path, typer.Option(help="Folder of the results and the page.")] = Path("docs/accuracy"),
) -> None:
    """Write the page."""
    rows = measured(folder)
    kinds = list(dict.fromkeys(row["class"] for row in rows))
    ratios = {kind: ratio(rows, kind, SECOND, FIRST) for kind in kinds}
    names = (FIRST, SECOND, *BESIDE)
    lines = [f"| | | unit | {' | '.join(names)} | {SECOND} / {FIRST} |", "|" + "---|" * (4 + len(names))]
    for row in rows:
        cells = [f"{row[name]:.3g}" if name in row else "" for name in names]
        quotient = f"{row[SECOND] / row[FIRST]:.2f}"
        lines.append(f"| {row['class']} | {row['what']} | {row['unit']} | {' | '.join(cells)} | {quotient} |")
    summary = [f"| {kind} | {value:.2f} |" for kind, value in ratios.items()]
    without = [value for kind, value in ratios.items() if kind != "phonons"]
    summary += [
        f"| all five | {geometric(list(ratios.values())):.2f} |",
        f"| all but phonons | {geometric(without):.2f} |",
    ]
    table = "\n".join(["| class | ratio |", "|---|---|", *summary])
    fast = {kind: ratio(rows, kind, FAST, SECOND) for kind in kinds}
    filled = {
        "ratios": table,
        "measured": "\n".join(lines),
        "rivals": rivals(rows, kinds),
        "fast_errors": ", ".join(f"{kind} {value:.1f}" for kind, value in fast.items()),
        "fast_times": times(json.loads((folder / "two-threads.json").read_text())["rows"]),
    }
    text = TEXT.read_text("utf-8")
    for name, value in filled.items():
        text = text.replace(f"{{{name}}}", value)
    write_text(folder / "choice.md", text)


def rivals(rows: list[dict[str, Any]], kinds: list[str]) -> str:
    """Table of all named potentials: ratios of their errors to those of the default, by class."""
    lines = [f"| errors over those of `{SECOND}` | {' | '.join(kinds)} | all |", "|" + "---|" * (2 + len(kinds))]
    found = {name: [ratio(rows, kind, name, SECOND) for kind in kinds] for name in RIVALS}
    for name, values in sorted(found.items(), key=lambda item: geometric(item[1])):
        cells = [f"{value:.2f}" for value in (*values, geometric(values))]
        lines.append(f"| `{name}` | {' | '.join(cells)} |")
    return "\n".join(lines)


def times(rows: list[dict[str, Any]]) -> str:
    """Time of a step (ms) of the fast and the default potential, at 64 and 512 atoms."""
    found = {(row["potential"], row["atoms"]): row["ms"] for row in rows}
    return " against ".join(" and ".join(f"{found[name, atoms]:.3g}" for atoms in (64, 512)) for name in (FAST, SECOND))


def measured(folder: Path) -> list[dict[str, Any]]:
    """Errors by potential, with a row for each quantity measured for both candidates."""
    rows: dict[tuple[str, str], dict[str, Any]] = {}

    def add(kind: str, what: str, unit: str, name: str, value: float | None) -> None:
        if value is not None and name in (SECOND, *RIVALS):
            rows.setdefault((kind, what), {"class": kind, "what": what, "unit": unit})[name] = value

    for line in (folder / "published.jsonl").read_text().splitlines():
        row = json.loads(line)
        if row["set"] in SETS:
            add("energies", row["set"], "meV/atom", row["potential"], row["energy_mae_mev_per_atom"])
            add("forces", row["set"], "eV/Å", row["potential"], row["forces_mae_ev_per_angstrom"])
    merits = json.loads((folder / "suites" / "table.json").read_text())
    for suite, figure, kind, what, unit in MERITS:
        for name, figures in merits.get(suite, {}).items():
            add(kind, what, unit, name, figures[figure]["value"])
    both = [row for row in rows.values() if FIRST in row and SECOND in row]
    return sorted(both, key=lambda row: list(dict.fromkeys(r["class"] for r in both)).index(row["class"]))


def ratio(rows: list[dict[str, Any]], kind: str, above: str, below: str) -> float:
    """Geometric mean of the ratios of a class, over the quantities measured for both potentials."""
    return geometric(
        [row[above] / row[below] for row in rows if row["class"] == kind and above in row and below in row]
    )


def geometric(values: list[float]) -> float:
    return float(np.exp(np.mean(np.log(values))))


if __name__ == "__main__":
    typer.run(main)
