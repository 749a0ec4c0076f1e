"""Make the tables of docs/lgps/conductivity.json, the Arrhenius plot with published values, and the plot of controls.

python scripts/studies/lgps/conductivity_report.py docs/lgps/conductivity.json
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import typer
from conductivity_controls import is_part
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gnnpot.properties.conductivity.result import ROOM
from gnnpot.runs.files import write_text
from gnnpot.runs.pages import COLORS, GREY, new_figure, plain_log_ticks, tidy

#: (label, K, mS/cm, marker): Kamaya et al., Nat. Mater. 10, 682 (2011); Kuhn et al., Energy Environ. Sci. 6, 3548
#: (2013), at room temperature; Mo, Ong & Ceder, Chem. Mater. 24, 15 (2012) and Ong et al., Energy Environ. Sci. 6, 148
#: (2013), ab initio dynamics (PBE) at 600 K and above, extrapolated
PUBLISHED = (
    ("experiment, Kamaya 2011", 300.15, 12.0, "*"),
    ("experiment, Kuhn 2013", 298.15, 10.0, "P"),
    ("ab initio, Mo 2012", 300.0, 9.0, "v"),
    ("ab initio, Ong 2013", 300.0, 13.0, "^"),
)
#: sets of the first plot
HEADLINE = ("main", "hdnnp")
#: of the page of tables
TITLE = "# Conductivity of Li10GeP2S12: runs and fits"
ABOUT = """\
[The study](conductivity.md) describes the runs. D is the tracer diffusion coefficient and σ the Nernst-Einstein
conductivity; intervals are 95 %. The last column says from which fits a row is left out, and why."""


def draw(result: dict[str, Any], sets: tuple[str, ...], *, published: bool) -> Figure:
    """σT (S K/cm) over 1000/T of these sets: Nernst-Einstein conductivities of whole runs, the fits with their bands.

    Args:
        result: Content of conductivity.json.
        sets: Sets to draw, one colour each.
        published: Whether published values are drawn too.
    """
    figure = new_figure(1, width=7.0, height=5.2)
    axes = figure.add_subplot()
    for color, name in zip(COLORS, sets, strict=False):
        whole = [r for r in result["runs"] if r["set"] == name and not is_part(r)]
        if whole:
            _draw_set(axes, whole, [f for f in result["fits"] if f["set"] == name], color)
    if published:
        for label, temperature, sigma, marker in PUBLISHED:
            fill = {
                "markerfacecolor": "black" if label.startswith("experiment") else "white",
                "markeredgecolor": "black",
            }
            axes.plot(
                1000 / temperature, 1e-3 * sigma * temperature, marker, markersize=8, label=label, zorder=5, **fill
            )
        axes.axvline(1000 / ROOM, color=GREY, linewidth=0.8, linestyle="--")
        axes.annotate(
            "300 K", (1000 / ROOM, 1.0), xycoords=("data", "axes fraction"), xytext=(-4, -4),
            textcoords="offset points", ha="right", va="top", fontsize=8, color="#555555",
        )  # fmt: skip
    axes.set(yscale="log", xlabel="1000 K / T", ylabel="σT, S K/cm (95 % intervals)")
    plain_log_ticks(axes.yaxis)
    handles = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    axes.legend(handles.values(), handles.keys(), frameon=False, fontsize=8)
    tidy(axes)
    return figure


def _draw_set(axes: Axes, whole: list[dict[str, Any]], fits: list[dict[str, Any]], color: str) -> None:
    called = f"{whole[0]['potential']}, {whole[0]['atoms']:,} atoms ({whole[0]['set']})"
    for row in whole:
        label = f"{called}, left out of fits" if row["left_out"] else called
        value, low, high = (1e-3 * x * row["temperature_K"] for x in row["sigma_mS_cm"])
        axes.errorbar(
            1000 / row["temperature_K"], value, yerr=[[value - low], [high - value]], fmt="o", capsize=3,
            color=color, markerfacecolor="white" if row["left_out"] else color, label=label,
        )  # fmt: skip
    for fit in fits:
        temperatures, *bounds = np.array(fit["band"]).T
        middle, low, high = (1e-3 * temperatures * bound for bound in bounds)
        energy = f"fit, $E_a$ = {fit['Ea_eV'][0]:.3f} eV ({fit['Ea_eV'][1]:.3f} to {fit['Ea_eV'][2]:.3f})"
        axes.plot(1000 / temperatures, middle, color=color, linewidth=1.2, label=energy)
        axes.fill_between(1000 / temperatures, low, high, color=color, alpha=0.15, linewidth=0)


def tables(result: dict[str, Any]) -> str:
    """Markdown tables of the runs and the fits, with 95 % intervals."""
    lines = ["| set | potential | atoms | K | time, ps | D, 1e-6 cm²/s | F | σ, mS/cm | collective σ | Haven ratio | |"]
    lines.append("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for r in result["runs"]:
        cells = [f"`{r['set']}`", f"`{r['potential']}`", f"{r['atoms']:,}", f"{r['temperature_K']:g}"]
        correlation = r.get("ion_correlation")
        cells += [f"{r['time_ps']:,.0f}", _interval([1e6 * x for x in r["D_cm2_s"]])]
        cells += ["" if correlation is None else f"{correlation:.1f}", _interval(r["sigma_mS_cm"])]
        cells += [_interval(r["sigma_collective_mS_cm"]), _interval(r["haven_ratio"]), _left_out(r)]
        lines.append(f"| {' | '.join(cells)} |")
    if result["fits"]:
        lines += ["", "| fit of | potential | K | Ea, eV | σ at 300 K, mS/cm | collective σ at 300 K, mS/cm |"]
        lines.append("| --- | --- | --- | --- | --- | --- |")
    for f in result["fits"]:
        cells = [f"`{f['set']}`{', the headline' if f['headline'] else ''}", f"`{f['potential']}`"]
        cells += [", ".join(f"{t:g}" for t in f["temperatures_K"]), _interval(f["Ea_eV"], digits=3)]
        cells += [_interval(f["sigma_300K_mS_cm"]), _interval(f["sigma_collective_300K_mS_cm"])]
        lines.append(f"| {' | '.join(cells)} |")
    if result["controls"]:
        lines += ["", "| control | compared with | K | ps | D, 1e-6 cm²/s | reference's D | intervals overlap |"]
        lines.append("| --- | --- | --- | --- | --- | --- | --- |")
    for c in result["controls"]:
        cells = [f"`{c['set']}`", f"`{c['reference']}`", f"{c['temperature_K']:g}", f"{c['time_ps']:,.0f}"]
        cells += [_interval([1e6 * x for x in c[key]]) for key in ("D_cm2_s", "D_reference_cm2_s")]
        lines.append(f"| {' | '.join([*cells, 'yes' if c['agree'] else 'no'])} |")
    if result["repeated"]:
        lines += [
            "",
            "| runs | K | D, 1e-6 cm²/s | collective D | Haven ratio | scatter over stated error: D; collective |",
        ]
        lines.append("| --- | --- | --- | --- | --- | --- |")
    for r in result["repeated"]:
        cells = [f"{r['runs']}", f"{r['temperature_K']:g}"]
        cells += [_interval([1e6 * x for x in r[key]]) for key in ("D_cm2_s", "D_collective_cm2_s")]
        cells += [_interval(r["haven_ratio"]), f"{r['scatter_D']:.1f}; {r['scatter_D_collective']:.1f}"]
        lines.append(f"| {' | '.join(cells)} |")
    for met in result["aim"]:
        words = {True: "met", False: "missed"}
        lines += ["", f"The aim is {words[met['met']['Ea']]} for Ea, {words[met['met']['sigma_300K']]} for σ at 300 K."]
    return "\n".join(lines) + "\n"


def _interval(value: list[float] | None, digits: int = 2) -> str:
    """Value (low to high), rounded to the given number of digits of the value."""
    if value is None or not np.isfinite(value).all():
        return ""
    places = max(digits - 1 - int(np.floor(np.log10(abs(value[0])))), 0) if value[0] else digits
    middle, low, high = (f"{x:,.{places}f}" for x in value)
    return f"{middle} ({low} to {high})"


def _left_out(row: dict[str, Any]) -> str:
    """Fit from which a row is excluded, and the reason."""
    if row["left_out"]:
        return f"left out: {row['left_out']}"
    return f"collective left out: {row['left_out_of_collective']}" if row["left_out_of_collective"] else ""


def write(result: dict[str, Any], out: Path) -> None:
    """Write plots and tables next to the JSON file OUT."""
    draw(result, HEADLINE, published=True).savefig(out.with_suffix(".png"), dpi=150)
    others = tuple(
        dict.fromkeys(r["set"] for r in result["runs"] if r["set"] not in HEADLINE and "repeat" not in r["set"])
    )
    draw(result, others, published=False).savefig(out.with_name(f"{out.stem}-controls.png"), dpi=150)
    write_text(out.with_name(f"{out.stem}-results.md"), f"{TITLE}\n\n{ABOUT}\n\n<!-- tables -->\n\n{tables(result)}")


def main(results: Path) -> None:
    """Write the plots (PNG) and tables of RESULTS next to it."""
    write(json.loads(results.read_text()), results)


if __name__ == "__main__":
    typer.run(main)
