"""Fraction of the sentences of the evaluation set that the grammar builds correctly, by half, language and level.

    python scripts/studies/builder_sentences.py known
    python scripts/studies/builder_sentences.py unseen
    python scripts/studies/builder_sentences.py later

Reads tests/builder/sentences/KIND-*.yaml (format: README.md there). Prints the failures, then a table.
"""

import sys
from collections import Counter
from pathlib import Path

import typer
from rich.console import Console
from rich.table import Table

from gnnpot.errors import GnnpotError

sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "builder"))


def main(kind: str = typer.Argument(help="Set of sentences: known, unseen or later.")) -> None:
    """Build all sentences and check the results."""
    from checks import built, failures, sentences

    console, right, there = Console(), Counter(), Counter()
    for entry in sentences(kind):
        try:
            wrong = failures(built(entry["text"]), entry["checks"])
        except GnnpotError as problem:
            wrong = [str(problem)]
        for group in ("all", entry["id"][:2], f"level {entry['level']}"):
            there[group] += 1
            right[group] += not wrong
        if wrong:
            console.print(f"{entry['id']} {entry['text']}", *wrong, sep="\n    ", markup=False, highlight=False)
    table = Table("sentences", "there", "right", "share")
    for group in sorted(there):
        share = f"{100 * right[group] / there[group]:.0f} %"
        table.add_row(group, str(there[group]), str(right[group]), share)
    console.print(table)


if __name__ == "__main__":
    typer.run(main)
