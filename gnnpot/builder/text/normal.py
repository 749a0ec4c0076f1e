"""Normal form of a text for the grammar: full-width characters, signs and dashes are unified.

Example::

    text = Normal("Ｐｔ（１１１）　３×３")
    text.plain == "Pt(111) 3x3"
    text.span(0, 2)                # where the two letters stand in the original
"""

import unicodedata
from dataclasses import dataclass, field

_SAME = {
    "×": "x", "✕": "x", "✖": "x", "╳": "x", "⨯": "x", "−": "-", "–": "-", "—": "-", "‐": "-", "‑": "-", "‒": "-",
    "―": "-",
    "〜": "~", "∼": "~", "≃": "~", "≒": "~", "’": "'", "‘": "'", "“": '"', "”": '"', "Å": "Å", "μ": "µ", "⁄": "/",
    "∶": ":",
}  # fmt: skip
_OVERBARS = {"\u0304", "\u0305"}
_VOICED = {"ﾞ", "ﾟ", "\u3099", "\u309a"}


@dataclass
class Normal:
    """A text in plain form, and the position of each plain character in the original."""

    original: str
    plain: str = ""
    origin: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        index = 0
        while index < len(self.original):
            end = index + 1
            while end < len(self.original) and self.original[end] in _VOICED:
                end += 1
            piece = self.original[index:end]
            if piece in _OVERBARS and self.plain and self.plain[-1].isdigit():
                # an overbar is on the digit before it, and means a minus sign
                self.plain = self.plain[:-1] + "-" + self.plain[-1]
                self.origin.append(index)
            else:
                simple = _SAME.get(piece) or unicodedata.normalize("NFKC", piece)
                simple = "".join(_SAME.get(c, c) for c in simple)
                self.plain += simple
                self.origin += [index] * len(simple)
            index = end

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Return the range of the original from which characters `start` to `end` of the plain form come."""
        if start >= len(self.origin):
            return len(self.original), len(self.original)
        last = self.origin[end - 1] if end > start else self.origin[start]
        stop = next((i for i in self.origin[end:] if i > last), len(self.original)) if end < len(self.origin) else None
        return self.origin[start], len(self.original) if stop is None else stop
