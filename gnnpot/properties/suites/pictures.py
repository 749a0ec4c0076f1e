"""Plots common to several suites.

shares({"relative error of the volume, %": {"7net-0": (errors, 356), ...}})
parity({"bulk modulus, GPa": {"7net-0": (expected, found), ...}})
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from gnnpot.runs.pages import new_figure, plain_log_ticks, styles_of, tidy

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Picture

#: lower limit of an axis of errors, as a fraction of their median, and factor of the margins at both ends
_SMALLEST, _MARGIN = 1e-3, 0.7


def shares(panels: Mapping[str, Mapping[str, tuple[Sequence[float], int]]]) -> "Picture":
    """Plot the percentage of items with an error below x, with a panel for each quantity.

    Args:
        panels: Axis label -> potential -> (errors, number of items including failed ones).
    """
    figure = new_figure(width=4.6 * len(panels) + 2.0, height=3.6)
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for ax, (label, potentials) in zip(axes, panels.items(), strict=True):
        styles = styles_of(potentials)
        every = np.array([error for errors, _ in potentials.values() for error in errors], dtype=float)
        every = every[every > 0]
        # the axis would be too long with the smallest errors; the curves start above zero instead
        low, high = 0.1, 1.0
        if len(every):
            low, high = max(np.percentile(every, 1), _SMALLEST * np.median(every)), every.max()
        for name, (errors, count) in potentials.items():
            places = np.sort(np.maximum(errors, 0.1 * low))
            share = 100 * np.arange(1, len(places) + 1) / max(count, 1)
            style = styles[name]
            ax.step(places, share, where="post", color=style.color, linestyle=style.line, linewidth=1.4, label=name)
        ax.set(xlabel=label, ylabel="items with a smaller error, %", xscale="log")
        ax.set(xlim=(_MARGIN * low, high / _MARGIN), ylim=(0, 100))
        plain_log_ticks(ax.xaxis)
        tidy(ax)
    axes[-1].legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def parity(panels: Mapping[str, Mapping[str, tuple[Sequence[float], Sequence[float]]]]) -> "Picture":
    """Plot results over references, with a panel for each quantity.

    Args:
        panels: Axis label -> potential -> (references, results).
    """
    figure = new_figure(width=4.4 * len(panels) + 2.0, height=4.2)
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for ax, (label, potentials) in zip(axes, panels.items(), strict=True):
        every: list[float] = [0.0]
        for name, style in styles_of(potentials).items():
            expected, found = potentials[name]
            every += [*expected, *found]
            ax.plot(expected, found, style.marker, color=style.color, markersize=4.5, alpha=0.8, label=name)
        ends = min(every), max(every)
        ax.plot(ends, ends, color="#555555", linewidth=0.8, label="equal")
        ax.set(xlabel=f"DFT: {label}", ylabel=f"potential: {label}")
        tidy(ax)
    axes[-1].legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure
