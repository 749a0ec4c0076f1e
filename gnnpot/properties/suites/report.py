"""Report of suite results for several potentials: tables in Markdown and JSON, and a plot for each suite.

    write_report(Path("evaluation"))            # table.md, table.json, phonons.png, ...
    tables(Path("evaluation"))["phonons"]["7net-0"]["highest frequency, MAE"].value

The report includes all potentials with results in the folder, in the requested order, then by name. A dagger marks
potentials whose training data overlap with the suite; a note below the table states the overlap.
"""

import io
import json
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from gnnpot.properties.suites.base import Figure, Suite, SuiteOptions
from gnnpot.properties.suites.registry import SUITES
from gnnpot.properties.suites.run import RESULTS
from gnnpot.properties.suites.speed import SPEED, speed_picture
from gnnpot.runs.files import write_bytes, write_text

MARK = "†"

#: results of a suite by potential, each a dictionary with "key", "about" and "results"
Measured = dict[str, dict[str, Any]]


def read_results(output: Path, order: Sequence[str] = ()) -> dict[str, Measured]:
    """Read the results in a folder, by label of the suite and name of the potential."""
    found: dict[str, Measured] = {}
    folder = output / RESULTS
    # files in folders with other names, such as copies made by users, are ignored
    for path in sorted(p for p in folder.glob("*/*.json") if _suite_name(p.parent.name) in SUITES):
        content = json.loads(path.read_text("utf-8"))
        found.setdefault(path.parent.name, {})[content["key"]["potential"]] = content
    places = {name: k for k, name in enumerate(order)}
    suites = list(SUITES)
    return {
        label: dict(sorted(found[label].items(), key=lambda item: (places.get(item[0], len(places)), item[0])))
        for label in sorted(found, key=lambda label: (suites.index(_suite_name(label)), label))
    }


def tables(output: Path, order: Sequence[str] = ()) -> dict[str, dict[str, dict[str, Figure]]]:
    """Figures of merit by suite and potential."""
    return {
        label: {name: _suite_of(label, content).summary(content["results"]) for name, content in measured.items()}
        for label, measured in read_results(output, order).items()
    }


def write_report(output: Path, order: Sequence[str] = ()) -> Path:
    """Write tables and plots of all results in a folder.

    Args:
        output: Folder of the results.
        order: Names of the potentials that come first.

    Returns:
        Path of the Markdown file.
    """
    results = read_results(output, order)
    merits, sections, plain = tables(output, order), [], {}
    for label, measured in results.items():
        sections += _section(label, measured, merits[label])
        plain[label] = {
            name: {"overlap": measured[name]["about"]["overlap"]}
            | {key: measured[name]["key"][key] for key in ("dtype",) if key in measured[name]["key"]}
            | {what: {"value": f.value, "unit": f.unit, "note": f.note} for what, f in figures.items()}
            for name, figures in merits[label].items()
        }
        suite = SUITES[_suite_name(label)]
        content = next(iter(measured.values()))
        picture = _suite_of(label, content).picture({name: c["results"] for name, c in measured.items()})
        _save(picture, output / f"{label}.png")
        sections += [f"![{suite.title}]({label}.png)", ""]
    speed = output / RESULTS / f"{SPEED}.json"
    if speed.is_file():
        content = json.loads(speed.read_text("utf-8"))
        sections += _speed_section(content, {name for measured in results.values() for name in measured})
        plain[SPEED] = content
        _save(speed_picture(content), output / f"{SPEED}.png")
        sections += [f"![Time of a step]({SPEED}.png)", ""]
    write_text(output / "table.json", json.dumps(plain, indent=1, ensure_ascii=False) + "\n")
    path = output / "table.md"
    write_text(path, "\n".join(["# Potentials side by side", "", *sections]).rstrip() + "\n")
    return path


def _suite_name(label: str) -> str:
    return label.partition(".")[0]


def _suite_of(label: str, content: Mapping[str, Any]) -> Suite:
    """Create the suite that summarises the results; it does not read data."""
    picoseconds = content["key"].get("picoseconds", 10.0)
    return SUITES[_suite_name(label)](SuiteOptions(data=Path(label), picoseconds=picoseconds))


def _section(label: str, measured: Measured, merits: Mapping[str, Mapping[str, Figure]]) -> list[str]:
    suite = SUITES[_suite_name(label)]
    columns = list(dict.fromkeys(what for figures in merits.values() for what in figures))
    units = {what: next((f[what].unit for f in merits.values() if what in f), "") for what in columns}
    heads = [f"{what}, {units[what]}" if units[what] else what for what in columns]
    stop = "" if suite.title.endswith("?") else "."
    lines = [f"## {label}", "", f"{suite.title[0].upper()}{suite.title[1:]}{stop} Source: {suite.source}.", ""]
    lines += [f"| | {' | '.join(heads)} |", "|---|" + "---|" * len(columns)]
    for name, figures in merits.items():
        mark = f" {MARK}" if measured[name]["about"]["overlap"] else ""
        cells = [f"{figures[w].text()} {figures[w].note}".strip() if w in figures else "" for w in columns]
        lines.append(f"| {name}{mark} | {' | '.join(cells)} |")
    lines.append("")
    for words, names in _names_by(measured, "overlap").items():
        lines += [f"{MARK} {', '.join(names)}: {words}.", ""]
    # references are PBE or similar; the regular expression does not match PBEsol and PBE0
    for functional, names in _names_by(measured, "functional").items():
        if not re.match(r"PBE\b", functional):
            lines += [f"The functional of {', '.join(names)} is {functional}.", ""]
    for name, content in measured.items():
        if dtype := content["key"].get("dtype"):
            lines += [f"{name} was evaluated in {dtype}.", ""]
    return lines


def _names_by(measured: Measured, key: str) -> dict[str, list[str]]:
    """Names of potentials by a value in `about`, such as the functional, which older results do not have."""
    found: dict[str, list[str]] = {}
    for name, content in measured.items():
        if words := content["about"].get(key, ""):
            found.setdefault(words, []).append(name)
    return found


def _speed_section(content: Mapping[str, Any], known: Collection[str]) -> list[str]:
    """Section with the times; potentials in `known`, those of other suites, may not have been timed."""
    rows, about = content["rows"], content["about"]
    sizes = list(dict.fromkeys(row["atoms"] for row in rows))
    times = {(row["potential"], row["atoms"]): row for row in rows}
    names = list(dict.fromkeys(row["potential"] for row in rows))
    heads = [head for n in sizes for head in (f"{n} atoms, ms", f"times {names[0]}'s")]
    lines = [
        f"## {SPEED}",
        "",
        "A step of energy, forces and stress of Si, all potentials in turns in one process.",
        "",
    ]
    lines += [f"| | {' | '.join(heads)} |", "|---|" + "---|" * len(heads)]
    for name in names:
        cells = [t for n in sizes for t in _times(times.get((name, n)))]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    threads = f"{about['threads']} thread{'s' * (about['threads'] != 1)}"
    lines += ["", f"Medians, {threads}, {about['clock']}; {about['cpu']}."]
    if missing := sorted(set(known) - set(names)):
        lines[-1] += f" Not timed in this run: {', '.join(missing)}."
    return [*lines, ""]


def _times(row: Mapping[str, Any] | None) -> tuple[str, str]:
    return ("", "") if row is None else (f"{row['ms']:.3g}", f"{row['ratio']:.3g}")


def _save(picture: Any, path: Path) -> None:
    buffer = io.BytesIO()
    picture.savefig(buffer, format="png")
    write_bytes(path, buffer.getvalue())
