#!/usr/bin/env python3
"""Run all commands with bad input, and classify the outcomes.

    python scripts/checks/bad_input.py [--only WORD...] [--part 1/4] [--details] [--list]
    python scripts/checks/bad_input.py --results results.json --markdown docs/reliability.md

The tries are defined by the tables in `bad_input_cases/`: a command line and files, with the expected exit status,
words of the message, and files that may change. Each try runs in its own folder, in a fork of this process, which has
imported gnnpot once, or in a new process, with limits of time and memory. The outcome of a try is one of

    clear         expected status and words, in a message of a few lines; only files that may change have changed
    traceback     an unexpected exception, also if it was converted to a message
    without end   more than 60 s of processor time, or 600 s of wall time
    signal        the process was killed
    silent        status 0, although the input can't be used
    destructive   a file that may not change was changed, deleted or created
    misleading    another status, or a message without the expected words or of more than 12 lines

The exit status is 1 if an outcome is not clear. With `--results` the outcomes are kept in a file: the same command
continues, and repeats the tries that were not clear. `--markdown` writes the table of outcomes into a page.
"""

from __future__ import annotations

import argparse
import fnmatch
import gc
import json
import os
import re
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(Path(__file__).resolve().parent), str(ROOT)]
for _name in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"
# the words that are compared must not depend on line breaks
os.environ["COLUMNS"] = "200"

from bad_input_cases import Try, all_tries  # noqa: E402
from bad_input_cases.calls import in_processes  # noqa: E402
from bad_input_cases.files import Files  # noqa: E402
from bad_input_cases.fork import Outcome, run  # noqa: E402

CLASSES = ("clear", "traceback", "without end", "signal", "silent", "destructive", "misleading")
MOST_LINES = 12
BEGIN, END = "<!-- bad input: begin -->", "<!-- bad input: end -->"
#: lock files, which are kept next to the locked files
IGNORED = ("*.lock", "*/.lock")


def judge(attempt: Try, outcome: Outcome) -> tuple[str, str]:
    """(class, reason) of the outcome of a try."""
    if not outcome.ended:
        return "without end", f"after {outcome.seconds:.0f} s"
    if outcome.signal:
        return "signal", str(outcome.signal)
    if outcome.escaped or outcome.hidden or "Traceback (most recent call" in outcome.output:
        return "traceback", outcome.escaped or ", ".join(outcome.hidden) or "in the output"
    may = (*attempt.changes, *IGNORED)
    touched = [p for p in outcome.changed + outcome.new if not any(fnmatch.fnmatch(p, pattern) for pattern in may)]
    if touched:
        return "destructive", ", ".join(touched[:4])
    if outcome.status not in attempt.status:
        return ("silent" if outcome.status == 0 else "misleading"), f"status {outcome.status}"
    return _judge_words(attempt, outcome.output)


def _judge_words(attempt: Try, output: str) -> tuple[str, str]:
    flat = re.sub(r"[\s│╭╰─╮╯]+", " ", output).lower()
    for words in attempt.words:
        if not any(word.lower() in flat for word in words.split("|")):
            return "misleading", f"does not say '{words}'"
    for words in attempt.absent:
        if words in output:
            return "misleading", f"shows {words!r}"
    if 0 not in attempt.status:
        lines = [line for line in output.splitlines() if line.strip()]
        if len(lines) > MOST_LINES:
            return "misleading", f"{len(lines)} lines"
        # the bare name of an exception or key is not a reason
        if thin := re.search(r"(?<!\w)\((\w+Error|'[^' ]*'|None|)\)", output):
            return "misleading", f"a thin reason: {thin.group()}"
    return "clear", ""


def prepare() -> None:
    """Import the modules and compile the kernels that commands need, so that forks need not."""
    import importlib

    for name in (
        "gnnpot.cli", "gnnpot.training.run", "gnnpot.workflows.distil", "gnnpot.workflows.finetune", "gnnpot.builder",
        "gnnpot.functional.solver", "gnnpot.functional.plots", "gnnpot.properties.conductivity.report",
        "gnnpot.properties.contract", "gnnpot.data.mp.pipeline", "ase.io.cif", "ase.optimize", "typer.testing",
    ):  # fmt: skip
        importlib.import_module(name)
    import torch
    from ase.build import bulk

    from gnnpot import Calculator

    torch.set_num_threads(1)
    crystal = bulk("Cu")
    crystal.calc = Calculator("gnnpot-1")
    crystal.get_stress()
    gc.collect()
    gc.freeze()


def attempt_all(tries: list[Try], details: bool, known: dict[str, str], save: Callable[[], None]) -> None:
    """Run the tries one after the other, and store the class of each in `known`, by title."""
    with tempfile.TemporaryDirectory(prefix="bad-input-") as scratch:
        files = Files(Path(scratch) / "files")
        for name in sorted({name.partition(" as ")[0] for attempt in tries for name in attempt.files}):
            files.make(name)
        start = time.monotonic()
        for number, attempt in enumerate(tries, 1):
            folder = Path(scratch) / f"try-{number}" / "folder"
            folder.mkdir(parents=True)
            for name in attempt.files:
                files.put(name, folder)
            outcome = run(attempt, folder)
            kind, why = judge(attempt, outcome)
            known[title(attempt)] = kind
            save()
            if kind != "clear" or details:
                _show(attempt, outcome, kind, why)
            if number % 100 == 0:
                print(f"-- {number} of {len(tries)} in {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)
            shutil.rmtree(folder.parent, ignore_errors=True)


def title(attempt: Try) -> str:
    """Group and name of a try."""
    return f"{attempt.group}: {attempt.name}"


def counts(tries: list[Try], known: dict[str, str]) -> dict[str, Counter[str]]:
    """Number of tries of each group in each class."""
    table: dict[str, Counter[str]] = {}
    for attempt in tries:
        if title(attempt) in known:
            table.setdefault(attempt.group, Counter())[known[title(attempt)]] += 1
    return table


def _show(attempt: Try, outcome: Outcome, kind: str, why: str) -> None:
    shown = " ".join(word if len(word) < 60 else f"{word[:57]}…" for word in attempt.command)
    said = "\n".join(f"      {line}" for line in outcome.output.strip().splitlines()[-8:])
    print(f"{kind.upper():12} {attempt.group}: {attempt.name}  [{why}, {outcome.seconds:.1f} s]")
    print(f"      $ {shown!r}\n{said}", flush=True)


def to_markdown(table: dict[str, Counter[str]]) -> str:
    """Return the table of docs/reliability.md."""
    rows = [f"| tries | number | {' | '.join(CLASSES)} |", f"|---|{'---|' * (len(CLASSES) + 1)}"]
    total: Counter[str] = Counter()
    for group, counts in table.items():
        total += counts
        rows.append(f"| {group} | {counts.total()} | {' | '.join(str(counts[c]) for c in CLASSES)} |")
    rows.append(f"| all | {total.total()} | {' | '.join(str(total[c]) for c in CLASSES)} |")
    return "\n".join(rows)


def main() -> int:
    """Run the selected tries."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", default=[], help="only tries with this text in their group or name")
    parser.add_argument("--details", action="store_true", help="also show the tries that are clear")
    parser.add_argument("--markdown", type=Path, help="write the table between the marks in this file")
    parser.add_argument("--part", default="1/1", help="K/N: every N-th try, starting with the K-th")
    parser.add_argument("--results", type=Path, help="JSON file of the classes, from which the same command continues")
    parser.add_argument("--list", action="store_true", help="list the tries and exit")
    given = parser.parse_args()
    tries = all_tries()
    tries += in_processes(tries)
    every = tries
    if given.only:
        tries = [t for t in tries if any(word in title(t) for word in given.only)]
    first, step = map(int, given.part.split("/"))
    tries = tries[first - 1 :: step]
    if given.list:
        print("\n".join(map(title, tries)))
        return 0
    known: dict[str, str] = {}
    if given.results is not None and given.results.exists():
        known = json.loads(given.results.read_text(encoding="utf-8"))

    def save() -> None:
        if given.results is not None:
            given.results.write_text(json.dumps(known, indent=0, ensure_ascii=False) + "\n", encoding="utf-8")

    waiting = [t for t in tries if known.get(title(t)) != "clear"]
    if waiting:
        prepare()
        attempt_all(waiting, given.details, known, save)
    table = counts(every, known)
    print(to_markdown(table))
    if given.markdown:
        write_table(given.markdown, to_markdown(table))
    return int(any(of_group[kind] for of_group in table.values() for kind in CLASSES[1:]))


def write_table(path: Path, text: str) -> None:
    """Write the table between the marks of a page."""
    head, _, rest = path.read_text(encoding="utf-8").partition(BEGIN)
    _, _, tail = rest.partition(END)
    path.write_text(f"{head}{BEGIN}\n{text}\n{END}{tail}", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
