"""Roles of substances in liquids: molecules and ions of a box, or of a layer on a surface."""

import re
from typing import Any

from gnnpot.builder.messages import error
from gnnpot.builder.steps.crystal import is_metal
from gnnpot.builder.steps.solvent import DENSITIES
from gnnpot.builder.text.reader import SentenceReader
from gnnpot.builder.text.words import Roles, count_near, formula, is_element, is_molecule

HALOGENS = ("F", "Cl", "Br", "I")
#: smallest number of molecules that are a liquid without a word for it
FEWEST = 8


def liquid(reader: SentenceReader, roles: Roles) -> None:
    """Read the molecules of a liquid, in a box or as a layer on a surface."""
    if _one_molecule(reader):
        return
    words = reader.remaining_of("WATERFILM", "LIQUIDW", "BRINE", "BOX", "DISSOLVE", "FILL")
    is_liquid = (
        bool(words)
        or _is_solution(reader)
        or reader.facts.get("liquid_thickness")
        or reader.facts.get("density")
        or reader.facts.get("box")
    )
    surface = reader.has("MILLER", "SLAB")
    if surface and reader.has("INTERFACE") and any(reader.value(i) in DENSITIES for i in reader.remaining_of("MOL")):
        # `Au(111)/water interface`
        reader.take(reader.remaining_of("INTERFACE", "SLASH", "AND"))
    elif not is_liquid or (
        surface and not reader.remaining_of("WATERFILM", "FILL", "LIQUIDW") and not reader.facts.get("liquid_thickness")
    ):
        return
    if reader.remaining_of("WATERFILM"):
        roles.liquid.append({"name": "H2O"})
    unnumbered: list[str] = []
    for index in reader.remaining_of("MOL", "MAT"):
        name = formula(reader, index)
        if reader.token(index).kind == "MAT" and surface and _is_host(reader, index):
            continue
        number = count_near(reader, index)
        if reader.token(index).kind == "MAT" and not is_molecule(name):
            if surface:
                continue
            if number and name in unnumbered:
                # `KCl solution, 2 KCl`
                unnumbered.remove(name)
                own = _ions(reader, name, 1)
                roles.liquid = [entry for entry in roles.liquid if entry not in own]
            unnumbered += [] if number else [name]
            roles.liquid += _ions(reader, name, number or 1)
        elif any(e["name"] == name for e in roles.liquid):
            entry = next(e for e in roles.liquid if e["name"] == name)
            entry.update({"number": number} if number else {})
        else:
            roles.liquid.append({"name": name, **({"number": number} if number else {})})
        reader.take(index)
    for index in words:
        reader.take(index)
    for index in reader.remaining_of("MOLECULES"):
        if roles.liquid and "number" not in roles.liquid[0]:
            roles.liquid[0]["number"] = int(reader.value(index))
            reader.take(index)
    _only_atoms(reader, roles, unnumbered)
    _aqueous(reader, roles)
    if reader.has("BRINE") and len(roles.liquid) < 3:
        raise error("how_many_molecules", reader.language)
    numbered = [entry["number"] for entry in roles.liquid if "number" in entry]
    if len(numbered) == 1 and reader.has("EACH"):
        for entry in roles.liquid:
            entry["number"] = numbered[0]


def _is_solution(reader: SentenceReader) -> bool:
    """`64 H2O with 2 Na+ and 2 Cl-`: molecules in numbers of a box, and atoms, each with a number, in no other role."""
    others = {
        "MILLER", "SLAB", "SIZE2", "SIZE3", "SUPERCELL", "BULKW", "STRUCTURE", "POLYMORPH", "SHEETMAT", "MONO",
        "SHEETW", "ADSORB", "REPLACE", "DOPE", "VACANCY", "REMOVE", "INTERSTITIAL", "OCTA", "TETRA", "PARTICLE",
        "CORESHELL", "CORESHELLW", "NANOTUBE", "ALLOY", "RATIO", "COMPOSITION", "PCT", "INTERFACE", "SUPERPOSE",
        "LATTICE", "SITEW", "MPID", "FILE", "SMILES",
    }  # fmt: skip
    if reader.has(*others):
        return False
    numbers = [
        reader.value(match["n"])
        for pattern in ("n:NUM m:MOL|MAT", "m:MOL|MAT MOLW? OF? WO? n:MOLECULES|COUNT", "n:MOLECULES OF m:MOL|MAT")
        for match in reader.find(pattern)
        if is_molecule(formula(reader, match["m"])) and not is_element(formula(reader, match["m"]))
    ]
    return max(numbers, default=0) >= FEWEST


def _only_atoms(reader: SentenceReader, roles: Roles, unnumbered: list[str]) -> None:
    """`liquid sodium`: the number of atoms of an element is open; one ion is meant only in a solvent."""
    if not unnumbered or any(not is_element(entry["name"]) for entry in roles.liquid):
        return
    if len(roles.liquid) > 1:
        raise error("how_many_molecules", reader.language)
    del roles.liquid[0]["number"]
    for index in reader.remaining_of("ATOMS"):
        roles.liquid[0]["number"] = int(reader.value(index))
        reader.take(index)


def _aqueous(reader: SentenceReader, roles: Roles) -> None:
    """`メタノール水溶液`: water belongs to the liquid, also where the sentence does not name it."""
    named = re.search(
        r"水溶液|食塩水|塩水|brine|salt ?water|salt solution|\baqueous\b", reader.tokens.normal.plain, re.IGNORECASE
    )
    if not named or any(entry["name"] == "H2O" for entry in roles.liquid):
        return
    if any("number" not in entry for entry in roles.liquid):
        raise error("how_many_molecules", reader.language)
    roles.liquid.append({"name": "H2O"})


def _one_molecule(reader: SentenceReader) -> bool:
    """`benzene molecule in a 15 Å box`: whether one molecule is meant; no word or number asks for a liquid."""
    words = {reader.word(i) for i in reader.remaining_of("MOLW")}
    many = reader.remaining_of(
        "WATERFILM", "LIQUIDW", "DISSOLVE", "FILL", "MOLECULES", "COUNT", "NUM", "MILLER", "SLAB"
    )
    one = words & {"molecule", "孤立分子", "単分子"}
    if "分子" in words and not any(reader.value(i) in DENSITIES for i in reader.remaining_of("MOL")):
        # 二酸化炭素分子を箱に: no liquid at room temperature
        one.add("分子")
    return bool(one and reader.has("BOX") and not many and reader.facts.get("density") is None)


def _is_host(reader: SentenceReader, index: int) -> bool:
    following = [reader.token(i).kind for i in range(index + 1, min(index + 3, len(reader.items)))]
    return "MILLER" in following or "SLAB" in following[:1] or not is_molecule(formula(reader, index))


def _ions(reader: SentenceReader, name: str, number: int) -> list[dict[str, Any]]:
    """Single atoms of a salt of a metal and a halogen, or of an element.

    Raises:
        BuilderError: The substance has ions of several atoms, or is no salt.
    """
    from pymatgen.core import Composition

    symbols = re.findall(r"[A-Z][a-z]?", name)
    if len(symbols) > 1 and not all(is_metal(s) or s in HALOGENS for s in symbols):
        raise error("no_ions", reader.language, name=name)
    return [{"name": s, "number": int(n) * number} for s, n in Composition(name).as_dict().items()]
