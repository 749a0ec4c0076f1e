"""Roles: which substance is the crystal, the dopant, the adsorbate, the particle, the liquid, the film.

Words for an action (replace, dope, adsorb, remove, support) take the substances next to them. The substance that is
left is the host.
"""

import re
from typing import Any

from gnnpot.builder.steps.crystal import is_metal
from gnnpot.builder.text.defect_roles import dope, interstitial, on_site, replace, vacancy
from gnnpot.builder.text.liquid_roles import liquid
from gnnpot.builder.text.material_roles import alloy, particle
from gnnpot.builder.text.reader import SentenceReader
from gnnpot.builder.text.words import BY_STRUCTURE, Roles, count_near, formula, is_element, is_molecule

_ADATOM = re.compile("ad-?atom|adsorbate|吸着原子|吸着分子")


def read_roles(reader: SentenceReader, is_edit: bool) -> Roles:
    """Apply the rules for roles to a sentence. With `is_edit`, the sentence changes a structure."""
    roles = Roles()
    for index in reader.remaining_of("NVCENTER"):
        roles.substitutions.append({"element": "C", "by": "N", "number": 1})
        roles.vacancies.append({"element": "C", "number": 1, "near_dopant": True})
        reader.take(index)
    for rule in (_tube, _termination, on_site, _binding_target, interstitial):
        rule(reader, roles)
    replace(reader, roles, is_edit)
    dope(reader, roles)
    vacancy(reader, roles, is_edit)
    particle(reader, roles)
    alloy(reader, roles)
    liquid(reader, roles)
    _adsorbates_and_hosts(reader, roles, is_edit)
    return roles


def _tube(reader: SentenceReader, roles: Roles) -> None:
    if not reader.has("NANOTUBE"):
        return
    chirals = reader.remaining_of("CHIRAL", "MILLER", "SIZE2")
    tube: dict[str, Any] = {"formula": "C"}
    for index in chirals:
        value = reader.value(index)
        if reader.token(index).kind == "CHIRAL":
            tube["n"], tube["m"] = value
            reader.take(index)
    for index in reader.remaining_of("MAT", "POLYMORPH"):
        tube["formula"] = formula(reader, index)
        reader.take(index)
    reader.take(reader.remaining_of("NANOTUBE", "MONO", "SUPERCELL"))
    roles.nanotube = tube


def _termination(reader: SentenceReader, roles: Roles) -> None:
    for pattern in ("m:MAT OF? TERM", "TERM _ m:MAT", "m:MAT _ TERM"):
        match = reader.first(pattern)
        if match:
            roles.termination = formula(reader, match["m"])
            reader.take(match["all"])
            return
    for match in reader.find("OUTERMOST|TOPPOS LAYERW? OF? EQ m:MAT"):
        # 最表面はTiO2; the layer of an alloy is read in `_whole_layer`
        name = formula(reader, match["m"])
        symbols = re.findall(r"[A-Z][a-z]?", name)
        if not all(map(is_metal, symbols)) and all(_is_in_host(reader, s, match["m"]) for s in symbols):
            roles.termination = name
            reader.take(match["all"])
            return
    for match in reader.find("MILLER OF? m:MAT SLAB"):
        # 4H-SiC(0001) Si面
        name = formula(reader, match["m"])
        if is_element(name) and _is_in_host(reader, name, match["m"]):
            roles.termination = name
            reader.take(match["m"])
            return


def _binding_target(reader: SentenceReader, roles: Roles) -> None:
    """`on the Ti`, `Tiの直上`: the element of the surface that an adsorbate binds to."""
    if reader.has("PARTICLE", "DOPE") or (reader.remaining_of("PCT") and not reader.has("ADSORB")):
        return
    before = len(reader.facts.adsorbate_values)
    for pattern in (
        "SUPERPOSE|TOPSITE OF? NUM? m:MAT ATOMW|SITEW|COMMA|DOT", "SUPERPOSE|TOPSITE OF? NUM? m:MAT $",
        "SUPERPOSE m:MAT LEN", "SUPERPOSE OF? m:MAT OF STRUCTURE? MAT|POLYMORPH",
        "m:MAT ATOMW? OF? TOPSITE NI", "m:MAT ATOMW? SUPERPOSE NI? ADSORB|SUPPORTED|LEN|COMMA",
        "m:MAT ATOMW? SITEW NI", "IN OF? m:MAT ATOMW? SITEW", "ADSORB BY OF? m:MAT ATOMW? $",
        "m:MAT OF? TOPSITE _ ADSORB", "m:MAT SUPERPOSE $", "m:MAT ATOMW? SUPERPOSE $",
    ):  # fmt: skip
        for match in reader.find(pattern):
            index = match["m"]
            name = formula(reader, index)
            others = [i for i in reader.remaining_of("MAT", "MOL", "POLYMORPH", "STRUCTURE") if i != index]
            following = index + 1 < len(reader.items) and reader.token(index + 1).kind == "MILLER"
            if is_element(name) and others and not following and _is_in_host(reader, name, index):
                reader.facts.adsorbate_values.append(("on", name, index))
                if reader.token(match["all"][0]).kind == "TOPSITE" or any(
                    reader.token(i).kind == "TOPSITE" for i in match["all"]
                ):
                    reader.facts.adsorbate_values.append(("site", "top", index))
                reader.take(
                    [i for i in match["all"] if reader.token(i).kind in ("MAT", "TOPSITE", "SUPERPOSE", "SITEW")]
                )
                if len(reader.facts.adsorbate_values) - before:
                    return


def _is_in_host(reader: SentenceReader, name: str, index: int) -> bool:
    """Whether another substance, or a structure that stands for a substance, contains the element."""
    for i, token in enumerate(reader.items):
        if i != index and token.kind in ("MAT", "POLYMORPH"):
            text = token.value[0] if isinstance(token.value, tuple) else str(token.value)
            if name in re.findall(r"[A-Z][a-z]?", text):
                return True
        if token.kind == "STRUCTURE" and name in BY_STRUCTURE.get(token.value, ""):
            return True
    return False


def _adsorbates_and_hosts(reader: SentenceReader, roles: Roles, is_edit: bool) -> None:
    """Assign the substances that are left: the host (next to a plane, a word for surface, or a size) and adsorbates."""
    _merge_polymorphs(reader, roles)
    left = reader.remaining_of("MAT", "POLYMORPH", "MOL", "SHEETMAT")
    scores = {i: _host_score(reader, i) for i in left}
    interface = reader.has("INTERFACE") or sum(reader.token(i).kind == "MILLER" for i in range(len(reader.items))) > 1
    ranked = sorted(left, key=lambda i: (-scores[i], i))
    films = [i for i in left if reader.token(i).kind == "SHEETMAT"]
    if films and len(left) > len(films) and any(reader.token(i).kind == "MILLER" for i in range(len(reader.items))):
        interface = True
    interface = interface or _sheet_is_film(reader, left)
    interface = interface and not roles.liquid
    wanted = 0 if is_edit and not (ranked and scores[ranked[0]] >= 4) else 2 if interface and not roles.particle else 1
    named = any(reader.value(i) in BY_STRUCTURE for i in reader.remaining_of("STRUCTURE"))
    if named and ranked and scores[ranked[0]] < 0 and reader.has("MILLER"):
        # `rutile(110)` names the crystal by its structure
        wanted = 0
    if roles.alloy is not None and wanted == 1:
        # what has other elements than the alloy is no name of it
        ranked = [i for i in ranked if set(re.findall(r"[A-Z][a-z]?", formula(reader, i))) <= set(roles.alloy)]
    hosts = sorted(ranked[:wanted])
    surface = reader.has("MILLER", "SLAB") or is_edit or any(reader.token(i).kind == "SHEETMAT" for i in left)
    for index in hosts:
        if not any(host["formula"] == formula(reader, index) for host in roles.hosts) or not roles.liquid:
            roles.hosts.append(_host(reader, index))
    for index in left:
        if index in hosts:
            continue
        if _was_named_before(reader, roles, index) or not surface:
            continue
        if re.search(r"[1-6]c", reader.token(index).text):
            # Ti5c: an atom of the surface
            reader.facts.adsorbate_values.append(("on", formula(reader, index), index))
            reader.take(index)
            continue
        if not _small_particle(reader, roles, index):
            _add_adsorbate(roles, _adsorbate(reader, index))
    for index in reader.remaining_of("STRUCTURE"):
        name = str(reader.value(index))
        around = [reader.token(i).kind for i in (index - 1, index + 1) if 0 <= i < len(reader.items)]
        at_adsorbate = any(entry["index"] == index - 1 for entry in roles.adsorbates)
        alone = at_adsorbate or not {"MAT", "POLYMORPH", "ALLOY", "SUPERCELL", "SIZE3"} & set(around)
        if name in ("fcc", "hcp") and roles.adsorbates and alone:
            roles.sites.append((name, index))
        else:
            roles.structures.append(name)
        reader.take(index)
    for index in reader.remaining_of("ADSORB"):
        # an atom without a name, on a surface without another adsorbate
        if not (roles.adsorbates or roles.particle or roles.liquid) and _ADATOM.match(reader.word(index)):
            reader.reject(index)


def _sheet_is_film(reader: SentenceReader, left: list[int]) -> bool:
    """`graphene on h-BN`, `graphene on MoS2`, `Ni上にグラフェン`: whether a sheet lies on another crystal.

    Elements and molecules next to a sheet are adsorbates, unless the sheet is on them.
    """
    films = [i for i in left if reader.token(i).kind == "SHEETMAT"]
    names = {formula(reader, i) for i in left}
    crystals = {name for name in names if not is_element(name) and not is_molecule(name)}
    sheets = {formula(reader, i) for i in films}
    if films and len(crystals | sheets) > 1:
        return True
    pattern = "x:MAT SUPERPOSE NI? OF? y:SHEETMAT" if reader.language == "ja" else "y:SHEETMAT SUPERPOSE OF? x:MAT"
    return reader.first(pattern) is not None


def _merge_polymorphs(reader: SentenceReader, roles: Roles) -> None:
    """`SiC 4H`: read the name of a polymorph next to its formula."""
    for index in reader.remaining_of("POLYMORPH"):
        name, label = reader.value(index)
        if any(formula(reader, i) == name for i in reader.remaining_of("MAT")):
            roles.structures.append(label)
            reader.take(index)


def _small_particle(reader: SentenceReader, roles: Roles, index: int) -> bool:
    """`Pt13 on CeO2(111)`: read a metal with a number of atoms as a particle; return whether it is one."""
    match = re.fullmatch(r"([A-Z][a-z]?)(\d+)", formula(reader, index))
    if match is None or is_molecule(match.group(0)) or int(match.group(2)) < 2 or not is_metal(match.group(1)):
        return False
    roles.particle = {"composition": {match.group(1): 1.0}, "atoms": int(match.group(2))}
    reader.take(index)
    return True


def _was_named_before(reader: SentenceReader, roles: Roles, index: int) -> bool:
    """Whether a substance was named before, as a dopant (whose number may follow now) or as a host."""
    name = formula(reader, index)
    for entry in roles.substitutions:
        if entry["by"] == name and not {"number", "fraction"} & set(entry):
            number = count_near(reader, index)
            if number:
                entry["number"] = number
                reader.take(index)
                return True
    if [reader.token(i).kind for i in range(index + 1, len(reader.items))][:1] == ["ADSORB"]:
        # a Cu adatom on Cu(111)
        return False
    again = any(entry["by"] == name for entry in roles.substitutions) and not reader.has("ADSORB")
    if again or any(host["formula"] == name for host in roles.hosts):
        reader.take(index)
        return True
    return False


def _host_score(reader: SentenceReader, index: int) -> float:
    """Score for a substance being the crystal, from the tokens around it."""
    token = reader.token(index)
    score = {"MAT": 0.0, "POLYMORPH": 2.0, "SHEETMAT": 2.0, "MOL": -4.0}[token.kind]
    name = formula(reader, index)
    if not is_element(name) and not is_molecule(name):
        score += 1.5
    if is_molecule(name):
        score -= 2.0
    following = [reader.token(i).kind for i in range(index + 1, min(index + 4, len(reader.items)))]
    before = [reader.token(i).kind for i in range(max(0, index - 2), index)]
    for distance, kind in enumerate(following):
        if kind in ("MAT", "MOL", "COMMA", "DOT", "WO"):
            break
        weight = 1.0 if distance == 0 else 0.7
        score += weight * {"MILLER": 6.0, "SLAB": 4.0, "SIZE2": 2.0, "SIZE3": 3.0, "SUPERCELL": 2.0, "BULKW": 3.0}.get(
            kind, 0.0
        )
    if following[:1] and following[0] in ("ATOMW", "MOLW"):
        score -= 3.0
    if before[-1:] == ["STRUCTURE"]:
        score += 2.0
    if before[-1:] == ["SUPERPOSE"] and reader.language == "ja":
        # グラフェン上のLi
        score -= 3.0
    elif before[-1:] and before[-1] in ("SUPERPOSE", "SIZE3"):
        score += 1.0
    return score


def _host(reader: SentenceReader, index: int) -> dict[str, Any]:
    value = reader.value(index)
    found: dict[str, Any] = {"formula": formula(reader, index), "index": index, "kind": reader.token(index).kind}
    if isinstance(value, tuple):
        found["polymorph"] = value[1]
    reader.take(index)
    nearby = range(index + 1, min(index + 8, len(reader.items)))
    for place in nearby:
        kind = reader.token(place).kind
        if kind == "MILLER" and place not in reader.taken:
            found["miller"] = reader.value(place)
            reader.take(place)
            break
        if kind in ("MAT", "MOL", "DOT"):
            break
    if "miller" not in found:
        remaining = reader.remaining_of("MILLER")
        earlier = [i for i in remaining if i < index]
        if earlier and not any(reader.token(i).kind in ("MAT", "POLYMORPH") for i in range(earlier[-1] + 1, index)):
            found["miller"] = reader.value(earlier[-1])
            reader.take(earlier[-1])
    return found


def _add_adsorbate(roles: Roles, found: dict[str, Any]) -> None:
    """Add an adsorbate, or the number of one that was named before: `c(2x2)-O/Ni(100), O in the hollow`."""
    before = next((entry for entry in roles.adsorbates if entry["species"] == found["species"]), None)
    if before is None or ("number" in before and "number" in found):
        roles.adsorbates.append(found)
    elif "number" in found:
        before["number"] = found["number"]


def _adsorbate(reader: SentenceReader, index: int) -> dict[str, Any]:
    name = formula(reader, index)
    kinds = [reader.token(i).kind for i in range(index + 1, min(index + 3, len(reader.items)))]
    if name in ("H", "O", "N", "F", "Cl") and kinds[:1] == ["MOLW"]:
        name = f"{name}2"
    if re.fullmatch(r"[A-Z][a-z]?1", name):
        name = name[:-1]
    found: dict[str, Any] = {"species": name, "index": index}
    number = count_near(reader, index)
    if number:
        found["number"] = number
    reader.take(index)
    return found
