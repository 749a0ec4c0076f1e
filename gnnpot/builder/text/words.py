"""What the rules for roles share: the result, formulas of tokens, numbers that stand beside them."""

import re
from dataclasses import dataclass, field
from typing import Any

from gnnpot.builder.messages import error
from gnnpot.builder.text.reader import SentenceReader

AMOUNT = "ATOMW|OF|PCT|HALF|COUNT|NUM|ATOMS|WO|OUTERMOST|EQ|RANDOM|NEAR|SITEW|MOLW|VACANCY|EACH|SLAB|CELLS|APPROX"


#: what a structure's name alone means
BY_STRUCTURE = {
    "rutile": "TiO2", "anatase": "TiO2", "diamond": "C", "corundum": "Al2O3", "fluorite": "CaF2", "cuprite": "Cu2O",
    "spinel": "MgAl2O4", "zincblende": "ZnS", "wurtzite": "ZnS", "molybdenite": "MoS2", "perovskite": "CaTiO3",
    "rocksalt": "NaCl",
}  # fmt: skip


@dataclass
class Roles:
    """What each substance of a sentence does."""

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
    #: `fcc` and `hcp` that do not stand at a crystal
    sites: list[tuple[str, int]] = field(default_factory=list)
    alloy: dict[str, float] | None = None
    #: the element whose sites the alloy is on, in a compound
    sublattice: str | None = None


def formula(reader: SentenceReader, index: int) -> str:
    """The formula of a substance's token."""
    value = reader.value(index)
    return value[0] if isinstance(value, tuple) else str(value)


def is_element(text: str) -> bool:
    """Whether a formula is one symbol."""
    return re.fullmatch(r"[A-Z][a-z]?", text) is not None


def amount_of(reader: SentenceReader, indices: list[int]) -> dict[str, Any]:
    """Number or fraction among tokens, and where."""
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
    """A match with the amounts that stand directly before and after it."""
    rest = reader.rest()
    kinds = set(AMOUNT.split("|")) - {"EQ", "WO", "VACANCY"}
    first, last = rest.index(min(indices)), rest.index(max(indices))
    while first > 0 and reader.token(rest[first - 1]).kind in kinds and rest[first - 1] not in indices:
        first -= 1
    kinds.add("WO")
    while right and last + 1 < len(rest) and reader.token(rest[last + 1]).kind in kinds:
        last += 1
    return rest[first : last + 1]


def count_near(reader: SentenceReader, index: int) -> int | None:
    """The number directly before or after a molecule, taken."""
    rest = reader.rest()
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
    """Whether a name is that of a molecule that can be built."""
    from gnnpot.builder.steps.molecule import identify

    return identify(name) is not None
