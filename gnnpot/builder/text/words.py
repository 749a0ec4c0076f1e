"""Shared code of the rules for roles: the result, formulas of tokens, and numbers next to them."""

import re
from dataclasses import dataclass, field
from typing import Any

from gnnpot.builder.messages import error
from gnnpot.builder.text.reader import SentenceReader

AMOUNT = "ATOMW|OF|PCT|HALF|COUNT|NUM|ATOMS|WO|OUTERMOST|EQ|RANDOM|NEAR|SITEW|MOLW|VACANCY|EACH|SLAB|CELLS|APPROX"


#: substance that the name of a structure alone stands for
BY_STRUCTURE = {
    "rutile": "TiO2", "anatase": "TiO2", "diamond": "C", "corundum": "Al2O3", "fluorite": "CaF2", "cuprite": "Cu2O",
    "spinel": "MgAl2O4", "zincblende": "ZnS", "wurtzite": "ZnS", "molybdenite": "MoS2", "perovskite": "CaTiO3",
    "rocksalt": "NaCl",
}  # fmt: skip


@dataclass
class Roles:
    """The roles of the substances of a sentence."""

    substitutions: list[dict[str, Any]] = field(default_factory=list)
    vacancies: list[dict[str, Any]] = field(default_factory=list)
    interstitial: dict[str, Any] | None = None
    particle: dict[str, Any] | None = None
    termination: str | None = None
    liquid: list[dict[str, Any]] = field(default_factory=list)
    adsorbates: list[dict[str, Any]] = field(default_factory=list)
    hosts: list[dict[str, Any]] = field(default_factory=list)
    nanotube: dict[str, Any] | None = None
    structures: list[str] = field(default_factory=list)
    #: `fcc` and `hcp` that do not describe a crystal, with their token indices
    sites: list[tuple[str, int]] = field(default_factory=list)
    alloy: dict[str, float] | None = None
    #: element of a compound whose sites the alloy occupies
    sublattice: str | None = None


def formula(reader: SentenceReader, index: int) -> str:
    """Return the formula of a token that names a substance."""
    value = reader.value(index)
    return value[0] if isinstance(value, tuple) else str(value)


def is_element(text: str) -> bool:
    """Whether a formula is a single symbol."""
    return re.fullmatch(r"[A-Z][a-z]?", text) is not None


def amount_of(reader: SentenceReader, indices: list[int]) -> dict[str, Any]:
    """Return the number or fraction among tokens, and where it applies."""
    found: dict[str, Any] = {}
    for index in indices:
        token = reader.token(index)
        if token.kind in ("COUNT", "NUM", "ATOMS") and "number" not in found:
            if token.value != int(token.value) or token.value < 1:
                raise error("bad_number", reader.language, what=token.text, value=f"{token.value:g}")
            found["number"] = int(token.value)
        elif token.kind == "PCT":
            if not 0 < token.value <= 1:
                raise error("percent_sum", reader.language, percent=f"{100 * token.value:g}")
            found["fraction"] = token.value
        elif token.kind == "HALF":
            found["fraction"] = 0.5
        elif token.kind == "OUTERMOST":
            found["where"] = "top"
        elif token.kind == "NEAR":
            found["near"] = True
    return found


def widened(reader: SentenceReader, indices: list[int], right: bool = True) -> list[int]:
    """Return the token indices of a match, extended by the amounts directly before and (with `right`) after it."""
    rest = reader.remaining()
    kinds = set(AMOUNT.split("|")) - {"EQ", "WO", "VACANCY"}
    first, last = rest.index(min(indices)), rest.index(max(indices))
    while first > 0 and reader.token(rest[first - 1]).kind in kinds and rest[first - 1] not in indices:
        first -= 1
    kinds.add("WO")
    while right and last + 1 < len(rest) and reader.token(rest[last + 1]).kind in kinds:
        last += 1
    return rest[first : last + 1]


def count_near(reader: SentenceReader, index: int) -> int | None:
    """Return the number directly before or after a molecule, and take its token."""
    rest = reader.remaining()
    place = rest.index(index)
    numbers = ("NUM", "COUNT", "MOLECULES", "ATOMS")
    skipped = ("MOLW", "OF", "WO", "ATOMW", "APPROX", "EACH", "NI", "STRUCTURE", "EQ")
    for direction in (-1, 1):
        at = place + direction
        while 0 <= at < len(rest) and reader.token(rest[at]).kind in skipped:
            at += direction
        if 0 <= at < len(rest) and reader.token(rest[at]).kind in numbers:
            token = reader.token(rest[at])
            if token.value != int(token.value):
                raise error("bad_number", reader.language, what=token.text, value=f"{token.value:g}")
            reader.take(rest[at])
            return int(token.value)
    return None


def is_molecule(name: str) -> bool:
    """Whether a name or formula is that of a molecule in the library."""
    from gnnpot.builder.steps.molecule import identify

    return identify(name) is not None
