"""Page on accuracy and time of all named potentials, in gnnpot and in the original packages.

    gnnpot evaluate NAME NAME ... --suite speed -o docs/accuracy/suites      # times, in alternation in one run
    python scripts/studies/accuracy/published.py data --potentials NAME ...   # errors
    python scripts/benchmarks/symmetrix_xl.py PYTHON --folder FOLDER          # times of a MACE model
    python scripts/studies/accuracy/page.py                                   # this page

Errors: geometric means over Si, Mo, Cu and Ni of mlearn, from `docs/accuracy/published.jsonl`, and phonon frequencies
of ten crystals, from `docs/accuracy/suites/table.json`. Times: processor time of a step of 512 atoms of Si on one
thread, with all potentials in alternation in one run, from `docs/accuracy/suites/results/speed.json`. An original
package runs the same weights: its error is the same, and its time is the time of gnnpot times the ratio in
`docs/benchmarks/peers.json` (for Nequix, `docs/benchmarks/nequix/peers.json`), which was measured in one run. For
`symmetrix-xl` only the time is shown: the time of 7net-0 times the ratio in `docs/benchmarks/symmetrix-xl.json`. It has
random weights, and so no error.

Writes accuracy-and-time.md, .json and .png into docs/accuracy.
"""

import io
import json
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from choice import geometric
from matplotlib.lines import Line2D

from gnnpot.runs.files import write_bytes, write_text
from gnnpot.runs.pages import GREY, new_figure, plain_log_ticks, styles_of, tidy

SETS = ("Si", "Mo", "Cu", "Ni")
ATOMS = 512
PACKAGES = {
    "chgnet-0.3.0": "chgnet", "7net-0": "sevenn", "7net-l3i5": "sevenn", "nequix-oam-1": "nequix",
    "m3gnet-mp-2021.2.8": "matgl",
}  # fmt: skip
SYMMETRIX = "symmetrix-xl"
#: potential to whose time the ratio of symmetrix-xl refers
UNIT = "7net-0"
MACE = "MACE of MACE-MPA-0's size"


NOTES = """\
- **Errors** are those on labelled frames of Si, Mo, Cu and Ni (mlearn's test frames), on which no potential was
  fine-tuned. They are geometric means of the four elements; energies are compared after subtracting the best constant.
  The labels are of PBE; potentials with r2SCAN in their name were trained on another functional.
- **Frequencies** are the errors of the phonon frequencies of ten crystals ([list](suites/table.md)).
- **Times** are those of a step of energy, forces and stress of silicon: processor time, {threads_here} thread, all
  potentials of gnnpot in turns in one run ({cpu_here}). The machine was busy, so ratios are more reliable than times.
- **Authors' packages** run the same weights, so their errors are the same. Their times are gnnpot's times in this run,
  multiplied by a ratio that was measured in turns: `chgnet` 0.4.2, `sevenn` 0.13.0 and `matgl` 4.1.2 on two threads
  ([table](../benchmarks/peers.md)), `nequix` 0.4.5 (JAX) on one thread ([table](../benchmarks/nequix/peers.md)).

## MACE

`symmetrix-xl` {version} runs a MACE with the structure and size of MACE-MPA-0 ({parameters:.1f} million parameters,
cutoff {cutoff:g} Å). The weights are random, so there are no errors. It uses float32, kernels compiled for this model,
and the faster of its profiles (`{profile}` at {atoms} atoms).

For {atoms} atoms of silicon on {threads} threads, all in turns in one run on {cpu}
(`scripts/benchmarks/symmetrix_xl.py`, [numbers](../benchmarks/symmetrix-xl.json)):

| potential | µs per atom and step |
|---|---|
| MACE in `symmetrix-xl` | {symmetrix:.0f} |
| 7net-0 in gnnpot | {unit:.0f} |
| 7net-l3i5 in gnnpot | {l3i5:.0f} |
| nequix-oam-1 in gnnpot | {nequix:.0f} |

Its time in the table above is 7net-0's time multiplied by the ratio of that run, {ratio:.2f} at {atoms} atoms.
MACE-MPA-0 is published with F1 0.852 and κ_SRME 0.41 on matbench-discovery.

`scripts/studies/accuracy/page.py` makes this page; `accuracy-and-time.json` has the numbers.
"""


def main(
    docs: Annotated[Path, typer.Option(help="Folder of the measurements and of the page.")] = Path("docs"),
) -> None:
    """Write the page."""
    folder = docs / "accuracy"
    steps: dict[str, Any] = {}
    for place in ("nequix", "."):
        steps |= json.loads((docs / "benchmarks" / place / "peers.json").read_text())["steps"]
    mace = json.loads((docs / "benchmarks" / "symmetrix-xl.json").read_text())
    rows = points(folder, steps, mace["rows"])
    write_text(folder / "accuracy-and-time.json", json.dumps(rows, indent=1, ensure_ascii=False) + "\n")
    about = json.loads((folder / "suites" / "results" / "speed.json").read_text())["about"]
    write_text(folder / "accuracy-and-time.md", page(rows, about, mace))
    write_bytes(folder / "accuracy-and-time.png", picture(rows))


def points(folder: Path, steps: dict[str, Any], mace: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A row for each potential and package, with errors and times (ms)."""
    errors: dict[str, dict[str, dict[str, float]]] = {}
    for line in (folder / "published.jsonl").read_text().splitlines():
        row = json.loads(line)
        errors.setdefault(row["potential"], {})[row["set"]] = row
    phonons = json.loads((folder / "suites" / "table.json").read_text())["phonons"]
    times: dict[str, dict[int, float]] = {}
    for row in json.loads((folder / "suites" / "results" / "speed.json").read_text())["rows"]:
        times.setdefault(row["potential"], {})[row["atoms"]] = row["ms"]
    rows = []
    for name, ms in times.items():
        found = errors.get(name, {})
        row = {"potential": name, "package": "gnnpot", "ms_64": ms[64], "ms_512": ms[ATOMS]}
        if all(s in found for s in SETS):
            row["energy"] = geometric([found[s]["energy_mae_mev_per_atom"] for s in SETS])
            row["forces"] = geometric([found[s]["forces_mae_ev_per_angstrom"] for s in SETS])
        if name in phonons:
            row["frequencies"] = phonons[name]["all frequencies, MAE"]["value"]
        rows.append(row)
        for package, small, large in _peers(name, steps):
            rows.append(row | {"package": package, "ms_64": small * ms[64], "ms_512": large * ms[ATOMS]})
    if UNIT in times:
        small, large = (_fastest(mace, size)["ratio"] * times[UNIT][size] for size in (64, ATOMS))
        rows.append({"potential": MACE, "package": SYMMETRIX, "ms_64": small, "ms_512": large})
    return rows


def _peers(name: str, steps: dict[str, Any]) -> list[tuple[str, float, float]]:
    """(package, ratio at 64 atoms, ratio at 512)."""
    if name not in PACKAGES:
        return []
    package = PACKAGES[name]
    ratios = []
    for size in (64, ATOMS):
        seconds = steps[f"{name}/Si/{size}"]["seconds"]
        ratios.append(float(np.median(np.divide(seconds[package], seconds["gnnpot"]))))
    return [(package, *ratios)]


def _fastest(mace: list[dict[str, Any]], size: int) -> dict[str, Any]:
    """Row of the faster profile of symmetrix-xl."""
    rows = (row for row in mace if row["potential"].startswith(SYMMETRIX) and row["atoms"] == size)
    return min(rows, key=lambda row: row["ratio"])


def notes(mace: dict[str, Any], here: dict[str, Any]) -> str:
    """Notes on the measurements of gnnpot and symmetrix-xl."""
    about, peer = mace["about"], _fastest(mace["rows"], ATOMS)
    side = about["sides"][peer["potential"]]
    each = {row["potential"]: row["us_per_atom"] for row in mace["rows"] if row["atoms"] == ATOMS}
    return NOTES.format(
        threads_here=here["threads"], cpu_here=here["cpu"],
        version=side["versions"][SYMMETRIX], parameters=about["model"]["parameters"] / 1e6,
        cutoff=about["model"]["cutoff"], profile=side["options"]["execution_profile"], atoms=ATOMS,
        symmetrix=peer["us_per_atom"], threads=about["threads"], unit=each[UNIT], l3i5=each["7net-l3i5"],
        nequix=each["nequix-oam-1"], cpu=about["cpu"], ratio=peer["ratio"],
    )  # fmt: skip


def page(rows: list[dict[str, Any]], about: dict[str, Any], mace: dict[str, Any]) -> str:
    """Page with the table and notes."""
    lines = [
        "# Accuracy and time",
        "",
        "![Errors on four elements against the time of a step](accuracy-and-time.png)",
        "",
        "| potential | in | energy, meV/atom | forces, eV/Å | frequencies, THz | ms, 64 atoms | ms, 512 atoms |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        errors = [f"{row['energy']:.2g}", f"{row['forces']:.3f}"] if "energy" in row else ["", ""]
        errors.append(f"{row['frequencies']:.2g}" if "frequencies" in row else "")
        cells = [f"{row[key]:.0f}" for key in ("ms_64", "ms_512")]
        lines.append(f"| {row['potential']} | {row['package']} | {' | '.join([*errors, *cells])} |")
    return "\n".join(lines) + f"\n\n{notes(mace, about)}"


def picture(rows: list[dict[str, Any]]) -> bytes:
    """Plot errors of energies, forces and frequencies against ms at 512 atoms; lines join packages of a potential."""
    figure = new_figure(width=16.0, height=5.0)
    drawn = [row for row in rows if "energy" in row]
    styles = styles_of(row["potential"] for row in drawn)
    labels = {"energy": "energy MAE, meV/atom", "forces": "force MAE, eV/Å", "frequencies": "frequencies, MAE, THz"}
    for ax, (key, label) in zip(figure.subplots(1, 3), labels.items(), strict=True):
        for row in rows:
            if row["package"] == SYMMETRIX:
                ax.axvline(row["ms_512"], color=GREY, alpha=0.4, linewidth=5, zorder=0)
        for row in (row for row in drawn if key in row):
            style, ours = styles[row["potential"]], row["package"] == "gnnpot"
            ax.plot(
                row["ms_512"], row[key], style.marker, color=style.color, markersize=7,
                markerfacecolor=style.color if ours else "white",
            )  # fmt: skip
            place = (row["ms_512"], row[key])
            if not ours:
                ax.annotate(
                    row["package"], place, xytext=(0, 6), textcoords="offset points", fontsize=8, ha="center",
                    bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5},
                )  # fmt: skip
                own = next(r for r in drawn if r["potential"] == row["potential"] and r["package"] == "gnnpot")
                ends = [own["ms_512"], row["ms_512"]]
                ax.plot(ends, [row[key]] * 2, ":", color=style.color, linewidth=1.2, zorder=0)
        ax.set(xscale="log", yscale="log", xlabel=f"ms for a step of {ATOMS} atoms of Si, one thread", ylabel=label)
        ax.set_xlim(0.4 * min(row["ms_512"] for row in drawn), 2.0 * max(row["ms_512"] for row in drawn))
        ax.margins(y=0.08)
        for axis in (ax.xaxis, ax.yaxis):
            plain_log_ticks(axis)
        tidy(ax)
    handles = [
        *(
            Line2D([], [], linestyle="", marker=style.marker, color=style.color, label=name)
            for name, style in styles.items()
        ),
        Line2D([], [], linestyle="", marker="o", color="0.3", label="in gnnpot"),
        Line2D([], [], linestyle="", marker="o", color="0.3", markerfacecolor="white", label="in the authors' package"),
        Line2D([], [], color=GREY, alpha=0.4, linewidth=5, label=f"{MACE} in {SYMMETRIX}, time alone"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=5, frameon=False, fontsize=9)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


if __name__ == "__main__":
    typer.run(main)
