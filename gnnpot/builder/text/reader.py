"""The tokens of a sentence, which the rules of the grammar take, and the facts that the rules find.

A rule is a pattern of token kinds: `"VAC _ x:LEN|NUM"` takes a word for vacuum and the length after it, with any number
of function words (`_`) between them. Tokens that a rule has taken are not seen by later rules.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

from gnnpot.builder.messages import error
from gnnpot.builder.state import Message
from gnnpot.builder.text.tokens import Token, Tokens

#: kinds of function words that may stand between the parts of a pattern
GLUE = "OF|WO|NI|BY|IN|FROM|EQ|APPROX|ATLEAST|ATMOST"
#: planes of hexagonal crystals by their letters
LETTER_PLANES = {"c": (0, 0, 0, 1), "m": (1, 0, -1, 0), "a": (1, 1, -2, 0), "r": (1, -1, 0, 2)}


@dataclass
class Facts:
    """Values of the attributes of a sentence, before they are assigned to steps."""

    values: dict[str, Any] = field(default_factory=dict)
    #: values that belong to the nearest adsorbate: (kind, value, index of the token)
    adsorbate_values: list[tuple[str, Any, int]] = field(default_factory=list)
    fixes: list[dict[str, Any]] = field(default_factory=list)
    #: names of values that have been requested for a step
    used: set[str] = field(default_factory=set)

    def get(self, name: str, default: Any = None) -> Any:
        """Return a value or the default, and mark the value as used."""
        self.used.add(name)
        return self.values.get(name, default)


@lru_cache(maxsize=512)
def _compiled(pattern: str) -> re.Pattern[str]:
    parts = []
    for element in pattern.split():
        optional = element[-1] if element[-1] in "?*+" else ""
        body = element.rstrip("?*+")
        name, _, kinds = body.rpartition(":")
        kinds = GLUE if kinds == "_" else kinds
        one = rf"(?:(?:{kinds})#\d+ )"
        if element == "_":
            optional = "*"
        if element == "$":
            parts.append("$")
            continue
        parts.append(f"(?P<{name}>{one}){optional}" if name else f"{one}{optional}")
    return re.compile(r"(?<!\S)" + "".join(parts))


def _family(plane: tuple[int, ...]) -> tuple[tuple[int, ...], int]:
    """Indices in a hexagonal crystal without order and signs, which are the same for equivalent planes."""
    h, k = plane[:2]
    return tuple(sorted(map(abs, (h, k, h + k)))), abs(plane[-1])


def _with_planes(items: list[Token]) -> list[Token]:
    """`Cu 111`, `rutile 110`: digits after a substance are a lattice plane if the sentence has no other.

    `m-plane` is a plane, too; next to indices of the same plane it says nothing more.
    """
    given = {_family(t.value) for t in items if t.kind == "MILLER"}
    if given:
        return [t for t in items if not (t.kind == "PLANE" and _family(LETTER_PLANES[t.value]) in given)]
    if any(t.kind == "PLANE" for t in items):
        return [replace(t, kind="MILLER", value=LETTER_PLANES[t.value]) if t.kind == "PLANE" else t for t in items]
    for place, (before, token) in enumerate(zip(items, items[1:], strict=False), 1):
        close = token.start - before.end <= 1 and before.kind in ("MAT", "STRUCTURE", "POLYMORPH", "SLAB")
        if close and token.kind == "NUM" and re.fullmatch(r"[012]{3}|0001|10-10|11-20", token.text):
            plane = Token("MILLER", tuple(int(x) for x in token.text), token.start, token.end, token.text)
            return [*items[:place], plane, *items[place + 1 :]]
    return items


def _with_particles(items: list[Token]) -> list[Token]:
    """`truncated octahedral Pd of 200 atoms`, `Pt55 icosahedron`: a shape without a word for a particle implies one."""
    kinds = {t.kind for t in items}
    if kinds & {"PARTICLE", "CORESHELL", "CORESHELLW", "INTERSTITIAL", "OCTA", "TETRA", "SITEW", "MILLER"}:
        return items
    for place, token in enumerate(items):
        if token.kind == "SHAPE":
            behind = place + 2 if items[place + 1 : place + 2] and items[place + 1].kind == "MAT" else place + 1
            particle = Token("PARTICLE", None, token.end, token.end, "")
            return [*items[:behind], particle, *items[behind:]]
    return items


class SentenceReader:
    """The tokens of a sentence, and which of them rules have taken."""

    def __init__(self, tokens: Tokens, language: str) -> None:
        self.tokens = tokens
        self.language = language
        self.items = _with_particles(_with_planes([t for t in tokens.items if t.kind != "STOP"]))
        self.taken: set[int] = set()
        self.facts = Facts()
        self.notes: list[Message] = []

    def remaining(self) -> list[int]:
        """Return the indices of the tokens that are left."""
        return [i for i in range(len(self.items)) if i not in self.taken]

    def remaining_of(self, *kinds: str) -> list[int]:
        """Return the indices of the tokens of some kinds that are left."""
        return [i for i in self.remaining() if self.items[i].kind in kinds]

    def has(self, *kinds: str) -> bool:
        """Whether the sentence has a token of one of these kinds, taken or not."""
        return any(t.kind in kinds for t in self.items)

    def find(self, pattern: str) -> Iterator[dict[str, Any]]:
        """Yield matches among the tokens that are left: the token index of each name, and all indices as `all`."""
        start = 0
        while True:
            text = "".join(f"{self.items[i].kind}#{i} " for i in self.remaining())
            match = _compiled(pattern).search(text, start)
            if match is None:
                return
            indices = [int(x) for x in re.findall(r"#(\d+) ", match.group(0))]
            found: dict[str, Any] = {"all": indices}
            for name, piece in match.groupdict().items():
                if piece:
                    found[name] = int(piece.partition("#")[2])
            before = len(self.taken)
            yield found
            start = 0 if len(self.taken) > before else match.start() + 1

    def first(self, pattern: str) -> dict[str, Any] | None:
        """Return the first match, or `None`."""
        return next(self.find(pattern), None)

    def take(self, indices: list[int] | int) -> None:
        """Mark tokens as understood."""
        self.taken.update([indices] if isinstance(indices, int) else indices)

    def value(self, index: int) -> Any:
        """Return the value of a token."""
        return self.items[index].value

    def word(self, index: int) -> str:
        """Return the text of a token in lower case."""
        return self.items[index].text.lower()

    def token(self, index: int) -> Token:
        """Return a token."""
        return self.items[index]

    def set_value(self, index: int, value: Any, kind: str | None = None) -> None:
        """Give a token another value, and perhaps another kind."""
        self.items[index] = replace(self.items[index], value=value, kind=kind or self.items[index].kind)

    def reject(self, index: int) -> None:
        """Leave a token unread for good, so that the sentence is refused."""
        self.set_value(index, None, "UNREAD")

    def set(self, name: str, value: Any, what: str | None = None) -> None:
        """Record a fact. A second, different value is an error; `what` is the name of the fact in its message."""
        before = self.facts.values.get(name)
        if before is not None and before != value:
            raise error("contradiction", self.language, what=what or name, first=_plain(before), second=_plain(value))
        self.facts.values[name] = value


def _plain(value: Any) -> str:
    return f"{value:g}" if isinstance(value, (int, float)) else str(value)
