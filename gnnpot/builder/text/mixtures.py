"""Formulas of alloys, of mixed compounds (In0.25Ga0.75N) and of compounds of which atoms are missing (Li0.5CoO2)."""

import math
import re

from ase.data import atomic_masses, atomic_numbers

from gnnpot.builder.library import library
from gnnpot.builder.messages import say
from gnnpot.builder.state import Message
from gnnpot.builder.text.reader import SentenceReader
from gnnpot.builder.text.words import Roles

__all__ = ["alloy_host", "majority", "note_ratio", "read_weight_percents"]

#: words with which a ratio is one of atoms
_OF_ATOMS = re.compile(
    r"at\.?\s?%|mol\.?\s?%|atomic|molar|原子(?:数)?(?:比|\s?%)|モル比|equi|等モル|等量|半々|fifty|half"
)
_WEIGHT_PERCENT = re.compile("wt|重量|質量|mass", re.IGNORECASE)


def alloy_host(reader: SentenceReader, roles: Roles, formula: str) -> str:
    """Return the majority element of an alloy, the parent compound of a mixed or deficient compound, else the formula.

    A formula of metals is an alloy if the sentence says so or the library does not have it.
    """
    from pymatgen.core import Composition

    from gnnpot.builder.steps.crystal import is_metal

    if not re.fullmatch(r"(?:[A-Z][a-z]?\d*\.?\d*)+", formula):
        return formula
    counts = Composition(formula).as_dict()
    known = library().key(formula) is not None
    lacking = None if known else _deficient(counts)
    if lacking is not None:
        roles.vacancies.append({"element": lacking[1], "fraction": lacking[2]})
        return lacking[0]
    fractional = reader.has("ALLOY", "RANDOM") or any(n != int(n) for n in counts.values())
    parent = _mixed(counts) if fractional and not known else None
    if parent is not None:
        roles.alloy, roles.sublattice = parent[1], parent[2]
        return parent[0]
    metals = len(counts) > 1 and all(is_metal(symbol) for symbol in counts)
    if metals and (reader.has("ALLOY", "RANDOM") or reader.remaining_of("RATIO") or library().key(formula) is None):
        roles.alloy = {symbol: float(n) for symbol, n in counts.items()}
        for index in reader.remaining_of("RATIO"):
            if len(counts) == 2:
                roles.alloy = dict(zip(counts, reader.value(index), strict=True))
            if len(counts) == 2 or (reader.word(index)[:4] in ("equi", "等モル") and len(set(counts.values())) == 1):
                reader.take(index)
        roles.alloy = note_ratio(reader, roles.alloy)
        return majority(roles.alloy)
    return formula


def read_weight_percents(reader: SentenceReader) -> None:
    """Read wt% of an alloy or particle as a share, which `note_ratio` converts to one of atoms."""
    if reader.has("ALLOY", "RANDOM", "PARTICLE"):
        for index in reader.remaining_of("WTPCT"):
            reader.set_value(index, reader.value(index), "PCT")


def note_ratio(reader: SentenceReader, composition: dict[str, float]) -> dict[str, float]:
    """Return a composition as numbers of atoms; notes say of which kind the ratio of the sentence is."""
    shares = [t for t in reader.items if t.kind == "PCT" and any(_is_close(t.value, n) for n in composition.values())]
    if not shares and not reader.has("RATIO", "COMPOSITION"):
        return composition
    scale = 100 if math.isclose(sum(composition.values()), 1.0) else 1
    names, ratio = ":".join(composition), ":".join(f"{scale * n:.6g}" for n in composition.values())
    weights = reader.remaining_of("WEIGHT")
    if weights or any(_WEIGHT_PERCENT.search(t.text) for t in shares):
        numbers = {symbol: n / atomic_masses[atomic_numbers[symbol]] for symbol, n in composition.items()}
        total = sum(numbers.values())
        composition = {symbol: round(100 * n / total, 3) for symbol, n in numbers.items()}
        percent = ":".join(f"{n:.1f}" for n in composition.values())
        text = say("ratio_of_weight", reader.language, names=names, ratio=ratio, percent=percent)
        reader.notes.append(Message("ratio_of_weight", text))
        reader.take(weights)
    elif len(set(composition.values())) > 1 and not _OF_ATOMS.search(reader.tokens.normal.plain.lower()):
        text = say("ratio_of_atoms", reader.language, names=names, ratio=ratio)
        reader.notes.append(Message("ratio_of_atoms", text))
    return composition


def _is_close(first: float, second: float) -> bool:
    return math.isclose(first, second, abs_tol=1e-9)


def majority(composition: dict[str, float]) -> str:
    """Return the most frequent element of a composition."""
    return max(composition, key=lambda symbol: composition[symbol])


def _deficient(counts: dict[str, float]) -> tuple[str, str, float] | None:
    """The compound of which some atoms are missing (Li0.5CoO2): (formula, element, fraction that is missing)."""
    open_ones = [symbol for symbol, n in counts.items() if n != int(n)]
    if len(open_ones) != 1 or len(counts) < 2:
        return None
    symbol = open_ones[0]
    whole = math.ceil(counts[symbol])
    key = library().key("".join(f"{s}{whole if s == symbol else n:g}" for s, n in counts.items()))
    return None if key is None else (key, symbol, 1 - counts[symbol] / whole)


def _mixed(counts: dict[str, float]) -> tuple[str, dict[str, float], str] | None:
    """Parent compound of a mixed compound (In0.25Ga0.75N): (formula, composition of the sublattice, its element)."""
    for guest, few in counts.items():
        for host, many in counts.items():
            if guest == host or few > many + 1e-9:
                continue
            merged = {s: n for s, n in counts.items() if s != guest}
            merged[host] += few
            key = library().key("".join(f"{s}{n:g}" for s, n in merged.items()))
            # Li0.5CoO2 is not Co1.5O2
            if key is not None and len(merged) > 1 and abs(merged[host] - round(merged[host])) < 1e-3:
                total = merged[host]
                return key, {host: many / total, guest: few / total}, host
    return None
