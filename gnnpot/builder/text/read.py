"""Reads a sentence: tokens, attributes, roles, steps, and the parts that were not understood.

Example::

    reading = read("Pt(111) slab, 4 layers, CO on top")
    reading.recipe, reading.spans
"""

import re
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from gnnpot.builder.messages import error, invalid_recipe, say
from gnnpot.builder.recipe import Recipe
from gnnpot.builder.state import Message
from gnnpot.builder.text.attributes import read_attributes
from gnnpot.builder.text.compose import compose
from gnnpot.builder.text.edit import edited
from gnnpot.builder.text.names import note_open_names
from gnnpot.builder.text.reader import SentenceReader
from gnnpot.builder.text.roles import read_roles
from gnnpot.builder.text.sizes import read_number_of_atoms
from gnnpot.builder.text.spelling import nearest_word
from gnnpot.builder.text.tokens import tokenize
from gnnpot.builder.text.yttria import read_yttria
from gnnpot.errors import BuilderError

MAX_LENGTH = 1000
#: kinds of tokens that may be left over: function words, and words whose meaning other tokens carry
HARMLESS = {
    "OF", "WO", "NI", "BY", "IN", "FROM", "AND", "COMMA", "EQ", "DOT", "SLASH", "BULKW", "SLAB", "ATOMW", "MOLW",
    "SUPERCELL",
    "SUPPORTED", "SUPPORT", "ADSORB", "FILM", "APPROX", "ATLEAST", "ATMOST", "SITEW", "EACH", "RANDOM", "FILL", "BOX",
    "SUPERPOSE", "LIQUIDW", "CONVENTIONAL", "ALLOY", "INTERFACE", "PARTICLE", "SHEETW", "LAYERW", "TOPSITE",
    "MIDDLE", "OUTERMOST", "ABOVE", "HEIGHT", "GAP", "THICK", "DISSOLVE", "REPLACE", "AROUND", "VAC", "LARGER",
    "SMALLER",
}  # fmt: skip


@dataclass(frozen=True)
class Span:
    """A part of the text that was not understood."""

    start: int  #: position of the first character
    end: int  #: position after the last character
    text: str
    suggestion: str | None = None  #: the most similar known word


@dataclass(frozen=True)
class Reading:
    """A recipe or an error, the parts that were not understood, and notes on corrections and assumptions."""

    language: str
    recipe: Recipe | None = None
    spans: list[Span] = field(default_factory=list)
    notes: list[Message] = field(default_factory=list)
    problem: BuilderError | None = None


def language_of(text: str) -> str:
    """Return `ja` if the text has Japanese characters, otherwise `en`."""
    return "ja" if re.search(r"[\u3040-\u30ff\u4e00-\u9fff\uff66-\uff9f]", text) else "en"


def read(text: str, language: str | None = None, base: Recipe | None = None) -> Reading:
    """Read a sentence.

    Args:
        text: A sentence in English or Japanese that says what to build or, with `base`, what to change.
        language: Language of messages, `en` or `ja`; `None`: the language of the text.
        base: Recipe that the sentence changes.

    Returns:
        The recipe, or the reason why there is none (`problem`) and the parts that were not understood (`spans`).
    """
    language = language or language_of(text)
    if not text.strip():
        return Reading(language, problem=error("empty", language))
    if len(text) > MAX_LENGTH:
        return Reading(language, problem=error("too_long", language, length=len(text), limit=MAX_LENGTH))
    reader = SentenceReader(tokenize(text), language)
    for word, chosen in reader.tokens.corrections:
        reader.notes.append(Message("corrected", say("corrected", language, word=word, chosen=chosen)))
    if reader.has("SMILES"):
        reader.take(reader.remaining_of("UNKNOWN"))
    unknown = [i for i in reader.remaining_of("UNKNOWN", "NEGATION", "IMPOSSIBLE") if _is_mentioned(reader, i)]
    try:
        if unknown:
            raise _not_understood(reader, unknown)
        steps = _steps(reader, base)
        left = [i for i in reader.remaining() if _matters(reader, i)]
        if left:
            raise _not_understood(reader, left)
        _refuse_unused(reader, {step["do"] for step in steps})
        recipe = Recipe.model_validate({"version": 1, "language": language, "steps": steps})
    except ValidationError as found:
        return Reading(language, notes=reader.notes, problem=invalid_recipe(found, language))
    except BuilderError as problem:
        wrong = unknown or [i for i in reader.remaining() if _matters(reader, i)]
        return Reading(language, spans=[_span(reader, i) for i in wrong], notes=reader.notes, problem=problem)
    return Reading(language, recipe, notes=reader.notes)


def _steps(reader: SentenceReader, base: Recipe | None) -> list[Any]:
    if base is None:
        read_number_of_atoms(reader)
    note_open_names(reader)
    read_yttria(reader)
    read_attributes(reader)
    for index in reader.remaining_of("SMILES"):
        reader.take(index)
    roles = read_roles(reader, base is not None)
    smiles = next((t.value for t in reader.items if t.kind == "SMILES"), None)
    if smiles is not None:
        if roles.hosts and "miller" in roles.hosts[0]:
            roles.adsorbates.insert(0, {"species": smiles, "index": 0})
        elif not roles.liquid:
            return [{"do": "molecule", "name": smiles}]
    if base is not None:
        return edited(reader, roles, base)
    return compose(reader, roles)


def _refuse_unused(reader: SentenceReader, kinds: set[str]) -> None:
    """Raise an error for values that no step of the recipe uses."""
    facts = reader.facts
    unused = sorted(set(facts.values) - facts.used - {"seed"})
    if facts.adsorbate_values and not kinds & {"adsorb", "place"}:
        unused += sorted({kind for kind, _, _ in facts.adsorbate_values if kind not in ("site", "near", "on")})
    if unused:
        names = ", ".join(name.replace("_", " ") for name in unused)
        raise error("no_place_for", reader.language, what=names, steps=", ".join(sorted(kinds)))


def _is_mentioned(reader: SentenceReader, index: int) -> bool:
    """Whether an unknown token has a meaning: one or two hiragana after a kanji are only the ending of a word."""
    token = reader.token(index)
    if token.kind != "UNKNOWN":
        return True
    plain = reader.tokens.normal.plain
    first, last = token.start, token.end
    covered = {t.start for t in reader.items if t.kind == "UNKNOWN"}
    while first - 1 in covered:
        first -= 1
    while last in covered:
        last += 1
    # 積んだ: kana after a kanji, not kana after a particle
    run = re.fullmatch(r"[\u3041-\u309f]{1,2}", plain[first:last])
    kanji = re.match(r"[\u4e00-\u9fff]", plain[first - 1 : first])
    ending = run and kanji and not set(run.group(0)) & {"ず", "ぬ"}
    return bool(re.search(r"\w", token.text) and not ending)


def _matters(reader: SentenceReader, index: int) -> bool:
    token = reader.token(index)
    if token.kind == "REDUCED":
        return not reader.has("VACANCY", "REMOVE")
    if token.kind == "TERM":
        return reader.word(index) not in ("exposed", "露出")
    if token.kind in ("NUM", "COUNT", "CELLS", "MOLECULES", "ATOMS"):
        return token.value != 1
    return token.kind not in HARMLESS and not (token.kind == "UNKNOWN" and not _is_mentioned(reader, index))


def _span(reader: SentenceReader, index: int) -> Span:
    token = reader.token(index)
    start, end = reader.tokens.normal.span(token.start, token.end)
    text = reader.tokens.normal.original[start:end]
    return Span(start, end, text, nearest_word(token.text) if token.kind == "UNKNOWN" else None)


def _not_understood(reader: SentenceReader, indices: list[int]) -> BuilderError:
    spans = [_span(reader, i) for i in indices]
    words = ", ".join(f"'{span.text}'" for span in spans[:5])
    near = next((span.suggestion for span in spans if span.suggestion), None)
    hint = say("hint_near", reader.language, near=near) if near else say("hint_can", reader.language)
    return error("not_understood", reader.language, words=words, hint=hint)
