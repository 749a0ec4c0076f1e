"""What `evaluate_checkpoint.py` has measured, as one table and as plots.

Example::

    write_report(Path("docs/checkpoint"), ["gnnpot-1", "7net-0"])       # table.md, errors.png, dimers.png, …
"""

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase.data import atomic_numbers, chemical_symbols
from matplotlib.figure import Figure

from gnnpot.runs.files import write_text
from gnnpot.runs.pages import COLORS, new_figure, tidy
from gnnpot.units import GPA

#: pairs and explosions that are named under the table; the results hold all
NAMED = 12
FRAMES = "frames-"

HeldOut = Callable[[str], bool]
#: a row of the table: what, unit, and a text for each model
Row = tuple[str, str, list[str]]


class Measured:
    """The results of some models, read from a folder; `held_out` says which crystals' labels were kept aside."""

    def __init__(self, folder: Path, models: Sequence[str], held_out: HeldOut | None = None) -> None:
        self.models, self.held_out = list(models), held_out
        self.results = {
            model: {path.stem: json.loads(path.read_text()) for path in sorted((folder / model).glob("*.json"))}
            for model in models
        }
        speed = folder / "speed.json"
        self.speed: dict[str, Any] | None = json.loads(speed.read_text()) if speed.exists() else None

    def of(self, part: str) -> list[dict[str, Any] | None]:
        """The results of a part, one for each model."""
        return [self.results[model].get(part, {}).get("result") for model in self.models]

    def keys(self, part: str) -> list[dict[str, Any]]:
        """What the results of a part follow from, of the models that have any."""
        return [self.results[model][part]["key"] for model in self.models if part in self.results[model]]

    @property
    def frame_sets(self) -> list[str]:
        """Names of the sets of frames."""
        parts = (part for model in self.models for part in self.results[model] if part.startswith(FRAMES))
        return list(dict.fromkeys(part.removeprefix(FRAMES) for part in parts))


def write_report(folder: Path, models: Sequence[str], held_out: HeldOut | None = None) -> None:
    """`table.md` and a plot for each part that has results."""
    measured = Measured(folder / "results", models, held_out)
    write_text(folder / "table.md", markdown(measured))
    plots = {"errors": errors_figure, "dimers": dimers_figure, "equations-of-state": states_figure}
    for name, make in plots.items():
        figure = make(measured)
        if figure is not None:
            partial = folder / f".{name}.partial"
            figure.savefig(partial, format="png")
            os.replace(partial, folder / f"{name}.png")


def markdown(measured: Measured) -> str:
    """The table, a line for each number and a column for each model, and what a reader must know."""
    rows = [*_frame_rows(measured), *_dimer_rows(measured), *_state_rows(measured)]
    rows += [*_stability_rows(measured), *_speed_rows(measured)]
    head = f"| | unit | {' | '.join(measured.models)} |"
    lines = ["# Potentials side by side", "", head, "|---|---|" + "---|" * len(measured.models)]
    lines += [f"| {what} | {unit} | {' | '.join(cells)} |" for what, unit, cells in rows]
    lines += ["", *_notes(measured)]
    return "\n".join(lines) + "\n"


def _cells(results: Sequence[dict | None], value: Any) -> list[str]:
    """value(result) of each, as text; nothing where there is no result."""
    found = ["" if result is None else value(result) for result in results]
    return [cell if isinstance(cell, str) else f"{cell:.3g}" for cell in found]


def _frame_rows(measured: Measured) -> list[Row]:
    rows: list[Row] = []
    for name in measured.frame_sets:
        results = measured.of(FRAMES + name)
        rows.append((f"{name}: frames", "", _cells(results, lambda r: str(r["frames"]))))
        for key, what, unit, factor in (
            ("energy_mae", "energy, MAE", "eV/atom", 1.0),
            ("energy_shifted_mae", "energy, MAE after one shift", "eV/atom", 1.0),
            ("forces_mae", "force components, MAE", "eV/Å", 1.0),
            ("forces_norm", "force, mean length of the error", "eV/Å", 1.0),
            ("stress_mae", "stress components, MAE", "GPa", 1 / GPA),
        ):
            if any(result is not None and key in result for result in results):
                cells = _cells(results, lambda r, k=key, f=factor: f * r[k] if k in r else "")
                rows.append((f"{name}: {what}", unit, cells))
    return rows


def _deep(result: dict) -> list[int]:
    """Indices of the pairs with a hole, the deepest first."""
    depths = np.array([np.inf if h is None else h for h in result["holes"]])
    return [int(k) for k in np.argsort(-depths, kind="stable") if depths[k] > result["tolerance"]]


def _dimer_rows(measured: Measured) -> list[Row]:
    results = measured.of("dimers")
    if not any(results):
        return []
    weakest = _cells(results, lambda r: f"{r['weakest_wall']:.3g} ({'-'.join(r['weakest_pair'])})")
    return [
        ("dimers with a hole, of all pairs", "", _cells(results, lambda r: f"{len(_deep(r))} of {len(r['pairs'])}")),
        ("weakest wall of a dimer", "eV", weakest),
    ]


def state_errors(result: dict) -> np.ndarray:
    """[M, 2] relative errors of volume and bulk modulus of the crystals with a minimum."""
    found = [row for row in result["crystals"].values() if "volume" in row]
    errors = [(r["volume"] / r["volume_expected"] - 1, r["modulus"] / r["modulus_expected"] - 1) for r in found]
    return np.array(errors).reshape(-1, 2)


def _state_rows(measured: Measured) -> list[Row]:
    results = measured.of("equations-of-state")
    if not any(results):
        return []

    rows = _median_rows("equations of state", results)
    if (held_out := measured.held_out) is not None:
        crystals = [r and {name: row for name, row in r["crystals"].items() if held_out(name)} for r in results]
        rows += _median_rows("equations of state held out", [c and {"crystals": c} for c in crystals])
    return rows


def _median_rows(what: str, results: Sequence[dict | None]) -> list[Row]:
    """How many crystals have a minimum, the median errors of those, and of all: no minimum is an infinite error."""

    def ran(result: dict) -> str:
        crystals = result["crystals"]
        elements = len({name.split("-")[0] for name in crystals})
        return f"{len(state_errors(result))} of {len(crystals)} ({elements} elements)"

    def median(column: int, of_all: bool) -> list[str]:
        cells = []
        for result in results:
            errors = np.abs(state_errors(result)[:, column]) if result else np.empty(0)
            failed = len(result["crystals"]) - len(errors) if result and of_all else 0
            errors = np.concatenate([errors, np.full(failed, np.inf)])
            cells.append(f"{100 * np.median(errors):.2f}" if len(errors) else "")
        return cells

    words = ("volume, median relative error", "bulk modulus, median relative error")
    rows = [(f"{what}: {w}", "%", median(k, False)) for k, w in enumerate(words)]
    rows += [(f"{what}: {w}, no minimum: infinite", "%", median(k, True)) for k, w in enumerate(words)]
    return [(f"{what}: with a minimum", "", _cells(results, ran)), *rows]


def _stability_rows(measured: Measured) -> list[Row]:
    rows: list[Row] = []
    results = measured.of("relaxations")
    if any(results):

        def count(key: str) -> list[str]:
            return _cells(results, lambda r: f"{sum(o[key] for o in r['outcomes'])} of {len(r['outcomes'])}")

        ratios = [
            r and [abs(o["volume_ratio"] - 1) for o in r["outcomes"] if o["volume_ratio"] is not None] for r in results
        ]
        rows += [
            ("relaxations: exploded", "", count("exploded")),
            ("relaxations: converged", "", count("converged")),
            ("relaxations: median change of volume", "%", [f"{100 * np.median(x):.2g}" if x else "" for x in ratios]),
        ]
    results = measured.of("dynamics")
    if any(results):
        exploded = _cells(results, lambda r: f"{sum(o['exploded'] for o in r['outcomes'])} of {len(r['outcomes'])}")
        length = max(r["picoseconds"] for r in results if r)
        rows.append((f"1000 K for {length:g} ps: exploded", "", exploded))
        closest = _cells(results, lambda r: min(o["closest"] for o in r["outcomes"]) if r["outcomes"] else "")
        rows.append(("1000 K: closest approach, of the sum of radii", "", closest))
    return rows


def _speed_rows(measured: Measured) -> list[Row]:
    if measured.speed is None:
        return []
    rows = measured.speed["result"]["rows"]
    times = {(row["model"], row["package"], row["atoms"]): row["ms"] for row in rows}
    packages = ["gnnpot", *dict.fromkeys(row["package"] for row in rows if row["package"] != "gnnpot")]
    table: list[Row] = []
    for atoms in dict.fromkeys(row["atoms"] for row in rows):
        for package in packages:
            found = [times.get((model, package, atoms)) for model in measured.models]
            cells = ["" if ms is None else f"{ms:.3g}" for ms in found]
            if any(cells):
                table.append((f"a step of {atoms} atoms of Si, in {package}", "ms", cells))
        matgl = [ms for (_, package, n), ms in times.items() if package == "matgl" and n == atoms]
        if matgl:
            ours = [times.get((model, "gnnpot", atoms)) for model in measured.models]
            cells = ["" if ms is None else f"{matgl[0] / ms:.2g}" for ms in ours]
            table.append((f"times faster than M3GNet in matgl, {atoms} atoms", "", cells))
    return table


def _notes(measured: Measured) -> list[str]:
    notes = []
    if measured.frame_sets:
        first = measured.keys(FRAMES + measured.frame_sets[0])[0]
        if first["part"] is not None:
            shares = ", ".join(f"{name} {share:g}" for name, share in first["fractions"].items())
            notes.append(
                f"Frames: only materials of the part '{first['part']}' of a split by material ({shares}; seed "
                f"{first['split_seed']})."
            )
        corrected = [
            model
            for model, result in zip(measured.models, measured.of(FRAMES + measured.frame_sets[0]), strict=True)
            if result and result["energies"] != "as calculated"
        ]
        if corrected:
            notes.append(
                f"Energies are the raw totals, for {', '.join(corrected)} with MP2020's corrections added, which "
                "these were trained on; a frame counts as PBE+U where the corrections ask for U."
            )
    if measured.held_out is not None and any(measured.of("equations-of-state")):
        notes.append(
            "Equations of state held out: the crystals of that part of the same split, by the names of the reference."
        )
    notes += _named_dimers(measured) + _named_explosions(measured) + _named_compressed(measured)
    if measured.speed is not None:
        key, clock = measured.speed["key"], measured.speed["result"]["clock"]
        threads = f"{key['threads']} thread{'s' * (key['threads'] != 1)}"
        notes.append(f"A step: energy, forces and stress, float32, {threads}, {clock}, median, in turns; {key['cpu']}.")
    # between paragraphs an empty line
    return [line for note in notes for line in (note, "")]


def _named_dimers(measured: Measured) -> list[str]:
    notes = []
    for model, result in zip(measured.models, measured.of("dimers"), strict=True):
        if result and (deep := _deep(result)):
            texts = []
            for k in deep[:NAMED]:
                symbols, depth = "-".join(chemical_symbols[z] for z in result["pairs"][k]), result["holes"][k]
                texts.append(f"{symbols} (not finite)" if depth is None else f"{symbols} ({depth:.2g} eV)")
            more = f" and {len(deep) - NAMED} more" if len(deep) > NAMED else ""
            notes.append(f"Dimers of {model} with a hole above {result['tolerance']} eV: {', '.join(texts)}{more}.")
    return notes


def _named_explosions(measured: Measured) -> list[str]:
    notes = []
    for part in ("relaxations", "dynamics"):
        for model, result in zip(measured.models, measured.of(part), strict=True):
            exploded = [o for o in result["outcomes"] if o["exploded"]] if result else []
            if exploded:
                texts = [f"{o['formula']} ({o['reason']})" for o in exploded[:NAMED]]
                notes.append(f"Exploded, {part} of {model}: {'; '.join(texts)}.")
    return notes


def _named_compressed(measured: Measured) -> list[str]:
    """Crystals that more than doubled their volume and did not explode, since the potential has them under pressure."""
    notes = []
    for model, result in zip(measured.models, measured.of("relaxations"), strict=True):
        grown = [o for o in result["outcomes"] if not o["exploded"] and o["free_volume_ratio"] > 1] if result else []
        if grown:
            texts = [
                f"{o['formula']} ({o['volume_ratio']:.2f} times its volume; scaled uniformly, it has no pressure at "
                f"{o['free_volume_ratio']:.2f} times)"
                for o in grown[:NAMED]
            ]
            notes.append(f"Grew, let go from what {model} finds to be pressure: {'; '.join(texts)}.")
    return notes


def errors_figure(measured: Measured) -> Figure | None:
    """Bars: a panel for energies and one for forces, groups of bars for the sets of frames."""
    if not measured.frame_sets:
        return None
    figure = new_figure(width=9.2, height=3.4)
    axes = figure.subplots(1, 2)
    panels = (("energy_mae", "energy, MAE, eV/atom"), ("forces_norm", "force, mean length of the error, eV/Å"))
    for ax, (key, label) in zip(axes, panels, strict=True):
        for m, model in enumerate(measured.models):
            results = [measured.of(FRAMES + name)[m] for name in measured.frame_sets]
            heights = [np.nan if r is None else r.get(key, np.nan) for r in results]
            width = 0.8 / len(measured.models)
            places = np.arange(len(heights)) + (m - (len(measured.models) - 1) / 2) * width
            ax.bar(places, heights, width * 0.92, color=COLORS[m % len(COLORS)], label=model)
        ax.set(ylabel=label, yscale="log", xticks=range(len(measured.frame_sets)), xticklabels=measured.frame_sets)
        tidy(ax)
    axes[0].legend(frameon=False, fontsize=8)
    return figure


def dimers_figure(measured: Measured) -> Figure | None:
    """Depth of the hole of each pair of elements, a map for each model; blank: none."""
    known = [(model, result) for model, result in zip(measured.models, measured.of("dimers"), strict=True) if result]
    if not known:
        return None
    figure = new_figure(width=3.6 * len(known) + 0.8, height=3.8)
    axes = figure.subplots(1, len(known), squeeze=False)[0]
    for ax, (model, result) in zip(axes, known, strict=True):
        numbers = sorted(atomic_numbers[e] for e in result["elements"])
        place = {z: k for k, z in enumerate(numbers)}
        depths = np.full((len(numbers), len(numbers)), np.nan)
        for (a, b), hole in zip(result["pairs"], result["holes"], strict=True):
            depth = 10.0 if hole is None else hole
            if depth > result["tolerance"]:
                depths[place[a], place[b]] = depths[place[b], place[a]] = depth
        image = ax.imshow(np.log10(depths), vmin=-1.5, vmax=0.5, cmap="YlOrRd", origin="lower", interpolation="nearest")
        ticks = range(0, len(numbers), max(1, len(numbers) // 10))
        labels = [chemical_symbols[numbers[k]] for k in ticks]
        ax.set(title=model, xticks=ticks, yticks=ticks, xticklabels=labels, yticklabels=labels)
        ax.tick_params(labelsize=7)
    bar = figure.colorbar(image, ax=axes, ticks=[-1, 0], label="depth of the hole, eV", shrink=0.8)
    bar.ax.set_yticklabels(["0.1", "1"])
    return figure


def states_figure(measured: Measured) -> Figure | None:
    """Share of the crystals whose error is below x: volumes left, bulk moduli right."""
    results = measured.of("equations-of-state")
    if not any(results):
        return None
    figure = new_figure(width=9.2, height=3.4)
    axes = figure.subplots(1, 2)
    labels = ("relative error of the volume, %", "relative error of the bulk modulus, %")
    for column, (ax, label) in enumerate(zip(axes, labels, strict=True)):
        for m, (model, result) in enumerate(zip(measured.models, results, strict=True)):
            if result:
                errors = np.sort(100 * np.abs(state_errors(result)[:, column]))
                share = np.arange(1, len(errors) + 1) / len(result["crystals"])
                ax.step(errors, share, where="post", color=COLORS[m % len(COLORS)], label=model)
        ax.set(xlabel=label, xscale="log", ylabel="share of the crystals", ylim=(0, 1))
        tidy(ax)
    axes[0].legend(frameon=False, fontsize=8)
    return figure
