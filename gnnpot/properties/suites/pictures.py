"""Pictures that several suites share.

shares({"relative error of the volume, %": {"7net-0": (errors, 356), ...}})
parity({"bulk modulus, GPa": {"7net-0": (expected, found), ...}})
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gnnpot.runs.pages import COLORS, new_figure, tidy

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Picture

#: of the potentials that share a color
_STYLES, _MARKERS = ("-", "--", ":", "-."), ("o", "^", "s", "x")


def line_of(number: int) -> dict[str, Any]:
    """Color and style of a potential's lines."""
    return {"color": COLORS[number % len(COLORS)], "linestyle": _STYLES[number // len(COLORS) % len(_STYLES)]}


def shares(panels: Mapping[str, Mapping[str, tuple[Sequence[float], int]]]) -> "Picture":
    """Share of the items whose error is below x, a panel for each quantity.

    Args:
        panels: label of the axis -> potential -> errors, and of how many items, failed ones included.
    """
    figure = new_figure(width=4.6 * len(panels) + 2.0, height=3.6)
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for ax, (label, potentials) in zip(axes, panels.items(), strict=True):
        for k, (name, (errors, count)) in enumerate(potentials.items()):
            places = np.sort(np.maximum(errors, 1e-3))
            share = np.arange(1, len(places) + 1) / max(count, 1)
            ax.step(places, share, where="post", **line_of(k), linewidth=1.4, label=name)
        ax.set(xlabel=label, ylabel="share of the items", xscale="log", ylim=(0, 1))
        tidy(ax)
    axes[-1].legend(frameon=False, fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def parity(panels: Mapping[str, Mapping[str, tuple[Sequence[float], Sequence[float]]]]) -> "Picture":
    """What was found against what was expected, a panel for each quantity."""
    figure = new_figure(width=4.4 * len(panels) + 2.0, height=4.2)
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for ax, (label, potentials) in zip(axes, panels.items(), strict=True):
        every: list[float] = [0.0]
        for k, (name, (expected, found)) in enumerate(potentials.items()):
            every += [*expected, *found]
            marker = _MARKERS[k // len(COLORS) % len(_MARKERS)]
            ax.plot(expected, found, marker, color=COLORS[k % len(COLORS)], markersize=4, alpha=0.7, label=name)
        ends = min(every), max(every)
        ax.plot(ends, ends, color="#555555", linewidth=0.8)
        ax.set(xlabel=f"DFT: {label}", ylabel=f"potential: {label}")
        tidy(ax)
    axes[-1].legend(frameon=False, fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure
