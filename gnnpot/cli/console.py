"""The console of all commands: text is shown as it is written, and nothing in a name changes the terminal.

    console = Console()
    console.print(f"written to {path}")                      # [/x] in a path is no markup, :smile: no picture
    console.print(styled(("converged", "green"), f" in {steps} steps"))
    console.print(to_table([("K", "mS/cm"), ("300", "12")], "Conductivity"))

Control characters in names of files and in messages are shown as escapes. Where the terminal's encoding lacks a
character, it is replaced.
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

#: categories of characters that a terminal obeys, or that hide or turn others
_OBEYED = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


class Console(rich.console.Console):
    """Rich's console without markup and pictures in what is printed."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"emoji": False, "markup": False, **options})

    def render_str(self, text: str, **options: Any) -> Text:
        """As Rich's, of what is printable."""
        return super().render_str(printable(text), **options)


def styled(*parts: str | tuple[str, str]) -> Text:
    """A text of parts, some with a style."""
    return Text.assemble(*(printable(p) if isinstance(p, str) else (printable(p[0]), p[1]) for p in parts))


def printable(text: str) -> str:
    r"""The text with characters that a terminal obeys as escapes; ends of lines and tabs stay.

    >>> printable("a\x1b[31mb")
    'a\\x1b[31mb'
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(_shown(character) for character in text)


def on_one_line(text: str) -> str:
    """The text with ends of lines as escapes, too."""
    return printable(text).replace("\n", "\\n").replace("\t", "\\t")


def replace_what_is_not_encoded() -> None:
    """Let the standard streams replace characters that their encoding lacks."""
    for stream in (sys.stdout, sys.stderr):
        # what stands in for a stream, as in tests, may have no encoding
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _shown(character: str) -> str:
    if character in "\n\t" or unicodedata.category(character) not in _OBEYED:
        return character
    return character.encode("unicode_escape").decode()


def to_table(rows: Sequence[tuple[str, ...]], title: str = "") -> Table:
    """Rows, the first of which is the head, as a table for the terminal."""
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD)
    for k, head in enumerate(rows[0]):
        table.add_column(head, justify="left" if k == 0 else "right", overflow="fold")
    for row in rows[1:]:
        table.add_row(*row)
    return table
