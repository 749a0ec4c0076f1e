"""Plots of a conductivity study."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gnnpot.properties.conductivity.arrhenius import ArrheniusFit
from gnnpot.properties.conductivity.displacements import Displacements
from gnnpot.properties.conductivity.maps import Density, density, van_hove
from gnnpot.properties.conductivity.result import ROOM, Conductivity
from gnnpot.properties.conductivity.transport import Transport
from gnnpot.runs.pages import COLORS, GREY, new_figure, plain_log_ticks, tidy

#: ratio of the largest to the smallest MSD at the longest lag, above which axes are logarithmic
_LOGARITHMIC = 20.0

#: lower end of the axis of the self part of van Hove's function, relative to its largest value
_LOWEST = 1e-3


def _color(k: int) -> str:
    return COLORS[k % len(COLORS)]


def draw_msd(transports: Sequence[Transport]) -> Figure:
    """Plot tracer and collective mean-square displacements over lag time, with the fits in their range.

    Axes are linear, unless the tracer MSDs at the longest lag differ by a factor above 20.
    """
    figure = new_figure(2)
    parts = (("tracer", "tracer: $\\langle|\\Delta r_i|^2\\rangle$, Å²"), ("collective", "collective, Å²"))
    ends = [t.tracer_msd[-1] for t in transports]
    spread = max(ends) / max(min(ends), 1e-12)
    for k, (name, label) in enumerate(parts):
        axes = figure.add_subplot(1, 2, k + 1)
        for n, t in enumerate(transports):
            values = getattr(t, f"{name}_msd")
            sufficient = t.sufficient if name == "tracer" else t.collective_sufficient
            style = "-" if sufficient else ":"
            shown = f"{t.temperature:g} K" + ("" if sufficient else ", left out")
            axes.plot(t.lags, values, style, color=_color(n), linewidth=1.6, label=shown)
            fitted = t.lags >= t.fit_from
            slope = 6 * getattr(t, name).value * 1e4
            # the intercept is fitted to relative deviations, since the fits of D weight short times most
            over = values[fitted] - slope * t.lags[fitted]
            line = slope * t.lags[fitted] + np.average(over, weights=np.maximum(values[fitted], 1e-12) ** -2.0)
            axes.plot(
                t.lags[fitted], np.where(line > 0, line, np.nan), color="black", linewidth=1.0, alpha=0.7,
                label="fit" if n == len(transports) - 1 else None,
            )  # fmt: skip
        axes.set(xlabel="time, ps", ylabel=label)
        if spread > _LOGARITHMIC:
            axes.set(xscale="log", yscale="log")
            plain_log_ticks(axes.xaxis)
            plain_log_ticks(axes.yaxis)
        else:
            axes.set(xlim=(0, None), ylim=(0, None))
        axes.legend(frameon=False, fontsize=8)
        tidy(axes)
    return figure


def draw_arrhenius(result: Conductivity) -> Figure:
    """Plot σT over 1000/T, with fits and their 95 % bands to 300 K."""
    figure = new_figure(1, width=7.0, height=5.2)
    axes = figure.add_subplot()
    kinds = (("nernst_einstein", "Nernst–Einstein", "o", 0), ("conductivity", "collective", "s", 1))
    for attribute, label, marker, k in kinds:
        for n, t in enumerate(result.transports):
            left = t.temperature in (result.left_out if k == 0 else result.collective_left_out)
            e = getattr(t, attribute)
            place, scale = 1000 / t.temperature, t.temperature
            spread = [[max(0.0, (e.value - e.low) * scale)], [max(0.0, (e.high - e.value) * scale)]]
            axes.errorbar(
                place, e.value * scale, yerr=spread, fmt=marker, color=GREY if left else _color(k), capsize=3,
                markerfacecolor="white" if left else _color(k), label=label if n == 0 else None,
            )  # fmt: skip
    for fit, k in ((result.nernst_einstein, 0), (result.collective, 1)):
        if fit is not None:
            _draw_line(axes, fit, _color(k))
    axes.axvline(1000 / ROOM, color=GREY, linewidth=0.8, linestyle="--")
    axes.set(yscale="log", xlabel="1000 K / T", ylabel="σT, mS K/cm")
    axes.legend(frameon=False, fontsize=8)
    tidy(axes)
    return figure


def _draw_line(axes: Axes, fit: ArrheniusFit, color: str) -> None:
    places = np.linspace(1 / max(fit.temperatures), 1 / min(ROOM, *fit.temperatures), 60)
    values = fit.intercepts[:, None] + fit.slopes[:, None] * places
    low, middle, high = np.exp(np.percentile(values, (2.5, 50, 97.5), axis=0))
    energy = fit.activation_energy
    label = f"$E_a$ = {energy.value:.3f} eV ({energy.low:.3f} to {energy.high:.3f})"
    axes.plot(1000 * places, middle, color=color, linewidth=1.2, label=label)
    axes.fill_between(1000 * places, low, high, color=color, alpha=0.15, linewidth=0)


def draw_maps(moved: Displacements, repeats: tuple[int, int, int], temperature: float) -> Figure:
    """Plot the ion density, averaged along each cell vector, and van Hove functions."""
    found, hove = density(moved, repeats), van_hove(moved)
    figure = new_figure(5, width=18.0, height=3.8)
    for k in range(3):
        _draw_projection(figure, figure.add_subplot(1, 5, k + 1), found, k)
    for k, (name, values) in enumerate((("self part, 1/Å", hove.self_part), ("distinct part", hove.distinct_part))):
        axes = figure.add_subplot(1, 5, 4 + k)
        for n, (time, row) in enumerate(zip(hove.times, values, strict=True)):
            axes.plot(hove.distances, row, color=_color(n), linewidth=1.2, label=f"{time:.3g} ps")
        axes.set(xlabel="r, Å", ylabel=f"van Hove, {name}")
        if k == 0 and np.any(values > 0):
            # the peak of vibrations is many times as high as the curves at long times
            highest = float(np.max(values))
            axes.set(yscale="log", ylim=(_LOWEST * highest, 2 * highest))
            plain_log_ticks(axes.yaxis)
        axes.legend(frameon=False, fontsize=8, title=f"{moved.ion}, {temperature:g} K", title_fontsize=8)
        tidy(axes)
    return figure


def _draw_projection(figure: Figure, axes: Axes, found: Density, k: int) -> None:
    """Draw the mean density along cell vector `k` in the plane of the other two, with their angle."""
    first, second = (i for i in range(3) if i != k)
    lengths = np.linalg.norm(found.cell, axis=1)
    cosine = found.cell[first] @ found.cell[second] / (lengths[first] * lengths[second])
    mean = found.projected(k)
    shown = np.log10(np.maximum(mean, 1e-3 * mean.max()) / mean.mean())
    along, across = (
        length * np.linspace(0, 1, n + 1) for length, n in zip(lengths[[first, second]], mean.shape, strict=True)
    )
    x = along[None, :] + cosine * across[:, None]
    y = np.broadcast_to(np.sqrt(1 - cosine**2) * across[:, None], x.shape)
    picture = axes.pcolormesh(x, y, shown.T, cmap="magma")
    a, b = "abc"[first], "abc"[second]
    right_angle = abs(cosine) < 1e-3
    axes.set(aspect="equal", xlabel=f"{a}, Å", ylabel=f"{b if right_angle else f'normal to {a}'}, Å")
    axes.set(title=f"along {'abc'[k]}")
    figure.colorbar(picture, ax=axes, label="log₁₀ density/mean", shrink=0.8)


def draw_jumps(transports: Sequence[Transport]) -> Figure:
    """Plot the distribution of jump lengths, and diffusion coefficients along the cell vectors."""
    figure = new_figure(2, height=3.8)
    axes = figure.add_subplot(1, 2, 1)
    for n, t in enumerate(transports):
        if len(t.jumps.lengths):
            axes.hist(t.jumps.lengths, 60, histtype="step", density=True, color=_color(n), label=f"{t.temperature:g} K")
    axes.set(xlabel="length of a jump, Å", ylabel="share, 1/Å")
    _legend(axes)
    tidy(axes)
    axes = figure.add_subplot(1, 2, 2)
    for k in range(3):
        for t in transports:
            e = t.axes[k]
            if e is not None:
                spread = [[max(0.0, e.value - e.low)], [max(0.0, e.high - e.value)]]
                axes.errorbar(
                    1000 / t.temperature + 0.012 * (k - 1), max(e.value, 1e-12), yerr=spread, fmt="os^"[k],
                    color=_color(k), capsize=3, label=f"along {'abc'[k]}" if t is transports[0] else None,
                )  # fmt: skip
    axes.set(yscale="log", xlabel="1000 K / T", ylabel="tracer diffusion, cm²/s")
    _legend(axes)
    tidy(axes)
    return figure


def _legend(axes: Axes) -> None:
    """Add a legend, unless it would be empty."""
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, fontsize=8)
