"""Card of a distilled student, and its report in Markdown with a figure, made from the card."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gnnpot.config import to_mapping
from gnnpot.data.store import FrameStore
from gnnpot.hub.card import Card
from gnnpot.runs.files import write_text
from gnnpot.runs.pages import COLORS, GREY, new_figure, tidy
from gnnpot.units import GPA
from gnnpot.workflows.distil.config import DistilConfig
from gnnpot.workflows.distil.measure import StudentMeasurements
from gnnpot.workflows.distil.results import DistilResults, end_name
from gnnpot.workflows.distil.students import TRAIN, frames_in
from gnnpot.workflows.distil.teacher import Teacher

PICTURE = "distil.png"
#: names of the samples of the students' dynamics in tables and figures
RANDOM, UNCERTAIN = "random sample", "high-uncertainty sample"
UNCERTAIN_ERROR = f"{UNCERTAIN}: force MAE"


def student_card(
    config: DistilConfig,
    teacher: Teacher,
    trained: Card,
    measured: StudentMeasurements,
    results: DistilResults,
    frames: Path,
) -> Card:
    """Make the card of the final student.

    Args:
        config: Configuration of the distillation.
        teacher: The teacher that labelled the frames.
        trained: Card that the student's training wrote.
        measured: Errors and speed of the student.
        results: Results of the rounds.
        frames: Folder of the stores that the student was trained on.
    """
    called = teacher.card.name or teacher.name
    return replace(
        trained,
        name=config.name or config.run.name,
        description=config.description or f"{config.student.architecture}, distilled from {called}",
        licence=config.licence or teacher.card.licence,
        training_data=f"{frames_in(frames)} frames labelled by {teacher.labeller.name}",
        functional=config.functional or teacher.labeller.functional,
        energy_reference=teacher.card.energy_reference,
        data_manifest_sha256=FrameStore(frames / TRAIN).sha256,
        references=list(teacher.card.references),
        metrics={
            **trained.metrics,
            "fresh": measured.fresh,
            "distil": {
                "frames": frames_in(frames),
                "rounds": [to_mapping(result) for result in results.rounds],
                "end": results.get_or_compute(end_name(config, len(results.rounds)), str),
                "minutes": results.minutes,
                "measured": to_mapping(measured),
                "ratios": [speed.ratio for speed in measured.speeds],
            },
        },
        training={
            **trained.training,
            "distillation": to_mapping(config),
            "teacher": {
                "name": teacher.name,
                "labels": teacher.labeller.name,
                "licence": teacher.card.licence,
                "functional": teacher.labeller.functional,
            },
        },
    )


def rounds_rows(card: Card) -> list[tuple[str, ...]]:
    """Rows of the table of rounds; the first row is the header."""
    head = (
        "round", "trained on", RANDOM, UNCERTAIN, "force MAE, eV/Å", "force RMSE, eV/Å", "energy MAE, meV/atom",
        UNCERTAIN_ERROR, "disagreement, eV/Å", "dynamics, ps", "ended early",
    )  # fmt: skip
    rows = []
    for r in card.metrics["distil"]["rounds"]:
        errors, uncertain = r["errors"], r["picked_errors"]
        early = sum(n for end, n in r["ends"].items() if end != "complete")
        rows.append((
            str(r["number"]), str(r["trained_on"]), str(r["drawn"]), str(r["picked"]), f"{errors['forces_mae']:.4f}",
            f"{errors['forces_rmse']:.4f}", f"{1e3 * errors['energy_mae']:.2f}",
            "" if uncertain is None else f"{uncertain['forces_mae']:.4f}", f"{r['disagreement']:.3f}",
            f"{r['picoseconds']:.2f}", f"{early} of {sum(r['ends'].values())}",
        ))  # fmt: skip
    return [head, *rows]


def errors_rows(card: Card) -> list[tuple[str, ...]]:
    """Rows of the table of final errors; the first row is the header."""
    units = ("force MAE, eV/Å", "force RMSE, eV/Å", "energy MAE, meV/atom", "stress MAE, GPa")
    measured = card.metrics["distil"]["measured"]
    rows = [_errors("the student", "the teacher, on its own dynamics", card.metrics["fresh"])]
    rows += [_errors(f"the {who}", "the test's labels", metrics) for who, metrics in measured["test"].items()]
    return [("errors of", "against", "frames", *units), *rows]


def _errors(who: str, against: str, metrics: Mapping[str, float]) -> tuple[str, ...]:
    def cell(key: str, factor: float, form: str) -> str:
        return format(factor * metrics[key], form) if key in metrics else ""

    return (
        who, against, f"{metrics['frames']:.0f}", cell("forces_mae", 1, ".4f"), cell("forces_rmse", 1, ".4f"),
        cell("energy_mae", 1e3, ".2f"), cell("stress_mae", 1 / GPA, ".3f"),
    )  # fmt: skip


def speed_rows(card: Card) -> list[tuple[str, ...]]:
    """Rows of the table of speeds; the first row is the header."""
    distil = card.metrics["distil"]
    rows = [
        (str(s["atoms"]), f"{s['teacher']:.3g}", f"{s['student']:.3g}", f"{ratio:.3g}")
        for s, ratio in zip(distil["measured"]["speeds"], distil["ratios"], strict=True)
    ]
    return [("atoms", "teacher", "student", "ratio"), *rows]


def write_distil_report(folder: Path, card: Card) -> Path:
    """Write `report.md` and its figure into `folder`, and return the path of `report.md`."""
    folder.mkdir(parents=True, exist_ok=True)
    distil, teacher = card.metrics["distil"], card.training["teacher"]
    figure(card).savefig(folder / PICTURE)
    facts = [f"Teacher: {teacher['labels']}"]
    facts += [f"{word}: {teacher[word]}" for word in ("functional", "licence") if teacher[word]]
    text = [
        f"# {card.name}: {card.description}",
        "; ".join(facts) + ".",
        f"{distil['frames']} frames in {distil['minutes']:.1f} minutes; the rounds ended because {distil['end']}.",
        "## Errors of the final student",
        markdown(errors_rows(card)),
        "## Speed",
        "Molecular dynamics, µs per atom and step, processor time of one thread, in turns in one process.",
        markdown(speed_rows(card)),
        "## Rounds",
        (
            "Errors of the students of the round before on a random sample of the frames of their own dynamics, "
            "before they were trained on them, means over the committee; the high-uncertainty sample holds the frames "
            "where it disagreed most."
        ),
        markdown(rounds_rows(card)),
        f"![Errors, frames and speed]({PICTURE})",
    ]
    path = folder / "report.md"
    write_text(path, "\n\n".join(text) + "\n")
    return path


def markdown(rows: Sequence[tuple[str, ...]]) -> str:
    """Table in Markdown; the first row is the header."""
    head, *rest = rows
    lines = [head, ("---",) * len(head), *rest]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def figure(card: Card) -> Figure:
    """Plot errors by round, frames by round, and time per atom and step."""
    distil = card.metrics["distil"]
    picture = new_figure(3, height=4.0)
    draw_errors(picture.add_subplot(1, 3, 1), card)
    axes = picture.add_subplot(1, 3, 2)
    rounds = distil["rounds"]
    numbers = [r["number"] for r in rounds]
    axes.bar(numbers, [r["trained_on"] for r in rounds], color=GREY, label="before the round")
    bottom = [r["trained_on"] for r in rounds]
    for label, key, color in ((RANDOM, "drawn", COLORS[0]), (UNCERTAIN, "picked", COLORS[1])):
        axes.bar(numbers, [r[key] for r in rounds], bottom=bottom, color=color, label=label)
        bottom = [b + r[key] for b, r in zip(bottom, rounds, strict=True)]
    axes.set(xlabel="round", ylabel="labelled frames", xticks=numbers)
    axes.legend(frameon=False, fontsize=8)
    tidy(axes)
    draw_speeds(picture.add_subplot(1, 3, 3), card)
    return picture


def draw_speeds(axes: Axes, card: Card) -> None:
    """Draw a bar chart of the times of teacher and student, µs per atom and step."""
    distil = card.metrics["distil"]
    found = distil["measured"]["speeds"]
    places = range(len(found))
    for shift, who, color in ((-0.2, "teacher", GREY), (0.2, "student", COLORS[2])):
        axes.bar([k + shift for k in places], [s[who] for s in found], width=0.38, color=color, label=who)
    axes.set_xticks(places, [f"{s['atoms']} atoms" for s in found])
    ratios = ", ".join(f"{ratio:.3g}" for ratio in distil["ratios"])
    axes.set(ylabel="µs per atom and step, one thread", title=f"{ratios} times the speed")
    axes.legend(frameon=False, fontsize=8)
    tidy(axes)


def draw_errors(axes: Axes, card: Card) -> None:
    """Plot the force errors of the students against the round."""
    rounds: list[dict[str, Any]] = card.metrics["distil"]["rounds"]
    for label, key, color in ((RANDOM, "errors", COLORS[0]), (UNCERTAIN, "picked_errors", COLORS[1])):
        points = [(r["number"], r[key]["forces_mae"]) for r in rounds if r[key] is not None]
        if points:
            axes.plot(*zip(*points, strict=True), marker="o", color=color, label=f"students, {label}")
    final = card.metrics["fresh"]["forces_mae"]
    axes.axhline(final, color=COLORS[2], linestyle="--", label=f"final student, {RANDOM}")
    numbers = [r["number"] for r in rounds]
    axes.set(xlabel="round", ylabel="force MAE against the teacher, eV/Å", xticks=numbers)
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False, fontsize=8, loc="lower left")
    tidy(axes)
