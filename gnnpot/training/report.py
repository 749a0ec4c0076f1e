"""Report of a training: a self-contained HTML file, and its figures as PNG files."""

import csv
import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from matplotlib.figure import Figure

from gnnpot.data.quantities import QUANTITIES
from gnnpot.errors import DataError
from gnnpot.runs.files import write_text
from gnnpot.runs.guard import check_report_folder
from gnnpot.runs.pages import COLORS, new_figure, page, plain_log_ticks, save, table, tidy
from gnnpot.training.evaluate import Evaluation


@dataclass(frozen=True, eq=False)
class Section:
    """Section of a report: a heading, then a table (its first row is the header), a figure, or both."""

    title: str
    rows: tuple[tuple[str, ...], ...] = ()
    figure: Figure | None = None
    note: str = ""
    #: file name of the figure, without suffix
    name: str = ""


#: files in the folder of a report
REPORT_NAMES = ("report.html", "*.png")
#: largest number of points in a parity plot; of more points, a random selection is drawn
MOST_POINTS = 20_000


def write_report(
    folder: Path | str,
    title: str,
    evaluations: Mapping[str, Evaluation],
    log_csv: Path | None = None,
    config: Mapping[str, Any] | None = None,
    first: Sequence[Section] = (),
) -> Path:
    """Write `report.html` and PNG files into `folder`, replacing those of an earlier report.

    Args:
        folder: Folder of the report; it is created if necessary.
        title: Title of the report.
        evaluations: Evaluations by name of the subset, such as "test".
        log_csv: The `metrics.csv` of a run, for the learning curve.
        config: Options of the run.
        first: Sections that precede the others.

    Returns:
        Path of the HTML file.

    Raises:
        DataError: The folder can't be written.
    """
    folder = check_report_folder(folder, REPORT_NAMES, "--report")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        sections = [f"<h1>{html.escape(title)}</h1>"]
        for section in first:
            sections += _section_html(section, folder)
        if evaluations:
            sections += ["<h2>Errors</h2>", metrics_html(evaluations)]
        for name, evaluation in evaluations.items():
            figure = parity_figure(evaluation)
            if figure is not None:
                sections += [
                    f"<h2>Labels and predictions: {html.escape(name)}</h2>",
                    save(figure, folder / f"parity-{name}.png"),
                ]
        figure = elements_figure(evaluations)
        if figure is not None:
            sections += ["<h2>Force errors by element</h2>", save(figure, folder / "elements.png")]
        for name, evaluation in evaluations.items():
            if len(evaluation.by_config_type()) > 1:
                sections += [f"<h2>By kind of structure: {html.escape(name)}</h2>", _types_html(evaluation)]
        figure = learning_figure(log_csv) if log_csv is not None else None
        if figure is not None:
            sections += ["<h2>Learning curve</h2>", save(figure, folder / "learning.png")]
        if config:
            text = yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True)
            sections += ["<h2>Configuration</h2>", f"<pre>{html.escape(text)}</pre>"]
    except OSError as error:
        raise DataError(f"{folder}: can't be written ({error.strerror}); name another folder for the report") from None
    path = folder / "report.html"
    write_text(path, page(title, sections))
    return path


def _section_html(section: Section, folder: Path) -> list[str]:
    parts = [f"<h2>{html.escape(section.title)}</h2>"]
    if section.rows:
        parts.append(table(section.rows[0], section.rows[1:]))
    if section.figure is not None:
        parts.append(save(section.figure, folder / f"{section.name}.png"))
    return [*parts, f"<p>{html.escape(section.note)}</p>"] if section.note else parts


def metrics_html(evaluations: Mapping[str, Evaluation]) -> str:
    """Table of the errors, as HTML."""
    rows = []
    for part, evaluation in evaluations.items():
        metrics = evaluation.metrics()
        for label, quantity in QUANTITIES.items():
            if not metrics[f"{label}_count"]:
                continue
            unit, factor = quantity.error_unit
            mae, rmse = (f"{factor * metrics[f'{label}_{kind}']:.4g}" for kind in ("mae", "rmse"))
            rows.append((part, quantity.title, unit, mae, rmse, f"{metrics[f'{label}_count']:,}"))
    return table(("part", "quantity", "unit", "MAE", "RMSE", "labels"), rows)


def _types_html(evaluation: Evaluation) -> str:
    rows = []
    for kind, row in evaluation.by_config_type().items():
        energy = f"{1e3 * row['energy_mae']:.3g}" if "energy_mae" in row else ""
        forces = f"{row['forces_mae']:.3g}" if "forces_mae" in row else ""
        rows.append((kind, f"{row['frames']:.0f}", energy, forces))
    return table(("kind", "frames", "energy MAE, meV/atom", "force MAE, eV/Å"), rows)


def parity_figure(evaluation: Evaluation) -> Figure | None:
    """Parity plots of the quantities that have labels; `None` if none has."""
    shown = [label for label in QUANTITIES if len(evaluation.pairs(label))]
    if not shown:
        return None
    figure = new_figure(len(shown))
    metrics = evaluation.metrics()
    for k, label in enumerate(shown):
        axes = figure.add_subplot(1, len(shown), k + 1)
        quantity = QUANTITIES[label]
        (unit, factor), (error_unit, error_factor) = quantity.value_unit, quantity.error_unit
        pairs = factor * evaluation.pairs(label)
        if len(pairs) > MOST_POINTS:
            pairs = pairs[np.random.default_rng(0).choice(len(pairs), MOST_POINTS, replace=False)]
        low, high = float(pairs.min()), float(pairs.max())
        margin = 0.05 * (high - low) or 1.0
        limits = (low - margin, high + margin)
        axes.plot(limits, limits, color="#8593a1", linewidth=1, zorder=1)
        size = 18 if len(pairs) < 500 else 6
        axes.scatter(
            pairs[:, 0], pairs[:, 1], s=size, color=COLORS[k % len(COLORS)], alpha=0.55, linewidths=0, zorder=2
        )
        axes.set(xlim=limits, ylim=limits, aspect="equal", title=quantity.title)
        axes.set_xlabel(f"label, {unit}")
        axes.set_ylabel(f"prediction, {unit}")
        axes.locator_params(nbins=5)
        mae, rmse = (error_factor * metrics[f"{label}_{kind}"] for kind in ("mae", "rmse"))
        text = f"MAE {mae:.3g} {error_unit}\nRMSE {rmse:.3g} {error_unit}"
        axes.text(0.04, 0.96, text, transform=axes.transAxes, va="top", fontsize=10)
        tidy(axes)
    return figure


def elements_figure(evaluations: Mapping[str, Evaluation]) -> Figure | None:
    """Bar chart of the force errors by element and subset; `None` without forces."""
    found = {name: evaluation.by_element() for name, evaluation in evaluations.items()}
    elements = list(dict.fromkeys(e for errors in found.values() for e in errors))
    if not elements:
        return None
    figure = new_figure(width=max(5.0, min(16.0, 2.5 + 0.45 * len(elements) * len(found))), height=3.6)
    axes = figure.add_subplot()
    width = 0.8 / len(found)
    for k, (name, errors) in enumerate(found.items()):
        places = [elements.index(e) + (k - (len(found) - 1) / 2) * width for e in errors]
        values = [errors[e]["forces_mae"] for e in errors]
        axes.bar(places, values, width=0.92 * width, color=COLORS[k % len(COLORS)], label=name)
    axes.set_xticks(range(len(elements)), elements)
    axes.set_xlim(-0.8, len(elements) - 0.2)
    axes.set_ylabel("force MAE, eV/Å")
    axes.margins(y=0.15)
    axes.legend(frameon=False)
    tidy(axes)
    return figure


def learning_figure(log_csv: Path) -> Figure | None:
    """Loss and validation errors as functions of the step; `None` if the log is empty."""
    if not log_csv.is_file():
        return None
    with log_csv.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    panels = [("loss", "loss", 1.0)]
    for name, quantity in QUANTITIES.items():
        unit, factor = quantity.error_unit
        panels.append((f"{name}_mae", f"{quantity.short} MAE, {unit}", factor))
    panels = [p for p in panels if len(_curve(rows, f"validation_{p[0]}", p[2])[0])]
    if not panels:
        return None
    figure = new_figure(len(panels))
    for k, (name, title, factor) in enumerate(panels):
        axes = figure.add_subplot(1, len(panels), k + 1)
        x, y = _running_mean(*_curve(rows, f"train_{name}", factor))
        if len(x):
            axes.plot(x, y, color="#9fb0c0", linewidth=1.2, label="training, running mean")
        x, y = _curve(rows, f"validation_{name}", factor)
        axes.plot(
            x, y, color=COLORS[0], linewidth=1.6, marker="o" if len(x) < 30 else None, markersize=3, label="validation"
        )
        axes.set(xlabel="step", ylabel=title, yscale="log")
        plain_log_ticks(axes.yaxis)
        axes.legend(frameon=False)
        tidy(axes)
    return figure


def _curve(rows: list[dict[str, str]], column: str, factor: float) -> tuple[np.ndarray, np.ndarray]:
    points = [(int(row["step"]), factor * float(row[column])) for row in rows if row.get(column)]
    points = [(x, y) for x, y in points if np.isfinite(y) and y > 0]
    return np.array([x for x, _ in points]), np.array([y for _, y in points])


def _running_mean(x: np.ndarray, y: np.ndarray, parts: int = 50) -> tuple[np.ndarray, np.ndarray]:
    """Running mean over a window of 1/`parts` of the points, to smooth the scatter of single batches."""
    width = max(len(y) // parts, 1)
    if len(y) == 0:
        return x, y
    return x[width - 1 :], np.convolve(y, np.full(width, 1 / width), mode="valid")
