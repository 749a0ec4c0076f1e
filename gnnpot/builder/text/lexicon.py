"""The words of the grammar, from lexicon.yaml and the library, each with its kind and value.

Example::

    lexicon()["vacuum"]                          # ("VAC", None)
    longest_word("真空層15Å", 0)                  # ("VAC", None, 3)
"""

import re
from collections.abc import Iterable
from functools import lru_cache
from importlib import resources
from typing import Any

import yaml

from gnnpot.builder.library import library

#: Japanese counters: `CO2個` means two CO molecules
COUNTER = ("個", "つ", "コ")
_LATIN = re.compile(r"[A-Za-z0-9'µ]")


@lru_cache(maxsize=1)
def lexicon() -> dict[str, tuple[str, Any]]:
    """Return (kind, value) of every word in lower case.

    Words of the library have the kind `MAT`, `MOL`, `POLYMORPH`, `STRUCTURE` or `SHEETMAT`.
    """
    text = resources.files(__package__).joinpath("lexicon.yaml").read_text(encoding="utf-8")
    words: dict[str, tuple[str, Any]] = {}
    for kind, entry in yaml.load(text, Loader=yaml.BaseLoader).items():  # noqa: S506 - strings only
        given = entry["words"]
        pairs: Iterable[tuple[str, Any]] = (
            given.items() if isinstance(given, dict) else ((word, None) for word in given)
        )
        for word, value in pairs:
            words.setdefault(word.lower(), (kind, int(value) if kind == "MONO" else value))
    words.update(_library_words())
    for kind, names in (("MAT", library().substances), ("MOL", library().molecules)):
        for name in names:
            if len(name) > 2:
                words.setdefault(name.lower(), (kind, name))
    return words


def _library_words() -> dict[str, tuple[str, Any]]:
    known = library()
    words: dict[str, tuple[str, Any]] = {}
    for key, prototype in known.prototypes.items():
        for name in (key, *prototype["en"], *prototype["ja"]):
            words[name.lower()] = ("STRUCTURE", key)
    for system, system_names in _SYSTEM_WORDS.items():
        for name in system_names:
            words[name] = ("STRUCTURE", system)
    for formula, entry in known.substances.items():
        for name in (*entry.get("en", ()), *entry.get("ja", ())):
            words[name.lower()] = ("MAT", formula)
        for polymorph in entry["polymorphs"]:
            label = polymorph.get("name") or polymorph["prototype"]
            for name in (*polymorph.get("en", ()), *polymorph.get("ja", ())):
                words.setdefault(name.lower(), ("POLYMORPH", (formula, label)))
    for symbol, names in known.element_names.items():
        for name in names:
            words[name.lower()] = ("MAT", symbol)
    for key, entry in known.molecules.items():
        for name in (*entry["en"], *entry["ja"]):
            words[name.lower()] = ("MOL", key)
    for name, formula in _SHEETS.items():
        words[name] = ("SHEETMAT", formula)
    return words


_SYSTEM_WORDS = {
    "tetragonal": ("tetragonal", "正方晶", "t相"), "cubic": ("cubic", "立方晶"), "monoclinic": ("monoclinic",
    "単斜晶", "m相"),
    "orthorhombic": ("orthorhombic", "斜方晶", "直方晶"), "hexagonal": ("hexagonal", "六方晶"),
    "rhombohedral": ("rhombohedral", "菱面体晶", "三方晶", "trigonal"), "fcc": ("面心立方", "fcc構造"),
    "bcc": ("体心立方", "bcc構造"),
    "hcp": ("hcp構造", "六方最密構造"),
}  # fmt: skip
_SHEETS = {
    "graphene": "C", "グラフェン": "C", "silicene": "Si", "シリセン": "Si", "germanene": "Ge", "ゲルマネン": "Ge",
    "phosphorene": "P", "ホスホレン": "P", "フォスフォレン": "P", "グラフェンシート": "C", "graphene sheet": "C",
}  # fmt: skip


def longest_word(plain: str, position: int) -> tuple[str, Any, int] | None:
    """Return kind, value and length of the longest word at a position."""
    words = lexicon()
    lowered = plain[position : position + 40].lower()
    inside_latin = position > 0 and _LATIN.match(plain[position - 1]) and _LATIN.match(plain[position])
    if inside_latin and plain[position - 1].isalpha():
        return None
    for length in range(len(lowered), 0, -1):
        candidate = lowered[:length]
        found = words.get(candidate)
        if found is None:
            continue
        last, following = candidate[-1], lowered[length : length + 1]
        if _LATIN.match(last) and following and re.match(r"[A-Za-z]", following):
            continue
        if last.isdigit() and (following.isdigit() or following in COUNTER):
            continue
        exact = plain[position : position + length]
        if found[0] == "MOL" and exact.isalpha() and len(exact) <= 3 and exact.isascii() and exact != exact.upper():
            continue
        return found[0], found[1], length
    return None
