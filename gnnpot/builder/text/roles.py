"""Roles: which substance is the crystal, the dopant, the adsorbate, the particle, the liquid, the film.

Words that say what is done (replace, dope, adsorb, remove, support) take the substances that stand at them; the substance
that is left is the host.
"""

import re
from dataclasses import dataclass, field
from typing import Any

from gnnpot.builder.messages import error
from gnnpot.builder.text.reader import Reader

AMOUNT = "ATOMW|OF|PCT|HALF|COUNT|NUM|ATOMS|WO|OUTERMOST|EQ|RANDOM|NEAR|SITEW|MOLW|VACANCY|EACH|SLAB|CELLS|APPROX"
MATERIAL = "MAT|POLYMORPH|MOL|SHEETMAT"


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
    sites: list[str] = field(default_factory=list)
    alloy: dict[str, float] | None = None
    #: the element whose sites the alloy is on, in a compound
    sublattice: str | None = None


def read_roles(reader: Reader, known: set[str]) -> Roles:
    """Apply the rules; `known` are the elements that an edited structure has."""
    roles = Roles()
    for rule in (_tube, _termination, _binding_target, _interstitial, _replace, _dope):
        rule(reader, roles)
    _vacancy(reader, roles, known)
    _particle(reader, roles)
    _alloy(reader, roles)
    _liquid(reader, roles)
    _adsorbates_and_hosts(reader, roles, known)
    return roles


def formula(reader: Reader, index: int) -> str:
    """The formula of a substance's token."""
    value = reader.value(index)
    return value[0] if isinstance(value, tuple) else str(value)


def is_element(text: str) -> bool:
    """Whether a formula is one symbol."""
    return re.fullmatch(r"[A-Z][a-z]?", text) is not None


def _amount(reader: Reader, indices: list[int]) -> dict[str, Any]:
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


def _widened(reader: Reader, indices: list[int], right: bool = True) -> list[int]:
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


def _tube(reader: Reader, roles: Roles) -> None:
    if not reader.has("NANOTUBE"):
        return
    chirals = reader.left("CHIRAL", "MILLER", "SIZE2")
    tube: dict[str, Any] = {"formula": "C"}
    for index in chirals:
        value = reader.value(index)
        if reader.token(index).kind == "CHIRAL":
            tube["n"], tube["m"] = value
            reader.take(index)
    for index in reader.left("MAT", "POLYMORPH"):
        tube["formula"] = formula(reader, index)
        reader.take(index)
    reader.take(reader.left("NANOTUBE", "MONO", "SUPERCELL"))
    roles.nanotube = tube


def _termination(reader: Reader, roles: Roles) -> None:
    for pattern in ("m:MAT OF? TERM", "TERM _ m:MAT", "m:MAT _ TERM"):
        match = reader.first(pattern)
        if match:
            roles.termination = formula(reader, match["m"])
            reader.take(match["all"])
            return


def _binding_target(reader: Reader, roles: Roles) -> None:
    """`on the Ti`, `Tiの直上`: the element of the surface that an adsorbate binds to."""
    if reader.has("PARTICLE"):
        return
    before = len(reader.facts.placed)
    for pattern in (
        "SUPERPOSE|TOPSITE OF? NUM? m:MAT ATOMW|SITEW|COMMA|DOT", "SUPERPOSE|TOPSITE OF? NUM? m:MAT $",
        "SUPERPOSE m:MAT LEN", "m:MAT ATOMW? OF? TOPSITE NI", "m:MAT ATOMW? SUPERPOSE NI? ADSORB|SUPPORTED|LEN|COMMA",
        "m:MAT ATOMW? SITEW NI", "IN OF? m:MAT ATOMW? SITEW", "ADSORB BY OF? m:MAT ATOMW? $",
        "m:MAT OF? TOPSITE _ ADSORB", "m:MAT SUPERPOSE $", "m:MAT ATOMW? SUPERPOSE $",
    ):  # fmt: skip
        for match in reader.find(pattern):
            index = match["m"]
            name = formula(reader, index)
            others = [i for i in reader.left("MAT", "MOL", "POLYMORPH") if i != index]
            following = index + 1 < len(reader.items) and reader.token(index + 1).kind == "MILLER"
            if is_element(name) and others and not following and _is_in_host(reader, name, index):
                reader.facts.placed.append(("on", name, index))
                if reader.token(match["all"][0]).kind == "TOPSITE" or any(
                    reader.token(i).kind == "TOPSITE" for i in match["all"]
                ):
                    reader.facts.placed.append(("site", "top", index))
                reader.take(
                    [i for i in match["all"] if reader.token(i).kind in ("MAT", "TOPSITE", "SUPERPOSE", "SITEW")]
                )
                if len(reader.facts.placed) - before:
                    return


def _is_in_host(reader: Reader, name: str, index: int) -> bool:
    """Whether another substance of the sentence has the element, or puts it there."""
    for i, token in enumerate(reader.items):
        if i != index and token.kind in ("MAT", "POLYMORPH"):
            text = token.value[0] if isinstance(token.value, tuple) else str(token.value)
            if name in re.findall(r"[A-Z][a-z]?", text):
                return True
    return False


def _interstitial(reader: Reader, roles: Roles) -> None:
    site = next((name for kind, name in (("OCTA", "octahedral"), ("TETRA", "tetrahedral")) if reader.left(kind)), None)
    for index in reader.left("SHAPE") if reader.left("INTERSTITIAL") else ():
        site = {"octahedron": "octahedral", "tetrahedron": "tetrahedral"}.get(reader.value(index), site)
        reader.take(index)
    if site is None and not reader.left("INTERSTITIAL"):
        return
    for pattern in (
        "n:NUM|COUNT? m:MAT ATOMW? INTERSTITIAL", "OCTA|TETRA _ n:NUM|COUNT? _ m:MAT ATOMW? _ n2:COUNT? _ INTERSTITIAL?",
        "INTERSTITIAL OF? n:NUM? m:MAT ATOMW?", "m:MAT ATOMW? WO n:COUNT? INTERSTITIAL", "INTERSTITIAL _ n:NUM? m:MAT ATOMW?",
        "n:NUM? m:MAT ATOMW? IN OF? OCTA|TETRA", "m:MAT ATOMW? WO? n:COUNT? _ OCTA|TETRA", "OCTA|TETRA _ m:MAT",
    ):  # fmt: skip
        match = reader.first(pattern)
        if match and is_element(formula(reader, match["m"])):
            indices = _widened(reader, match["all"])
            roles.interstitial = {"element": formula(reader, match["m"]), "site": site, **_amount(reader, indices)}
            reader.take([i for i in indices if reader.token(i).kind != "NEAR"])
            reader.take(reader.left("OCTA", "TETRA", "INTERSTITIAL"))
            return
    match = reader.first("m:MAT ATOMW? WO")
    if match and is_element(formula(reader, match["m"])) and len(reader.left("MAT", "POLYMORPH")) > 1:
        numbers = reader.left("COUNT")
        roles.interstitial = {"element": formula(reader, match["m"]), "site": site, **_amount(reader, numbers[:1])}
        reader.take([*match["all"], *numbers[:1], *reader.left("OCTA", "TETRA", "INTERSTITIAL")])


def _replace(reader: Reader, roles: Roles) -> None:
    """Host and dopant of each word for replacing."""
    glue = f"{AMOUNT}|NI|IN"
    patterns = (
        f"REPLACE g:{AMOUNT}|IN* x:MAT g2:{AMOUNT}|IN* b:BY|NI g3:{AMOUNT}* y:MAT",
        f"x:MAT g:{glue}* v:REPLACE b:BY|NI g2:{AMOUNT}* y:MAT",
        f"y:MAT g:{AMOUNT}* BY g2:{AMOUNT}* x:MAT g3:{AMOUNT}* WO g4:{AMOUNT}* REPLACE",
        f"x:MAT g:{AMOUNT}|NI|IN* y:MAT g2:{AMOUNT}* p:BY|NI|WO g3:{AMOUNT}* REPLACE",
        f"x:MAT g:{AMOUNT}* v:REPLACE g2:{AMOUNT}* y:MAT",
        f"x:MAT ATOMW? g:{AMOUNT}* WO g2:{AMOUNT}* y:MAT ATOMW? p:NI",
    )
    for number, pattern in enumerate(patterns):
        for match in reader.find(pattern):
            x, y = formula(reader, match["x"]), formula(reader, match["y"])
            if not is_element(y) or not is_element(x):
                continue
            if number == 5 and reader.has("ADSORB", "SUPPORTED"):
                continue
            if "v" in match and _reversed(reader, match):
                x, y = y, x
            indices = _widened(reader, match["all"])
            entry = {"element": x, "by": y, **_amount(reader, indices)}
            after = [i for i in reader.rest() if i > max(indices)][:3]
            if after and reader.token(after[0]).kind == "NEAR":
                entry["near"] = True
                indices.append(after[0])
            roles.substitutions.append(entry)
            keep = [i for i in indices if reader.token(i).kind == "VACANCY"]
            reader.take([i for i in indices if i not in keep])


def _reversed(reader: Reader, match: dict[str, Any]) -> bool:
    """`Al substituted for Mg`, `Al substituting Mg`: the dopant stands first."""
    verb = reader.word(match["v"])
    return (
        reader.word(match["b"]) == "for" and verb.startswith("substitut")
        if "b" in match
        else verb in ("replacing", "substituting")
    )


def _dope(reader: Reader, roles: Roles) -> None:
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
        f"DOPE b:BY g:{amount}* y:MAT", f"y:MAT g:{amount}|BY* DOPE", f"DOPE g:{amount}|BY* y:MAT", "y:MAT DOPE",
        f"y:MAT g:{amount}|RANDOM* REPLACE", f"REPLACE OF g:{amount}* y:MAT",
    ):  # fmt: skip
        for match in reader.find(pattern):
            name = formula(reader, match["y"])
            if not is_element(name):
                continue
            indices = _widened(reader, match["all"])
            entry = {"element": None, "by": name, **_amount(reader, indices)}
            reader.take([i for i in indices if reader.token(i).kind != "WO"])
            same = [s for s in roles.substitutions if s["by"] == name]
            if not same:
                roles.substitutions.append(entry)
            elif not {"number", "fraction"} & set(same[0]):
                same[0].update(_amount(reader, indices))
    _percent_of(reader, roles)
    for entry in roles.substitutions:
        if entry["element"] is None:
            match = reader.first("m:MAT OF? SITEW")
            if match and is_element(formula(reader, match["m"])):
                entry["element"] = formula(reader, match["m"])
                reader.take(match["all"])
        if not {"number", "fraction"} & set(entry) and len(reader.left("PCT")) == 1:
            entry.update(_amount(reader, reader.left("PCT")))
            reader.take(reader.left("PCT"))


def _percent_of(reader: Reader, roles: Roles) -> None:
    """`Cu with 1 % Zn`: a fraction of another element than the crystal's own."""
    if reader.has("PARTICLE", "CORESHELLW", "ALLOY"):
        return
    for pattern in ("p:PCT OF? y:MAT", "y:MAT OF|WO? p:PCT"):
        for match in reader.find(pattern):
            name = formula(reader, match["y"])
            others = [i for i in reader.left("MAT", "POLYMORPH") if i != match["y"]]
            following = reader.token(match["y"] + 1).kind if match["y"] + 1 < len(reader.items) else ""
            known = [s for s in roles.substitutions if s["by"] == name]
            if not is_element(name) or following in ("VACANCY", "REMOVE", "MILLER", "REPLACE") or not (others or known):
                continue
            if reader.has("REMOVE") or any(formula(reader, i) == name for i in others):
                continue
            entry = known[0] if known else {"element": None, "by": name}
            entry.update(_amount(reader, match["all"]))
            if not known:
                roles.substitutions.append(entry)
            reader.take(match["all"])


def _vacancy(reader: Reader, roles: Roles, known: set[str]) -> None:
    amount = f"{AMOUNT}|IN|FROM"
    patterns = (
        "m:MAT ATOMW? OF? v:VACANCY", f"v:VACANCY g:{amount}|IN|NI* m:MAT SITEW", "v:VACANCY OF m:MAT", "v:VACANCY",
        f"m:MAT ATOMW? g:{amount}* v:REMOVE", f"v:REMOVE g:{amount}* m:MAT ATOMW?",
    )  # fmt: skip
    for number, pattern in enumerate(patterns):
        for match in reader.find(pattern):
            name = formula(reader, match["m"]) if "m" in match else None
            if name is not None and not is_element(name):
                continue
            if (
                name is not None
                and len(reader.left("MAT", "POLYMORPH", "MOL", "SHEETMAT", "STRUCTURE")) == 1
                and not known
            ):
                # the only substance of the sentence is the crystal
                match["all"].remove(match["m"])
            indices = _widened(reader, match["all"])
            entry = {"element": name, **_amount(reader, indices)}
            if number < 4:
                before = [i for i in reader.rest() if i < min(indices)]
                if before and reader.token(before[-1]).kind in ("SUPERPOSE", "TOPSITE", "NEAR"):
                    reader.facts.placed.append(("near", "vacancy", indices[0]))
                    reader.take(before[-1])
                after = [i for i in reader.rest() if i > max(indices)][:1]
                on = after and reader.token(after[0]).kind in ("SUPERPOSE", "TOPSITE")
                if on and len(reader.left("MAT", "MOL")) > 1:
                    reader.facts.placed.append(("near", "vacancy", indices[0]))
            elif reader.left("SUPERPOSE", "TOPSITE") and re.search(
                r"その(?:上|位置|サイト|場所)|そこ", reader.tokens.normal.plain
            ):
                reader.facts.placed.append(("near", "vacancy", indices[0]))
            reader.take([i for i in indices if reader.token(i).kind != "SLAB"])
            if entry.pop("near", False):
                entry["near_dopant"] = True
            duplicate = [v for v in roles.vacancies if v["element"] == name and name is not None]
            if name is None and roles.vacancies:
                continue
            if not duplicate or "number" in entry:
                roles.vacancies.append(entry)
            if number >= 4:
                _further(reader, roles, max(indices))


def _further(reader: Reader, roles: Roles, last: int) -> None:
    """`remove one Na and one Cl`: further atoms after the first."""
    for match in reader.find("AND n:NUM|COUNT? m:MAT ATOMW?"):
        if match["all"][0] == last + 1 and is_element(formula(reader, match["m"])):
            roles.vacancies.append({"element": formula(reader, match["m"]), **_amount(reader, match["all"])})
            reader.take(match["all"])
            last = max(match["all"])


_PARTICLE_LEFT = {
    "MAT", "SLASH", "ALLOY", "OF", "RATIO", "COMPOSITION", "CORESHELL", "CORE", "SHELL", "AND", "CORESHELLW", "PCT",
    "RANDOM", "NUM", "COUNT", "ATOMS", "STRUCTURE", "EQ", "APPROX",
}  # fmt: skip
_PARTICLE_RIGHT = _PARTICLE_LEFT | {"COMMA", "BY", "ATOMW"}


def _particle(reader: Reader, roles: Roles) -> None:
    """Elements of a particle: those that stand before the word, or after it."""
    if not reader.has("PARTICLE", "CORESHELL", "CORESHELLW"):
        return
    words = reader.left("PARTICLE", "CORESHELLW", "CORESHELL")
    if not words:
        return
    rest = reader.rest()
    centre = reader.left("PARTICLE")[0] if reader.left("PARTICLE") else words[0]
    at = rest.index(centre)
    left: list[int] = []
    for index in reversed(rest[:at]):
        if reader.token(index).kind not in _PARTICLE_LEFT:
            break
        left.append(index)
    right: list[int] = []
    for place, index in enumerate(rest[at + 1 :], at + 1):
        following = reader.token(rest[place + 1]).kind if place + 1 < len(rest) else ""
        if reader.token(index).kind not in _PARTICLE_RIGHT or following == "MILLER":
            break
        right.append(index)
    left.reverse()
    named = [i for i in left if reader.token(i).kind in ("MAT", "CORESHELL", "COMPOSITION")]
    group = left + [centre] + right if not named or _belongs(reader, right) else [*left, centre]
    if not named:
        named = [i for i in right if reader.token(i).kind in ("MAT", "CORESHELL", "COMPOSITION")]
    roles.particle = _elements(reader, group, roles)
    reader.take([i for i in group if reader.token(i).kind not in ("COMMA", "AND", "OF", "BY")])
    for index in reader.left("COMPOSITION"):
        roles.particle["composition"] = reader.value(index)
        reader.take(index)
    for index in reader.left("RATIO"):
        names = list(roles.particle["composition"])
        if len(names) == 2:
            roles.particle["composition"] = dict(zip(names, reader.value(index), strict=True))
            reader.take(index)
    for match in reader.find("m:MAT OF? CORE|SHELL"):
        key = "core" if any(reader.token(i).kind == "CORE" for i in match["all"]) else "shell"
        roles.particle[key] = formula(reader, match["m"])
        reader.take(match["all"])
    if "core" in roles.particle and "shell" in roles.particle:
        roles.particle["arrangement"] = "core-shell"
        roles.particle["composition"] = {roles.particle["core"]: 1.0, roles.particle["shell"]: 1.0}
    reader.take(reader.left("PARTICLE", "CORE", "SHELL", "CORESHELLW"))


def _belongs(reader: Reader, right: list[int]) -> bool:
    """Whether what follows the word says more of the particle (a composition, core and shell)."""
    kinds = {reader.token(i).kind for i in right}
    return bool(kinds & {"COMPOSITION", "RATIO", "CORE", "SHELL", "CORESHELL"})


def _elements(reader: Reader, group: list[int], roles: Roles) -> dict[str, Any]:
    """Composition, core and shell of the tokens of a particle."""
    from pymatgen.core import Composition

    found: dict[str, Any] = {"composition": {}}
    named = [i for i in group if reader.token(i).kind in ("MAT", "POLYMORPH")]
    percents = [i for i in group if reader.token(i).kind == "PCT"]
    for place, index in enumerate(group):
        token = reader.token(index)
        following = [reader.token(i).kind for i in group[place + 1 : place + 3]]
        if token.kind == "CORESHELL":
            found["core"], found["shell"] = token.value
        elif token.kind == "COMPOSITION":
            found["composition"] = dict(token.value)
        elif token.kind == "STRUCTURE" and token.value in ("fcc", "bcc", "hcp"):
            found["lattice"] = token.value
        elif token.kind in ("NUM", "COUNT", "ATOMS") and token.value >= 4:
            found["atoms"] = int(token.value)
        elif token.kind == "MAT":
            if following[:1] == ["CORE"] or following == ["OF", "CORE"]:
                found["core"] = formula(reader, index)
            elif following[:1] == ["SHELL"] or following == ["OF", "SHELL"]:
                found["shell"] = formula(reader, index)
            elif not found["composition"] or len(named) > 1:
                counts = Composition(formula(reader, index)).as_dict()
                if len(counts) == 1 and sum(counts.values()) >= 4 and len(named) == 1:
                    found["atoms"] = int(sum(counts.values()))
                    counts = dict.fromkeys(counts, 1.0)
                found["composition"].update({k: float(v) for k, v in counts.items() if k not in found["composition"]})
    if len(percents) == 1 and len(named) == 2:
        share = reader.value(percents[0])
        nearest = min(named, key=lambda i: (i < percents[0], abs(i - percents[0])))
        names = [formula(reader, i) for i in named]
        own = formula(reader, nearest)
        found["composition"] = {n: share if n == own else 1 - share for n in names}
    return found


def _alloy(reader: Reader, roles: Roles) -> None:
    """A random alloy: `Pt/Rh alloy`, `Ni-20%Cr`, `CuとAuの3:1合金`."""
    if roles.particle is not None:
        return
    for index in reader.left("COMPOSITION"):
        roles.alloy = dict(reader.value(index))
        reader.take(index)
        named = [
            i for i in reader.left("MAT") if set(re.findall(r"[A-Z][a-z]?", formula(reader, i))) <= set(roles.alloy)
        ]
        reader.take([i for i in named if i + 1 >= len(reader.items) or reader.token(i + 1).kind != "MILLER"])
    if roles.alloy is None and reader.left("ALLOY", "RANDOM"):
        for match in reader.find("p:PCT OF? y:MAT"):
            share, guest = reader.value(match["p"]), formula(reader, match["y"])
            pairs = [
                i
                for i in reader.left("MAT")
                if i != match["y"] and guest in re.findall(r"[A-Z][a-z]?", formula(reader, i))
            ]
            names = re.findall(r"[A-Z][a-z]?", formula(reader, pairs[0])) if pairs else []
            if len(names) == 2:
                roles.alloy = {n: share if n == guest else 1 - share for n in names}
                reader.take([*match["all"], pairs[0]])
        for match in reader.find("y:MAT p:PCT"):
            share, guest = reader.value(match["p"]), formula(reader, match["y"])
            pairs = [i for i in reader.left("MAT") if i != match["y"] and formula(reader, i) != guest]
            if roles.alloy is None and len(pairs) == 1 and is_element(guest) and is_element(formula(reader, pairs[0])):
                if reader.items[match["p"] + 1 :] and reader.token(match["p"] + 1).kind == "MAT":
                    continue
                roles.alloy = {formula(reader, pairs[0]): 1 - share, guest: share}
                same = [i for i in reader.left("MAT") if formula(reader, i) in roles.alloy]
                reader.take([*match["all"], *same])
        for pattern in ("x:MAT SLASH|AND|OF? p:PCT y:MAT", "x:MAT p:PCT SLASH|AND|OF? y:MAT", "x:MAT SLASH|AND y:MAT"):
            match = reader.first(pattern) if roles.alloy is None else None
            if match is None:
                continue
            names = formula(reader, match["x"]), formula(reader, match["y"])
            if not (is_element(names[0]) and is_element(names[1])):
                continue
            share = reader.value(match["p"]) if "p" in match else 0.5
            if "p" in match and match["p"] > match["x"] + 1 or "p" not in match or pattern.startswith("x:MAT SLASH"):
                roles.alloy = {names[0]: 1 - share, names[1]: share}
            else:
                roles.alloy = {names[0]: share, names[1]: 1 - share}
            reader.take(match["all"])
            break
    ratios = reader.left("RATIO")
    if roles.alloy is not None and len(roles.alloy) == 2 and ratios:
        roles.alloy = dict(zip(roles.alloy, reader.value(ratios[0]), strict=True))
        reader.take(ratios[0])


def _liquid(reader: Reader, roles: Roles) -> None:
    """Molecules of a liquid: a box, or a layer on a surface."""
    words = reader.left("WATERFILM", "LIQUIDW", "BOX", "DISSOLVE", "FILL")
    is_liquid = (
        bool(words) or reader.facts.get("liquid_thickness") or reader.facts.get("density") or reader.facts.get("box")
    )
    surface = reader.has("MILLER", "SLAB")
    if not is_liquid or (
        surface and not reader.left("WATERFILM", "FILL", "LIQUIDW") and not reader.facts.get("liquid_thickness")
    ):
        return
    if reader.left("WATERFILM"):
        roles.liquid.append({"name": "H2O"})
    for index in reader.left("MOL", "MAT"):
        name = formula(reader, index)
        if reader.token(index).kind == "MAT" and surface and _is_host(reader, index):
            continue
        number = _count_near(reader, index)
        if reader.token(index).kind == "MAT" and not _is_molecule(name):
            if surface:
                continue
            roles.liquid += _ions(name, number or 1)
        elif any(e["name"] == name for e in roles.liquid):
            entry = next(e for e in roles.liquid if e["name"] == name)
            entry.update({"number": number} if number else {})
        else:
            roles.liquid.append({"name": name, **({"number": number} if number else {})})
        reader.take(index)
    for index in words:
        reader.take(index)
    for index in reader.left("MOLECULES"):
        if roles.liquid and "number" not in roles.liquid[0]:
            roles.liquid[0]["number"] = int(reader.value(index))
            reader.take(index)


def _is_host(reader: Reader, index: int) -> bool:
    following = [reader.token(i).kind for i in range(index + 1, min(index + 3, len(reader.items)))]
    return "MILLER" in following or "SLAB" in following[:1] or not _is_molecule(formula(reader, index))


def _is_molecule(name: str) -> bool:
    from gnnpot.builder.steps.molecule import identify

    return identify(name) is not None


def _ions(name: str, number: int) -> list[dict[str, Any]]:
    from pymatgen.core import Composition

    return [{"name": s, "number": int(n) * number} for s, n in Composition(name).as_dict().items()]


def _count_near(reader: Reader, index: int) -> int | None:
    """The number directly before or after a molecule, taken."""
    rest = reader.rest()
    place = rest.index(index)
    numbers = ("NUM", "COUNT", "MOLECULES", "ATOMS")
    skipped = ("MOLW", "OF", "WO", "ATOMW", "APPROX", "EACH", "NI", "STRUCTURE")
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


def _adsorbates_and_hosts(reader: Reader, roles: Roles, known: set[str]) -> None:
    """What is left: the host (at a lattice plane, a word for surface, a size) and what lies on it."""
    _merge_polymorphs(reader, roles)
    left = reader.left("MAT", "POLYMORPH", "MOL", "SHEETMAT")
    scores = {i: _host_score(reader, i) for i in left}
    interface = reader.has("INTERFACE") or sum(reader.token(i).kind == "MILLER" for i in range(len(reader.items))) > 1
    ranked = sorted(left, key=lambda i: (-scores[i], i))
    wanted = 0 if known and not (ranked and scores[ranked[0]] >= 4) else 2 if interface and not roles.particle else 1
    hosts = sorted(ranked[:wanted])
    surface = reader.has("MILLER", "SLAB") or bool(known) or any(reader.token(i).kind == "SHEETMAT" for i in left)
    for index in hosts:
        roles.hosts.append(_host(reader, index))
    for index in left:
        if index in hosts:
            continue
        if _said_before(reader, roles, index) or not surface:
            continue
        roles.adsorbates.append(_adsorbate(reader, index))
    for index in reader.left("STRUCTURE"):
        name = str(reader.value(index))
        around = [reader.token(i).kind for i in (index - 1, index + 1) if 0 <= i < len(reader.items)]
        alone = not {"MAT", "POLYMORPH", "ALLOY", "SUPERCELL", "SIZE3"} & set(around)
        target = roles.sites if name in ("fcc", "hcp") and roles.adsorbates and alone else roles.structures
        target.append(name)
        reader.take(index)


def _merge_polymorphs(reader: Reader, roles: Roles) -> None:
    """`SiC 4H`: a polymorph's name beside its formula."""
    for index in reader.left("POLYMORPH"):
        name, label = reader.value(index)
        if any(formula(reader, i) == name for i in reader.left("MAT")):
            roles.structures.append(label)
            reader.take(index)


def _said_before(reader: Reader, roles: Roles, index: int) -> bool:
    """A substance that was named before: a dopant with its number, a host again."""
    name = formula(reader, index)
    for entry in roles.substitutions:
        if entry["by"] == name and not {"number", "fraction"} & set(entry):
            number = _count_near(reader, index)
            if number:
                entry["number"] = number
                reader.take(index)
                return True
    if any(host["formula"] == name for host in roles.hosts):
        reader.take(index)
        return True
    return False


def _host_score(reader: Reader, index: int) -> float:
    """How much a substance's place looks like that of the crystal."""
    token = reader.token(index)
    score = {"MAT": 0.0, "POLYMORPH": 2.0, "SHEETMAT": 2.0, "MOL": -4.0}[token.kind]
    name = formula(reader, index)
    if not is_element(name) and not _is_molecule(name):
        score += 1.5
    if _is_molecule(name):
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
    if before[-1:] and before[-1] in ("SUPERPOSE", "SIZE3"):
        score += 1.0
    return score


def _host(reader: Reader, index: int) -> dict[str, Any]:
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
        remaining = reader.left("MILLER")
        earlier = [i for i in remaining if i < index]
        if earlier and not any(reader.token(i).kind in ("MAT", "POLYMORPH") for i in range(earlier[-1] + 1, index)):
            found["miller"] = reader.value(earlier[-1])
            reader.take(earlier[-1])
    return found


def _adsorbate(reader: Reader, index: int) -> dict[str, Any]:
    name = formula(reader, index)
    kinds = [reader.token(i).kind for i in range(index + 1, min(index + 3, len(reader.items)))]
    if name in ("H", "O", "N", "F", "Cl") and kinds[:1] == ["MOLW"]:
        name = f"{name}2"
    found: dict[str, Any] = {"species": name, "index": index}
    number = _count_near(reader, index)
    if number:
        found["number"] = number
    reader.take(index)
    return found
