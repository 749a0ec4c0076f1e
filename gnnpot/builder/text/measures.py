"""Helpers of the rules for attributes: matches of patterns, lengths and whole numbers."""

from collections.abc import Iterator
from typing import Any

from gnnpot.builder.messages import error, say
from gnnpot.builder.state import Message
from gnnpot.builder.text.reader import SentenceReader


def length(reader: SentenceReader, index: int) -> float:
    """A length in Å. A number without a unit is read as a length in Å, with a note."""
    token = reader.token(index)
    if token.kind == "NUM":
        text = say("unit_angstrom", reader.language, word=token.text)
        if token.value <= 0:
            raise error("bad_number", reader.language, what=token.text, value=f"{token.value:g}")
        reader.notes.append(Message("unit_angstrom", text))
    return float(token.value)


def each(reader: SentenceReader, *patterns: str) -> Iterator[dict[str, Any]]:
    """Yield the matches of the patterns in order, and take the tokens of each."""
    for pattern in patterns:
        for match in reader.find(pattern):
            yield match
            reader.take(match["all"])


def whole(reader: SentenceReader, index: int) -> int:
    """Return the value of a token as a positive whole number; other values are refused."""
    value = float(reader.value(index))
    if value != int(value) or value < 1:
        raise error("bad_number", reader.language, what=reader.token(index).text, value=f"{value:g}")
    return int(value)
