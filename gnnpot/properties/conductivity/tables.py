"""Tables of the report of a conductivity study, as rows of text or as HTML."""

from typing import Any

import numpy as np

from gnnpot.properties.conductivity.msd import Estimate
from gnnpot.properties.conductivity.result import ROOM, Conductivity
from gnnpot.properties.conductivity.transport import Transport
from gnnpot.runs.pages import table

#: names of conditions in the report, in the order of the table
_CONDITIONS = {
    "gnnpot": "version of gnnpot",
    "potential": "potential",
    "supercell": "supercell",
    "volume": "volume",
    "pressure_GPa": "pressure, GPa",
    "timestep_fs": "time step, fs",
    "thermostat": "thermostat",
    "thermostat_time_fs": "time constant of the thermostat, fs",
    "equilibration_ps": "equilibration, ps",
    "seed": "seed",
    "ion": "ion",
    "charge_e": "charge of the ion, e",
    "jump_length_A": "jump length, Å",
    "fit_from_ps": "fits from, ps",
    "discard_ps": "left out at the start, ps",
    "framework_limit": "largest D of the framework / D",
    "blocks": "blocks",
}
#: the same for each temperature
_RUN_CONDITIONS = {
    "temperature_K": "T, K",
    "trajectory": "file",
    "frames": "frames",
    "frame_time_fs": "fs between frames",
    "seed": "seed",
    "ions": "ions",
    "atoms": "atoms",
    "volume_A3": "volume, Å³",
}


def shown(estimate: Estimate | None) -> str:
    """Format a value with its interval."""
    if estimate is None:
        return "–"
    return f"{_number(estimate.value)} ({_number(estimate.low)} to {_number(estimate.high)})"


def _number(value: float) -> str:
    """Format a number with three significant digits, from 1000 to 10⁶ as an integer."""
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e6 else f"{value:.3g}"


def transport_rows(result: Conductivity) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Header and rows of the main table, with 95 % intervals in parentheses."""
    head = (
        "T, K",
        "ps",
        "D tracer, 1e-6 cm²/s",
        "D collective, 1e-6 cm²/s",
        "Haven ratio",
        "σ NE, mS/cm",
        "σ, mS/cm",
        "framework",
        "enough",
    )
    rows = []
    for t in result.transports:
        diffusion = (t.tracer.scaled(1e6), t.collective.scaled(1e6))
        values = (*diffusion, t.haven_ratio, t.nernst_einstein, t.conductivity)
        cells = (shown(value) for value in values)
        rows.append((f"{t.temperature:g}", f"{t.time:.4g}", *cells, framework_cell(t), _enough(t)))
    return head, rows


def narrow_tables(result: Conductivity) -> list[tuple[str, list[tuple[str, ...]]]]:
    """Title and rows (the first is the header) of tables for a terminal: the main one in two parts, and the fits."""
    head, rows = transport_rows(result)
    fit_head, fits = fit_rows(result)
    both = [head, *rows]
    # the temperature starts both parts; the first ends with the Haven ratio
    end = head.index("Haven ratio") + 1
    found = [
        ("diffusion, with intervals of 95 %", [row[:end] for row in both]),
        ("conductivity, with intervals of 95 %", [row[:1] + row[end:] for row in both]),
    ]
    return found + ([("Arrhenius fits", [fit_head, *fits])] if fits else [])


def framework_cell(t: Transport) -> str:
    """The element of the framework with the largest diffusion coefficient relative to the ion's, in percent."""
    if not t.framework_share or t.tracer.value <= 0:
        return "–"
    element, share = max(t.framework_share.items(), key=lambda item: item[1])
    return f"{element} < 0.1 %" if share < 1e-3 else f"{element} {100 * share:.2g} %"


def _enough(t: Transport) -> str:
    if t.framework_verdict:
        return "no, melts"
    if t.collective_sufficient:
        return "yes"
    return "tracer only" if t.sufficient else "no"


def fit_rows(result: Conductivity) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Header and rows of the table of fits."""
    head = ("", "Eₐ, eV", f"σ at {ROOM:g} K, mS/cm", f"D at {ROOM:g} K, cm²/s", "χ²/freedom")
    rows: list[tuple[str, ...]] = []
    for name, fit, of_diffusion in (
        ("Nernst–Einstein", result.nernst_einstein, result.diffusion),
        ("collective", result.collective, result.collective_diffusion),
    ):
        if fit is not None:
            scatter = f"{fit.scatter:.2g}" if np.isfinite(fit.scatter) else "–"
            diffusion = shown(None if of_diffusion is None else of_diffusion.at(ROOM))
            rows.append((name, shown(fit.activation_energy), shown(fit.at(ROOM)), diffusion, scatter))
    return head, rows


def transport_table(result: Conductivity) -> str:
    """The main table as HTML."""
    return table(*transport_rows(result))


def fit_table(result: Conductivity) -> str:
    """The table of fits as HTML."""
    head, rows = fit_rows(result)
    if not rows:
        return "<p>An activation energy needs two temperatures that are not left out.</p>"
    return table(head, rows)


def block_table(result: Conductivity) -> str:
    """Diffusion coefficients from the fits and from block averages, as HTML."""
    unit = "1e-6 cm²/s"
    head = (
        "T, K",
        "fit from, ps",
        f"D tracer, {unit}",
        "by blocks",
        f"D collective, {unit}",
        "by blocks",
        "log slope of the MSD",
        "correlation of ions",
    )
    rows = []
    for t in result.transports:
        pairs = (t.tracer, t.tracer_blocks, t.collective, t.collective_blocks)
        cells = (shown(None if e is None else e.scaled(1e6)) for e in pairs)
        rows.append(
            (f"{t.temperature:g}", f"{t.fit_from:.3g}", *cells, f"{t.log_slope:.2f}", f"{t.ion_correlation:.1f}")
        )
    return table(head, rows)


def axes_table(result: Conductivity) -> str:
    """Tracer diffusion coefficients along the cell vectors, with 95 % intervals, as HTML."""
    head = ("T, K", *(f"D along {axis}, 1e-6 cm²/s" for axis in "abc"))
    rows = [(f"{t.temperature:g}", *(shown(axis.scaled(1e6)) for axis in t.axes)) for t in result.transports]
    return table(head, rows)


def jump_table(result: Conductivity) -> str:
    """The table of jumps as HTML."""
    head = (
        "T, K",
        "jumps",
        "rate, 1/ps",
        "residence, ps",
        "length, Å",
        "correlation factor",
        "⟨cos²⟩ along a, b, c",
    )
    rows = []
    for t in result.transports:
        j = t.jumps
        numbers = (f"{j.rate:.3g}", f"{j.residence:.3g}", f"{j.length:.3g}", f"{j.correlation:.2f}")
        along = ", ".join(f"{cosine:.2f}" for cosine in j.along)
        rows.append((f"{t.temperature:g}", f"{j.count}", *numbers, along))
    return table(head, rows)


def condition_tables(result: Conductivity) -> list[str]:
    """The potential and the conditions of the runs as HTML; empty if they are not known."""
    found = result.conditions
    if not found:
        return []
    rows = [(label, _condition(found[name])) for name, label in _CONDITIONS.items() if name in found]
    runs = found["runs"]
    columns = {name: label for name, label in _RUN_CONDITIONS.items() if name in runs[0]}
    cells = [tuple(_condition(run[name]) for name in columns) for run in sorted(runs, key=lambda r: r["temperature_K"])]
    return [
        "<h2>Potential and conditions</h2>",
        table(("", "value"), rows),
        table(tuple(columns.values()), cells),
    ]


def _condition(value: Any) -> str:
    """A condition in words: a number, a name, the parts of a potential, or several."""
    if value is None:
        return "automatic"
    if isinstance(value, dict):
        return ", ".join(f"{name} {part}" if name != "model" else str(part) for name, part in value.items() if part)
    if isinstance(value, list):
        return (" x " if all(isinstance(part, int) for part in value) else "; ").join(map(_condition, value))
    return f"{value:,.6g}" if isinstance(value, float) else str(value)
