"""Compounds by the oxidation state of the metal: `titanium(III) oxide`, `酸化鉄(II)`."""

import re

from gnnpot.builder.library import library
from gnnpot.builder.text.lexicon import lexicon

#: a name with the state in Roman numerals; the word for the anion follows in English and comes first in Japanese
NAME_WITH_STATE = re.compile(
    r"(?P<metal>(?<![A-Za-z])[A-Za-z]+)\s?\((?P<state>I{1,3}|IV|V|VI)\)\s(?P<anion>[a-z]+ide)(?![a-z])"
    r"|(?P<name>[\u30a0-\u30ff\u4e00-\u9fff]{1,3}化[\u30a0-\u30ff\u4e00-\u9fff]{1,8})\((?P<number>I{1,3}|IV|V|VI)\)"
)
_ROMAN = {"I": 1, "II": 2, "III": 3, "IV": 4, "V": 5, "VI": 6}
_CHARGES = {"O": 2, "S": 2, "Se": 2, "Te": 2, "N": 3, "F": 1, "Cl": 1, "Br": 1, "I": 1}


def compound_of_state(match: re.Match[str]) -> str | None:
    """Return the formula of the library's compound with the state; `None` if there is none."""
    exact = lexicon().get(match[0].lower())
    if exact is not None and exact[0] == "MAT":
        return str(exact[1])
    plain = match["name"] or f"{match['metal']} {match['anion']}"
    named = lexicon().get(plain.lower())
    if named is None or named[0] not in ("MAT", "MOL"):
        return None
    elements = set(_counts(str(named[1])))
    state = _ROMAN[match["state"] or match["number"]]
    known = [f for f in library().substances if set(_counts(f)) == elements and _state(f) == state]
    return known[0] if known else None


def _counts(formula: str) -> dict[str, int]:
    return {symbol: int(number or 1) for symbol, number in re.findall(r"([A-Z][a-z]?)(\d*)", formula)}


def _state(formula: str) -> float | None:
    """The mean oxidation state of the metal in a compound of two elements."""
    counts = _counts(formula)
    anions = [symbol for symbol in counts if symbol in _CHARGES]
    if len(counts) != 2 or len(anions) != 1:
        return None
    metal = next(symbol for symbol in counts if symbol not in anions)
    return _CHARGES[anions[0]] * counts[anions[0]] / counts[metal]
