"""The console of all commands. Text is printed literally, and can't control the terminal.

    console = Console()
    console.print(f"written to {path}")                      # [/x] in a path is not markup, :smile: not an emoji
    console.print(styled(("converged", "green"), f" in {steps} steps"))
    console.print(to_table([("K", "mS/cm"), ("300", "12")], "Conductivity"))

Control characters in file names and messages are shown as escapes. Characters that the terminal's encoding lacks are
replaced.
"""

import io
import sys
import unicodedata
from collections.abc import Sequence
from typing import Any

import rich.console
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

#: Unicode categories of characters that control a terminal, or hide or reorder other characters
_CONTROL_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


class Console(rich.console.Console):
    """Rich's console without markup and emoji codes in printed text."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"emoji": False, "markup": False, **options})

    def render_str(self, text: str, **options: Any) -> Text:
        """Render the printable form of a text, as Rich does."""
        return super().render_str(printable(text), **options)


def styled(*parts: str | tuple[str, str]) -> Text:
    """Join parts into a text; a part is a string, or a (string, style) tuple."""
    return Text.assemble(*(printable(p) if isinstance(p, str) else (printable(p[0]), p[1]) for p in parts))


def printable(text: str) -> str:
    r"""Replace control characters of a text by escapes; newlines and tabs are kept.

    >>> printable("a\x1b[31mb")
    'a\\x1b[31mb'
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(_shown(character) for character in text)


def replace_unencodable_characters() -> None:
    """Make the standard streams replace characters that their encoding lacks."""
    for stream in (sys.stdout, sys.stderr):
        # a substitute for a stream, as in tests, may have no encoding
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _shown(character: str) -> str:
    if character in "\n\t" or unicodedata.category(character) not in _CONTROL_CATEGORIES:
        return character
    return character.encode("unicode_escape").decode()


def to_table(rows: Sequence[tuple[str, ...]], title: str = "", *, compact: bool = False) -> Table:
    """Return rows, the first of which is the header, as a table for the terminal.

    Args:
        rows: Header and rows.
        title: Title above the table.
        compact: Leave out the margins, and half of the space between columns, for wide tables.
    """
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD)
    for k, head in enumerate(rows[0]):
        table.add_column(head, justify="left" if k == 0 else "right", overflow="fold")
    for row in rows[1:]:
        table.add_row(*row)
    if compact:
        table.show_edge = table.pad_edge = False
        table.collapse_padding = True
    return table
