"""Roles of substances in sentences about defects: dopant and host, vacancy, interstitial."""

import re
from typing import Any

from gnnpot.builder.steps.crystal import is_metal
from gnnpot.builder.text.reader import SentenceReader
from gnnpot.builder.text.words import AMOUNT, Roles, amount_of, formula, is_element, widened


def interstitial(reader: SentenceReader, roles: Roles) -> None:
    """Read which atoms are inserted between the sites of a crystal, and where."""
    site = next(
        (name for kind, name in (("OCTA", "octahedral"), ("TETRA", "tetrahedral")) if reader.remaining_of(kind)), None
    )
    for index in reader.remaining_of("SHAPE") if reader.remaining_of("INTERSTITIAL") else ():
        site = {"octahedron": "octahedral", "tetrahedron": "tetrahedral"}.get(reader.value(index), site)
        reader.take(index)
    if site is None and not reader.remaining_of("INTERSTITIAL"):
        return
    for match in reader.find("m:MAT ATOMW? WO h:MAT|POLYMORPH STRUCTURE? OF OCTA|TETRA _ n:COUNT?"):
        entry = {"element": formula(reader, match["m"]), "site": site, **amount_of(reader, match["all"])}
        roles.interstitial = entry
        reader.take([i for i in match["all"] if i != match["h"] and reader.token(i).kind != "STRUCTURE"])
        reader.take(reader.remaining_of("INTERSTITIAL"))
        return
    for pattern in (
        "n:NUM|COUNT? m:MAT ATOMW? INTERSTITIAL",
        "OCTA|TETRA _ n:NUM|COUNT? _ m:MAT ATOMW? _ n2:COUNT? _ INTERSTITIAL?",
        "INTERSTITIAL OF? n:NUM? m:MAT ATOMW?", "m:MAT ATOMW? WO n:COUNT? INTERSTITIAL",
        "INTERSTITIAL _ n:NUM? m:MAT ATOMW?",
        "n:NUM? m:MAT ATOMW? IN OF? OCTA|TETRA", "m:MAT ATOMW|ATOMS? WO? n:COUNT? _ OCTA|TETRA", "OCTA|TETRA _ m:MAT",
    ):  # fmt: skip
        found = reader.first(pattern)
        if found and is_element(formula(reader, found["m"])):
            match = found
            indices = widened(reader, match["all"])
            roles.interstitial = {"element": formula(reader, match["m"]), "site": site, **amount_of(reader, indices)}
            reader.take([i for i in indices if reader.token(i).kind != "NEAR"])
            reader.take(reader.remaining_of("OCTA", "TETRA", "INTERSTITIAL"))
            return
    last = reader.first("m:MAT ATOMW? WO")
    if last and is_element(formula(reader, last["m"])) and len(reader.remaining_of("MAT", "POLYMORPH")) > 1:
        numbers = reader.remaining_of("COUNT")
        roles.interstitial = {"element": formula(reader, last["m"]), "site": site, **amount_of(reader, numbers[:1])}
        reader.take([*last["all"], *numbers[:1], *reader.remaining_of("OCTA", "TETRA", "INTERSTITIAL")])


def on_site(reader: SentenceReader, roles: Roles) -> None:
    """`1 Mg on a Ga site`: read a dopant on the sites of an element of a crystal. On a surface, it is an adsorbate."""
    if reader.has("MILLER", "SLAB", "ADSORB", "SHEETMAT", "MONO", "PARTICLE"):
        return
    for match in reader.find("n:NUM|COUNT? y:MAT ATOMW? SUPERPOSE|IN NUM? x:MAT SITEW"):
        x, y = formula(reader, match["x"]), formula(reader, match["y"])
        if x != y and is_element(x) and is_element(y) and len(reader.remaining_of("MAT", "POLYMORPH")) > 2:
            own = [match["n"]] if "n" in match else []
            roles.substitutions.append({"element": x, "by": y, **amount_of(reader, own)})
            reader.take(match["all"])


def replace(reader: SentenceReader, roles: Roles, is_edit: bool) -> None:
    """Read the replaced element and the dopant for each word that means replace."""
    glue = f"{AMOUNT}|NI|IN"
    patterns = (
        f"REPLACE g:{AMOUNT}|IN* x:MAT g2:{AMOUNT}|IN* b:BY|NI g3:{AMOUNT}* y:MAT",
        f"x:MAT g:{glue}* v:REPLACE b:BY|NI g2:{AMOUNT}* y:MAT",
        f"y:MAT g:{AMOUNT}* BY g2:{AMOUNT}* x:MAT g3:{AMOUNT}* WO g4:{AMOUNT}* REPLACE",
        f"x:MAT g:{AMOUNT}|NI|IN* y:MAT g2:{AMOUNT}* p:BY|NI|WO g3:{AMOUNT}* REPLACE",
        f"x:MAT g:{AMOUNT}* v:REPLACE g2:{AMOUNT}* y:MAT",
        f"x:MAT ATOMW? g:{AMOUNT}* WO g2:{AMOUNT}* y:MAT ATOMW? p:NI",
    )
    # in Japanese the verb comes last
    order = (2, 3, 0, 1, 4, 5) if reader.language == "ja" else range(len(patterns))
    for number in order:
        for match in reader.find(patterns[number]):
            x, y = formula(reader, match["x"]), formula(reader, match["y"])
            if not is_element(y) or not is_element(x):
                continue
            if number == 5 and reader.has("ADSORB", "SUPPORTED"):
                continue
            swapped = "v" in match and _reversed(reader, match)
            if swapped:
                x, y = y, x
            indices = widened(reader, match["all"])
            entry = {"element": x, "by": y, **amount_of(reader, indices)}
            if not {"number", "fraction"} & set(entry) and any(_all_of(reader, match[k]) for k in ("x", "y")):
                entry["fraction"] = 1.0
            after = [i for i in reader.remaining() if i > max(indices)][:3]
            if after and reader.token(after[0]).kind == "NEAR":
                entry["near"] = True
                indices.append(after[0])
            roles.substitutions.append(entry)
            keep = [i for i in indices if reader.token(i).kind == "VACANCY"]
            substances = reader.remaining_of("MAT", "POLYMORPH", "MOL", "SHEETMAT", "STRUCTURE")
            if not is_edit and not set(substances) - {match["x"], match["y"]}:
                # the sentence names no other substance, so the replaced element is the crystal and is not taken
                keep.append(match["y" if swapped else "x"])
            reader.take([i for i in indices if i not in keep])


def _reversed(reader: SentenceReader, match: dict[str, Any]) -> bool:
    """`Al substituted for Mg`, `Al substituting Mg`, `Al-substituted Mg`: whether the dopant comes first."""
    verb = reader.word(match["v"])
    return (
        reader.word(match["b"]) == "for" and verb.startswith("substitut")
        if "b" in match
        else verb in ("replacing", "substituting", "substituted")
    )


def dope(reader: SentenceReader, roles: Roles) -> None:
    """Read which elements a crystal is doped with, and how much."""
    amount = "PCT|COUNT|NUM|ATOMS|ATOMW|OF|WO|APPROX"
    for match in reader.find("x:MAT AND|COMMA y:MAT DOPE"):
        names = [formula(reader, match[k]) for k in ("x", "y")]
        if all(map(is_element, names)):
            roles.substitutions += [{"element": None, "by": name} for name in names]
            reader.take(match["all"])
    for match in reader.find("DOPE BY x:MAT AND y:MAT"):
        roles.substitutions += [{"element": None, "by": formula(reader, match[k])} for k in ("x", "y")]
        reader.take(match["all"])
    for pattern in (
        f"w:DOPE g:{amount}* y:MAT", f"DOPE b:BY g:{amount}* y:MAT", f"y:MAT g:{amount}|BY* DOPE",
        f"DOPE g:{amount}|BY* y:MAT", "y:MAT DOPE",
        f"y:MAT g:{amount}|RANDOM* REPLACE",
        "y:MAT NI|BY REPLACE", f"REPLACE OF g:{amount}* y:MAT",
    ):  # fmt: skip
        for match in reader.find(pattern):
            name = formula(reader, match["y"])
            # `alloyed with`: the dopant comes after it
            if not is_element(name) or ("w" in match and not reader.word(match["w"]).endswith("with")):
                continue
            indices = widened(reader, match["all"])
            entry = {"element": None, "by": name, **amount_of(reader, indices)}
            reader.take([i for i in indices if reader.token(i).kind != "WO"])
            same = [s for s in roles.substitutions if s["by"] == name]
            if not same:
                roles.substitutions.append(entry)
            elif not {"number", "fraction"} & set(same[0]):
                same[0].update(amount_of(reader, indices))
    for match in reader.find("p:PCT OF? y:MAT SUPERPOSE|IN|BY x:MAT SITEW?"):
        x, y = formula(reader, match["x"]), formula(reader, match["y"])
        if is_element(x) and is_element(y) and len(reader.remaining_of("MAT", "POLYMORPH")) > 2:
            roles.substitutions.append({"element": x, "by": y, **amount_of(reader, [match["p"]])})
            reader.take(match["all"])
    _whole_layer(reader, roles)
    _percent_of(reader, roles)
    for entry in roles.substitutions:
        if entry["element"] is None:
            place = reader.first("m:MAT OF? SITEW")
            if place and is_element(formula(reader, place["m"])):
                entry["element"] = formula(reader, place["m"])
                reader.take(place["all"])
        if not {"number", "fraction"} & set(entry) and len(reader.remaining_of("PCT")) == 1:
            entry.update(amount_of(reader, reader.remaining_of("PCT")))
            reader.take(reader.remaining_of("PCT"))


def _whole_layer(reader: SentenceReader, roles: Roles) -> None:
    """`with the topmost layer replaced by Pt`, `最表面層をPtに置換`: replace all atoms of the top layer."""
    layer = "OUTERMOST|TOPPOS LAYERW?"
    for pattern in (
        f"{layer} OF? EQ? REPLACE BY|NI y:MAT",
        f"REPLACE {layer} BY|NI y:MAT",
        f"{layer} WO y:MAT NI|BY REPLACE?",
    ):
        for match in reader.find(pattern):
            name = formula(reader, match["y"])
            if is_element(name):
                roles.substitutions = [s for s in roles.substitutions if s["by"] != name]
                roles.substitutions.append({"element": None, "by": name, "fraction": 1.0, "where": "top"})
                reader.take(match["all"])
    for match in reader.find(f"{layer} OF? EQ y:MAT"):
        # of an alloy, the other elements of the layer are replaced; a compound has a termination
        name = formula(reader, match["y"])
        crystals = [formula(reader, i) for i in reader.remaining_of("MAT") if i != match["y"]]
        symbols = sorted(set(re.findall(r"[A-Z][a-z]?", crystals[0]))) if crystals else []
        if is_element(name) and symbols and all(map(is_metal, symbols)):
            others = [symbol for symbol in symbols if symbol != name]
            entry = {"by": name, "fraction": 1.0, "where": "top"}
            roles.substitutions += [{"element": other, **entry} for other in others]
            reader.take(match["all"])


def _percent_of(reader: SentenceReader, roles: Roles) -> None:
    """`Cu with 1 % Zn`: a fraction of an element that is not the crystal."""
    if reader.has("PARTICLE", "CORESHELLW", "ALLOY"):
        return
    for pattern in ("p:PCT OF? y:MAT", "y:MAT OF|WO? p:PCT"):
        for match in reader.find(pattern):
            name = formula(reader, match["y"])
            others = [i for i in reader.remaining_of("MAT", "POLYMORPH") if i != match["y"]]
            following = reader.token(match["y"] + 1).kind if match["y"] + 1 < len(reader.items) else ""
            known = [s for s in roles.substitutions if s["by"] == name]
            if not is_element(name) or following in ("VACANCY", "REMOVE", "MILLER", "REPLACE") or not (others or known):
                continue
            if reader.has("REMOVE") or any(formula(reader, i) == name for i in others):
                continue
            entry = known[0] if known else {"element": None, "by": name}
            entry.update(amount_of(reader, match["all"]))
            if not known:
                roles.substitutions.append(entry)
            reader.take(match["all"])


def vacancy(reader: SentenceReader, roles: Roles, is_edit: bool) -> None:
    """Read which atoms are removed, and how many."""
    amount = f"{AMOUNT}|IN|FROM"
    patterns = (
        "m:MAT ATOMW? OF? v:VACANCY", f"v:VACANCY g:{amount}|IN|NI* m:MAT SITEW", "v:VACANCY OF m:MAT", "v:VACANCY",
        f"m:MAT ATOMW? g:{amount}* v:REMOVE", f"v:REMOVE g:{amount}* m:MAT ATOMW?",
        "n:NUM|COUNT? ATOMW WO? n2:COUNT? v:REMOVE", "v:REMOVE n:NUM|COUNT|ATOMS ATOMW?", "n:ATOMS|COUNT WO? v:REMOVE",
    )  # fmt: skip
    _schottky(reader, roles)
    _vacancies_per_atom(reader, roles)
    _vacancies_of_two(reader, roles)
    for number, pattern in enumerate(patterns):
        for match in reader.find(pattern):
            name = formula(reader, match["m"]) if "m" in match else None
            if name is not None and not is_element(name):
                continue
            only = len(reader.remaining_of("MAT", "POLYMORPH", "MOL", "SHEETMAT", "STRUCTURE")) == 1
            if name is not None and only and not is_edit:
                # the only substance of the sentence is the crystal, which is not taken
                match["all"].remove(match["m"])
            indices = widened(reader, match["all"])
            entry = {"element": name, **amount_of(reader, indices)}
            if "m" in match and number >= 4 and _all_of(reader, match["m"]):
                entry = {"element": name, "fraction": 1.0}
            if number < 4:
                before = [i for i in reader.remaining() if i < min(indices)]
                if before and reader.token(before[-1]).kind in ("SUPERPOSE", "TOPSITE", "NEAR", "IN"):
                    reader.facts.adsorbate_values.append(("near", "vacancy", indices[0]))
                    reader.take(before[-1])
                after = [i for i in reader.remaining() if i > max(indices)][:1]
                on = after and reader.token(after[0]).kind in ("SUPERPOSE", "TOPSITE")
                if on and len(reader.remaining_of("MAT", "MOL")) > 1:
                    reader.facts.adsorbate_values.append(("near", "vacancy", indices[0]))
            if reader.remaining_of("MAT", "MOL") and re.search(
                r"その(?:上(?!の)|位置|サイト|場所)|そこ", reader.tokens.normal.plain
            ):
                reader.facts.adsorbate_values.append(("near", "vacancy", indices[0]))
            reader.take([i for i in indices if reader.token(i).kind != "SLAB"])
            if entry.pop("near", False):
                entry["near_dopant"] = True
            if any(reader.word(i) == "divacancy" for i in match["all"]):
                roles.vacancies.append({"element": name, "number": 1})
                entry = {"element": name, "number": 1, "where": "vacancy"}
                roles.vacancies.append(entry)
                continue
            duplicate = [v for v in roles.vacancies if v["element"] == name and name is not None]
            if name is None and roles.vacancies:
                if number < 4 and reader.remaining_of("MAT", "MOL") and reader.has("ADSORB", "MOL"):
                    reader.facts.adsorbate_values.append(("near", "vacancy", indices[0]))
                continue
            open_one = next((v for v in duplicate if not {"number", "fraction", "per"} & set(v)), None)
            if open_one is not None:
                # `O を1個除いて酸素空孔をつくる`: one vacancy that is mentioned twice
                open_one.update(entry)
            elif not duplicate or "number" in entry:
                roles.vacancies.append(entry)
            if number >= 4:
                _further(reader, roles, max(indices))


def _all_of(reader: SentenceReader, index: int) -> bool:
    """`remove all Li`, `Liをすべて取り除く`: whether all atoms are meant. Elsewhere, `all` is a filler."""
    word = re.escape(reader.token(index).text)
    english = rf"\b(?:all|every)\b(?:\s+(?:of|the))*\s+{word}"
    japanese = rf"(?:すべて|全て|全部|全)の?{word}|{word}(?:原子|イオン)?を?(?:すべて|全て|全部|完全に)"
    return re.search(f"{english}|{japanese}", reader.tokens.normal.plain, re.IGNORECASE) is not None


def _vacancies_per_atom(reader: SentenceReader, roles: Roles) -> None:
    """`two O vacancies per Y`: read a number of vacancies per dopant."""
    for pattern in (
        "n:NUM|COUNT? m:MAT ATOMW? VACANCY PER EACH? k:NUM? d:MAT ATOMW?",
        "d:MAT ATOMW? WO? k:COUNT|ATOMS? PER m:MAT ATOMW? VACANCY WO? n:COUNT?",
    ):  # fmt: skip
        for match in reader.find(pattern):
            every = [int(reader.value(match[key])) if key in match else 1 for key in ("n", "k")]
            per = (every[0], every[1], formula(reader, match["d"]))
            roles.vacancies.append({"element": formula(reader, match["m"]), "per": per})
            reader.take(match["all"])


def _vacancies_of_two(reader: SentenceReader, roles: Roles) -> None:
    """`one Na and one Cl removed`: read vacancies of two elements."""
    for pattern in ("x:MAT AND y:MAT WO n:COUNT? EACH? REMOVE", "n:NUM x:MAT AND? k:NUM y:MAT REMOVE"):
        for match in reader.find(pattern):
            names = [formula(reader, match[k]) for k in ("x", "y")]
            if all(map(is_element, names)):
                for element, key in zip(names, ("n", "k"), strict=True):
                    own = [match[key]] if "k" in match else match["all"]
                    roles.vacancies.append({"element": element, **amount_of(reader, own)})
                reader.take(match["all"])


def _schottky(reader: SentenceReader, roles: Roles) -> None:
    """A Schottky defect removes one formula unit of the crystal, unless the sentence names the atoms."""
    words = reader.remaining_of("SCHOTTKY")
    if not words:
        return
    before = [i for i in reader.remaining() if i < words[0]][-1:]
    reader.take([*words, *(i for i in before if reader.token(i).kind in ("NUM", "COUNT"))])
    if reader.has("REMOVE", "VACANCY"):
        return
    from pymatgen.core import Composition

    crystal = next(
        (formula(reader, i) for i in reader.remaining_of("MAT", "POLYMORPH") if not is_element(formula(reader, i))), ""
    )
    if crystal:
        counts = Composition(Composition(crystal).reduced_formula).as_dict()
        roles.vacancies += [{"element": name, "number": int(n)} for name, n in counts.items()]


def _further(reader: SentenceReader, roles: Roles, last: int) -> None:
    """`remove one Na and one Cl`: read further atoms after the first."""
    for match in reader.find("AND n:NUM|COUNT? m:MAT ATOMW?"):
        if match["all"][0] == last + 1 and is_element(formula(reader, match["m"])):
            roles.vacancies.append({"element": formula(reader, match["m"]), **amount_of(reader, match["all"])})
            reader.take(match["all"])
            last = max(match["all"])
