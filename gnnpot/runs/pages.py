"""HTML pages and figures of reports in a common style. Pages are self-contained; figures are also written as PNG.

styles = styles_of(["7net-0", "my-potential"])
axes.plot(x, y, color=styles["7net-0"].color, linestyle=styles["7net-0"].line)
"""

import base64
import html
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

#: blue, orange, green, pink, vermilion, sky, violet, brown; the first six, from Okabe and Ito (2008), are safe for
#: colour-blind readers
COLORS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#5b3a8e", "#7a5c3e")
GREY = "#9fb0c0"


class Style(NamedTuple):
    """Plot style of a potential, with matplotlib colour, line style and marker."""

    color: str
    line: str
    marker: str


#: fixed styles of potentials, the same in all figures; potentials of a family share a marker
_POTENTIALS = {
    "gnnpot-1": Style(COLORS[2], "-", "D"),
    "nequix-oam-1-pft": Style(COLORS[0], "-", "o"),
    "nequix-oam-1": Style(COLORS[5], "--", "o"),
    "nequix-omat-1": Style(COLORS[6], "-.", "o"),
    "7net-l3i5": Style(COLORS[1], "-", "s"),
    "7net-0": Style(COLORS[4], "--", "s"),
    "chgnet-0.3.0": Style(COLORS[3], "-", "^"),
    "m3gnet-mp-2021.2.8": Style(COLORS[7], ":", "v"),
}
_LINES, _MARKERS = ("-", "--", ":", "-."), ("P", "X", "<", ">")

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 1080px; margin: 2rem auto; padding: 0 1rem; color: #1c2733; }
h1 { font-size: 1.7rem; } h2 { font-size: 1.2rem; margin-top: 2.2rem; border-bottom: 1px solid #d5dce3; }
table { border-collapse: collapse; margin: 1rem 0; } th, td { padding: .3rem .9rem; text-align: right; }
th { border-bottom: 2px solid #9fb0c0; } td { border-bottom: 1px solid #e4e9ee; }
th:first-child, td:first-child { text-align: left; } img { max-width: 100%; }
pre { background: #f4f6f8; padding: 1rem; overflow-x: auto; font-size: .85rem; }
"""


def page(title: str, sections: Sequence[str]) -> str:
    """Return an HTML document with a title and sections of HTML."""
    body = "\n".join(sections)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f"<style>{_STYLE}</style></head>\n<body>\n{body}\n</body></html>\n"
    )


def table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """Return an HTML table with the cells as escaped text."""

    def line(cells: tuple[str, ...], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(str(c))}</{tag}>" for c in cells) + "</tr>"

    return "<table>" + line(head, "th") + "".join(line(row, "td") for row in rows) + "</table>"


def new_figure(panels: int = 1, width: float | None = None, height: float = 4.4) -> "Figure":
    """Return a figure for a number of panels side by side, or with a given width; sizes in inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width or 4.6 * panels, height), dpi=130, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def tidy(axes: "Axes") -> None:
    """Hide the top and right spines, and draw a faint grid."""
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.grid(True, color="#e7ebef", linewidth=0.7)
    axes.set_axisbelow(True)


def plain_log_ticks(axis: "Axis") -> None:
    """Set ticks of a logarithmic axis at 1, 2 and 5 times powers of ten, with decimal labels.

    For ranges of three decades or more, ticks are at powers of ten only; for less than a factor of 8, there are more.

    Args:
        axis: `axes.xaxis` or `axes.yaxis`, after the data have been plotted.
    """
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    low, high = sorted(axis.get_view_interval())
    ratio = high / low
    steps = (1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0) if ratio < 8 else (1.0, 2.0, 5.0) if ratio < 1000 else (1.0,)
    axis.set_major_locator(LogLocator(subs=steps))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    axis.set_minor_formatter(NullFormatter())


def styles_of(names: Iterable[str]) -> dict[str, Style]:
    """Assign plot styles to potentials; potentials without a fixed style get an unused colour.

    Args:
        names: Names of the potentials in a figure.

    Returns:
        The style of each name, in the order of the names.
    """
    ordered = list(dict.fromkeys(names))
    known = {name: _POTENTIALS[name] for name in ordered if name in _POTENTIALS}
    colors = {style.color for style in known.values()}
    taken = {(style.color, style.line) for style in known.values()}
    free = [(color, line) for line in _LINES for color in COLORS if (color, line) not in taken]
    # unused colours first; a shared colour is combined with a different line style
    free.sort(key=lambda pair: pair[0] in colors)
    others = [name for name in ordered if name not in known]
    styles = {name: Style(*free[k % len(free)], _MARKERS[k % len(_MARKERS)]) for k, name in enumerate(others)}
    return {name: known[name] if name in known else styles[name] for name in ordered}


def save(figure: "Figure", path: Path) -> str:
    """Write a figure as PNG; return it as an HTML image with embedded data."""
    figure.savefig(path)
    data = base64.b64encode(path.read_bytes()).decode()
    return f'<img alt="{html.escape(path.stem)}" src="data:image/png;base64,{data}">'
