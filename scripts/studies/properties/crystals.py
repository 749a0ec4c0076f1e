"""Compare elastic moduli, equations of state and heat capacities of crystals by a potential with DFT.

    python scripts/studies/properties/crystals.py data/benchmarks -o docs/properties

The crystals are selected by a rule: from each of the two files of matcalc's benchmarks (bulk and shear moduli of the
Materials Project; heat capacities at 300 K from PBE phonons of Alexandria), the first ten in the order of the file with
cubic symmetry and at most four atoms in the primitive cell, without lanthanides and actinides. Each result is a line of
OUT/crystals.jsonl, appended when it is finished; the same command resumes. OUT/crystals.md and OUT/crystals.png are
written at the end.
"""

import gzip
import json
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from pymatgen.core import Structure
from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

import gnnpot
from gnnpot.errors import GnnpotError
from gnnpot.properties import elastic, equation_of_state, phonons
from gnnpot.properties.phonons import PhononsConfig
from gnnpot.runs.files import write_text
from gnnpot.runs.pages import new_figure, styles_of, tidy
from gnnpot.units import GPA

COUNT, MOST_ATOMS = 10, 4
#: crystals with errors above this fraction of the range are labelled in the plot
_NAMED = 0.05
ELASTIC, HEAT = "mp-binary-pbe-elasticity-half.json.gz", "alexandria-binary-pbe-phonon-half.json.gz"


def main(
    data: Annotated[Path, typer.Argument(help="Folder that contains the two files.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Output folder.")],
    model: Annotated[str, typer.Option("--model", "-m", help="Name of a potential.")] = "nequix-oam-1-pft",
) -> None:
    """Compute missing results, and write the table and the plot."""
    output.mkdir(parents=True, exist_ok=True)
    log = output / "crystals.jsonl"
    known = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    done = {(row["set"], row["mp_id"]) for row in known}
    calculator = gnnpot.Calculator(model)
    for name, file, measure in (("elasticity", ELASTIC, moduli), ("heat capacity", HEAT, heat_capacity)):
        for entry, structure in chosen(data / file):
            if (name, entry["mp_id"]) in done:
                continue
            row = {"set": name, "model": model, "mp_id": entry["mp_id"], "formula": entry["formula"]}
            try:
                row |= measure(structure, entry, calculator)
            except GnnpotError as error:
                row["failed"] = str(error)
            with log.open("a") as lines:
                lines.write(json.dumps(row) + "\n")
            known.append(row)
    write_text(output / "crystals.md", table(known, model))
    draw(known, output / "crystals.png")


def chosen(path: Path) -> list[tuple[dict[str, Any], Structure]]:
    """Entries and primitive cells selected by the rule."""
    found = []
    for entry in json.loads(gzip.decompress(path.read_bytes())):
        structure = Structure.from_dict(entry["structure"])
        if any(e.is_lanthanoid or e.is_actinoid for e in structure.composition.elements):
            continue
        analyser = SpacegroupAnalyzer(structure, symprec=0.01)
        primitive = analyser.get_primitive_standard_structure()
        if analyser.get_crystal_system() == "cubic" and len(primitive) <= MOST_ATOMS:
            found.append((entry | {"atoms": len(structure)}, primitive))
        if len(found) == COUNT:
            break
    return found


def moduli(structure: Structure, entry: dict[str, Any], calculator: gnnpot.Calculator) -> dict[str, Any]:
    found = elastic.calc(structure, calculator)
    state = equation_of_state.calc(structure, calculator)
    return {
        "K_GPa": found.bulk_modulus,
        "K_dft_GPa": entry["bulk_modulus_vrh"],
        "G_GPa": found.shear_modulus,
        "G_dft_GPa": entry["shear_modulus_vrh"],
        "K_equation_of_state_GPa": state.bulk_modulus / GPA,
        "volume_A3": state.volume,
        "stable": found.stable,
    }


def heat_capacity(structure: Structure, entry: dict[str, Any], calculator: gnnpot.Calculator) -> dict[str, Any]:
    found = phonons.calc(structure, calculator, PhononsConfig(mesh_length=50.0))
    per_atom = found.heat_capacity_at(300.0) / found.bands[0].shape[1] * 3
    return {
        "C_J_K_mol_atom": per_atom if np.isfinite(per_atom) else None,
        "C_dft_J_K_mol_atom": entry["heat_capacity"] / entry["atoms"],
        "lowest_THz": found.lowest,
        "stable": found.stable,
    }


def table(rows: list[dict[str, Any]], model: str) -> str:
    """Markdown table."""
    lines = [
        f"# Crystals by {model} compared with density functional theory",
        "",
        "Bulk and shear moduli K and G, in GPa, are Hill averages of the elastic tensor. K by E(V) is that of the",
        "equation of state. C is the heat capacity at constant volume and 300 K, in J/K for a mole of atoms; crystals",
        "with imaginary modes have none. `scripts/studies/properties/crystals.py` writes this page.",
        "",
        "![Moduli and heat capacities compared with DFT](crystals.png)",
        "",
        "| crystal | K | K by E(V) | K, DFT | G | G, DFT |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        if row["set"] == "elasticity" and "failed" not in row:
            numbers = ("K_GPa", "K_equation_of_state_GPa", "K_dft_GPa", "G_GPa", "G_dft_GPa")
            lines.append(f"| {row['formula']} | " + " | ".join(f"{row[n]:.0f}" for n in numbers) + " |")
    lines += ["", "| crystal | C, 300 K | C, DFT | lowest mode, THz |", "|---|---|---|---|"]
    for row in rows:
        if row["set"] == "heat capacity" and "failed" not in row:
            value = "–" if row["C_J_K_mol_atom"] is None else f"{row['C_J_K_mol_atom']:.2f}"
            lines.append(f"| {row['formula']} | {value} | {row['C_dft_J_K_mol_atom']:.2f} | {row['lowest_THz']:.2f} |")
    failed = [f"{row['formula']} ({row['failed']})" for row in rows if "failed" in row]
    lines += ["", f"Failed: {'; '.join(failed)}." if failed else "No calculation failed.", "", _errors(rows), ""]
    return "\n".join(lines)


def _errors(rows: list[dict[str, Any]]) -> str:
    def mean(a: str, b: str) -> str:
        pairs = [(row[a], row[b]) for row in rows if row.get(a) is not None]
        return f"{np.mean([abs(x - y) for x, y in pairs]):.2g}" if pairs else "–"

    return (
        f"Mean absolute differences from DFT: K {mean('K_GPa', 'K_dft_GPa')} GPa, G {mean('G_GPa', 'G_dft_GPa')} GPa, "
        f"heat capacity {mean('C_J_K_mol_atom', 'C_dft_J_K_mol_atom')} J/K/mol."
    )


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Plot each quantity against DFT."""
    figure = new_figure(3)
    model = rows[0]["model"]
    style = styles_of([model])[model]
    panels = (
        ("K_GPa", "K_dft_GPa", "bulk modulus, GPa"), ("G_GPa", "G_dft_GPa", "shear modulus, GPa"),
        ("C_J_K_mol_atom", "C_dft_J_K_mol_atom", "heat capacity at 300 K, J/K/mol"),
    )  # fmt: skip
    for k, (own, dft, label) in enumerate(panels):
        axes = figure.add_subplot(1, 3, k + 1)
        points = [(row[dft], row[own], row["formula"]) for row in rows if row.get(own) is not None]
        axes.plot([x for x, _, _ in points], [y for _, y, _ in points], style.marker, color=style.color, markersize=5)
        ends = axes.get_xlim()
        axes.plot(ends, ends, color="#555555", linewidth=0.8, label="equal")
        quantity, unit = label.rsplit(", ", 1)
        axes.set(title=quantity, xlabel=f"DFT, {unit}", ylabel=f"{model}, {unit}")
        # only crystals with large errors are labelled
        spread = np.ptp([x for x, _, _ in points])
        for x, y, name in points:
            if abs(y - x) > _NAMED * spread:
                crowded = any(0 < a - x < 0.1 * spread and abs(b - y) < 0.1 * spread for a, b, _ in points)
                where = {"xytext": (-6, -3), "ha": "right"} if crowded else {"xytext": (6, -3)}
                axes.annotate(name, (x, y), textcoords="offset points", fontsize=8, **where)
        axes.margins(x=0.08)
        tidy(axes)
    figure.axes[0].legend(frameon=False, fontsize=8)
    figure.savefig(path)


if __name__ == "__main__":
    typer.run(main)
