"""Names that stand for several crystals: `iron oxide`, `cristobalite`. Notes tell which one is taken."""

import re

from gnnpot.builder.library import library
from gnnpot.builder.messages import say
from gnnpot.builder.state import Message
from gnnpot.builder.text.reader import SentenceReader
from gnnpot.builder.text.words import formula

#: names of two elements without their numbers or oxidation states: iron oxide, 酸化鉄
_OPEN = re.compile(
    r"[a-z]+ (?!di|tri|mon|sesqui)[a-z]+ide|(?:酸|硫|窒|塩|フッ|炭|臭|ヨウ|セレン|テルル|ホウ)化[^(一二三四五六]+"
)
_LABEL = re.compile(r"(?:alpha|beta)-")


def note_open_names(reader: SentenceReader) -> None:
    """Add a note for each name of a compound of which the library has others of the same elements or polymorphs."""
    for index, token in enumerate(reader.items):
        word = reader.word(index)
        others: list[str] = []
        chosen = token.value
        if token.kind == "MAT" and _OPEN.fullmatch(word):
            own = _elements(chosen)
            if _is_explained(reader, index, own):
                reader.take(index)
            elif not _named_again(reader, index, own):
                others = [f for f in library().substances if f != chosen and _elements(f) == own]
        elif token.kind == "POLYMORPH" and not re.search("alpha|beta|low|high|[αβ]", word):
            substance, chosen = token.value
            name = _LABEL.sub("", chosen)
            others = [p for p in library().polymorphs(substance) if p != chosen and _LABEL.sub("", p) == name]
        if others:
            text = say("compound_chosen", reader.language, word=token.text, chosen=chosen, others=", ".join(others))
            reader.notes.append(Message("compound_chosen", text))


def _is_explained(reader: SentenceReader, index: int, own: set[str]) -> bool:
    """`iron oxide (magnetite)`, `酸化銅Cu2O`: whether a name or formula of the same elements stands next to it."""
    return any(0 <= place < len(reader.items) and _has_elements(reader, place, own) for place in (index - 1, index + 1))


def _named_again(reader: SentenceReader, index: int, own: set[str]) -> bool:
    """Whether the sentence also gives the formula, or another name, of a compound of the same elements."""
    return any(place != index and _has_elements(reader, place, own) for place in range(len(reader.items)))


def _has_elements(reader: SentenceReader, index: int, own: set[str]) -> bool:
    return reader.token(index).kind in ("MAT", "POLYMORPH") and _elements(formula(reader, index)) == own


def _elements(formula: str) -> set[str]:
    return set(re.findall(r"[A-Z][a-z]?", formula))
