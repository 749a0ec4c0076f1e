"""Roles of substances in particles and alloys."""

import re
from typing import Any

from gnnpot.builder.messages import error, say
from gnnpot.builder.state import Message
from gnnpot.builder.steps.crystal import is_metal
from gnnpot.builder.text.mixtures import note_ratio, read_weight_percents
from gnnpot.builder.text.reader import SentenceReader
from gnnpot.builder.text.words import Roles, formula, is_element

_PARTICLE_LEFT = {
    "MAT", "SLASH", "ALLOY", "OF", "RATIO", "COMPOSITION", "CORESHELL", "CORE", "SHELL", "AND", "CORESHELLW", "PCT",
    "RANDOM", "NUM", "COUNT", "ATOMS", "STRUCTURE", "EQ", "APPROX",
}  # fmt: skip


_PARTICLE_RIGHT = _PARTICLE_LEFT | {"COMMA", "BY", "ATOMW"}


def particle(reader: SentenceReader, roles: Roles) -> None:
    """Read the elements of a particle, which stand before or after the word for it."""
    if not reader.has("PARTICLE", "CORESHELL", "CORESHELLW"):
        return
    read_weight_percents(reader)
    sides: dict[str, Any] = {}
    for match in reader.find("n:NUM SHELL LAYERW"):
        sides["shell_layers"] = int(reader.value(match["n"]))
        reader.take([match["n"], match["all"][-1]])
    for match in reader.find("k:CORE|SHELL EQ|OF m:MAT"):
        sides[reader.token(match["k"]).kind.lower()] = formula(reader, match["m"])
        reader.take(match["all"])
    words = reader.remaining_of("PARTICLE", "CORESHELLW", "CORESHELL")
    if not words:
        return
    rest = reader.remaining()
    centre = reader.remaining_of("PARTICLE")[0] if reader.remaining_of("PARTICLE") else words[0]
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
    group = [*left, centre, *right] if not named or _belongs(reader, right) else [*left, centre]
    if not named:
        named = [i for i in right if reader.token(i).kind in ("MAT", "CORESHELL", "COMPOSITION")]
    roles.particle = {**_elements(reader, group, roles), **sides}
    # a number of something else than its atoms, as of particles, stays unread
    known = (1, roles.particle.get("atoms"))
    others = [i for i in group if reader.token(i).kind in ("NUM", "COUNT") and reader.value(i) not in known]
    reader.take([i for i in group if reader.token(i).kind not in ("COMMA", "AND", "OF", "BY") and i not in others])
    for index in reader.remaining_of("COMPOSITION"):
        roles.particle["composition"] = reader.value(index)
        reader.take(index)
    for index in reader.remaining_of("RATIO"):
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
    elif len(roles.particle["composition"]) > 1:
        roles.particle["composition"] = note_ratio(reader, roles.particle["composition"])
    reader.take(reader.remaining_of("PARTICLE", "CORE", "SHELL", "CORESHELLW"))


def _belongs(reader: SentenceReader, right: list[int]) -> bool:
    """Whether the tokens after the word describe the particle (a composition, core and shell)."""
    kinds = {reader.token(i).kind for i in right}
    return bool(kinds & {"COMPOSITION", "RATIO", "CORE", "SHELL", "CORESHELL"})


def _elements(reader: SentenceReader, group: list[int], roles: Roles) -> dict[str, Any]:
    """Composition, core and shell from the tokens of a particle."""
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


def alloy(reader: SentenceReader, roles: Roles) -> None:
    """Read a random alloy: `Pt/Rh alloy`, `Ni-20%Cr`, `CuとAuの3:1合金`."""
    if roles.particle is not None:
        return
    read_weight_percents(reader)
    _take_repeated_elements(reader)
    for index in reader.remaining_of("COMPOSITION"):
        roles.alloy = dict(reader.value(index))
        reader.take(index)
        named = _made_of(reader, roles.alloy)
        reader.take([i for i in named if i + 1 >= len(reader.items) or reader.token(i + 1).kind != "MILLER"])
    if roles.alloy is None and reader.remaining_of("ALLOY"):
        _solid_solution(reader)
    if roles.alloy is None and reader.remaining_of("ALLOY", "RANDOM"):
        shares = [m for pattern in ("y:MAT p:PCT", "p:PCT OF? y:MAT") for m in reader.find(pattern)]
        given: dict[str, float] = {formula(reader, m["y"]): reader.value(m["p"]) for m in shares}
        if len(given) > 2 and abs(sum(given.values()) - 1) < 0.02:
            roles.alloy = given
            reader.take([i for m in shares for i in m["all"]])
            reader.take(_made_of(reader, given))
        for match in reader.find("p:PCT OF? y:MAT"):
            share, guest = reader.value(match["p"]), formula(reader, match["y"])
            pairs = [
                i
                for i in reader.remaining_of("MAT")
                if i != match["y"] and guest in re.findall(r"[A-Z][a-z]?", formula(reader, i))
            ]
            names = re.findall(r"[A-Z][a-z]?", formula(reader, pairs[0])) if pairs else []
            if len(names) == 2:
                roles.alloy = {n: share if n == guest else 1 - share for n in names}
                reader.take([*match["all"], pairs[0]])
        for match in reader.find("y:MAT p:PCT"):
            share, guest = reader.value(match["p"]), formula(reader, match["y"])
            pairs = [i for i in reader.remaining_of("MAT") if i != match["y"] and formula(reader, i) != guest]
            if roles.alloy is None and len(pairs) == 1 and is_element(guest) and is_element(formula(reader, pairs[0])):
                if reader.items[match["p"] + 1 :] and reader.token(match["p"] + 1).kind == "MAT":
                    continue
                roles.alloy = {formula(reader, pairs[0]): 1 - share, guest: share}
                same = [i for i in reader.remaining_of("MAT") if formula(reader, i) in roles.alloy]
                reader.take([*match["all"], *same])
        if roles.alloy is None:
            _pair(reader, roles)
    ratios = reader.remaining_of("RATIO")
    if roles.alloy is not None and len(roles.alloy) == 2 and ratios:
        roles.alloy = dict(zip(roles.alloy, reader.value(ratios[0]), strict=True))
        reader.take(ratios[0])
    if roles.alloy is not None:
        roles.alloy = note_ratio(reader, roles.alloy)


def _pair(reader: SentenceReader, roles: Roles) -> None:
    """Two elements next to each other, perhaps with the share of one: `Ni-20%Cr`, `CuとAu`, `Cu-Ni alloy`.

    Raises:
        BuilderError: More than two metals are listed without a ratio.
    """
    for pattern in (
        "x:MAT SLASH|AND|OF? p:PCT y:MAT", "x:MAT p:PCT SLASH|AND|OF? y:MAT", "x:MAT SLASH|AND y:MAT",
        "x:MAT y:MAT ALLOY", "x:MAT y:MAT RATIO ALLOY", "ALLOY OF? x:MAT y:MAT",
    ):  # fmt: skip
        found = reader.first(pattern)
        if found is None:
            continue
        several = [formula(reader, i) for i in _chain(reader, found["x"])]
        if "p" not in found and reader.has("ALLOY") and len(several) > 2 and all(map(is_metal, several)):
            raise error("alloy_ratio", reader.language, names=":".join(several), ones=":".join("1" * len(several)))
        first, second = formula(reader, found["x"]), formula(reader, found["y"])
        if not (is_element(first) and is_element(second)):
            continue
        share = reader.value(found["p"]) if "p" in found else 0.5
        # the percentage belongs to the element after it in `Ni-20%Cr`, to the element before it in `Ni 80% Cr`
        before = "p" in found and found["p"] == found["x"] + 1 and not pattern.startswith("x:MAT SLASH")
        roles.alloy = {first: share, second: 1 - share} if before else {first: 1 - share, second: share}
        reader.take(found["all"])
        if "p" not in found and not reader.remaining_of("RATIO"):
            text = say("alloy_equal", reader.language, names=":".join(roles.alloy))
            reader.notes.append(Message("alloy_equal", text))
        return


def _chain(reader: SentenceReader, index: int) -> list[int]:
    """Indices of the elements that are listed with a substance: three in `Fe-Cr-Ni alloy` and in `Fe, Cr and Ni`."""
    found = [index]
    for direction in (-1, 1):
        place = index + direction
        while 0 <= place < len(reader.items):
            if reader.token(place).kind == "MAT" and is_element(formula(reader, place)):
                found.append(place)
            elif reader.token(place).kind not in ("COMMA", "AND", "SLASH"):
                break
            place += direction
    return sorted(found)


def _solid_solution(reader: SentenceReader) -> None:
    """`solid solution of NaCl and KCl`: combine two compounds that differ in one element to one mixed compound."""
    from pymatgen.core import Composition

    for match in reader.find("x:MAT AND|SLASH|OF? y:MAT"):
        names = [formula(reader, match[k]) for k in ("x", "y")]
        if any(is_element(name) or not re.fullmatch(r"(?:[A-Z][a-z]?\d*)+", name) for name in names):
            continue
        first, second = (Composition(name).as_dict() for name in names)
        own, other = sorted(set(first) - set(second)), sorted(set(second) - set(first))
        same = all(first[s] == second[s] for s in set(first) & set(second))
        if len(own) != 1 or len(other) != 1 or not same or first[own[0]] != second[other[0]]:
            continue
        ratios, percents = reader.remaining_of("RATIO"), reader.remaining_of("PCT")
        shares = [0.5, 0.5]
        if ratios:
            shares = list(reader.value(ratios[0]))
            reader.take(ratios[0])
        elif len(percents) == 1:
            share = reader.value(percents[0])
            shares = [share, 1 - share] if percents[0] < match["y"] else [1 - share, share]
            reader.take(percents[0])
        total, count = sum(shares), first[own[0]]
        mixed = {own[0]: count * shares[0] / total, other[0]: count * shares[1] / total}
        counts = {**mixed, **{s: first[s] for s in set(first) & set(second)}}
        reader.set_value(match["x"], "".join(f"{s}{counts[s]:.6g}" for s in sorted(counts)))
        reader.take(match["all"][1:])
        return


def _made_of(reader: SentenceReader, elements: dict[str, float]) -> list[int]:
    """Indices of the remaining substances that have no other elements than these."""
    return [
        i for i in reader.remaining_of("MAT") if set(re.findall(r"[A-Z][a-z]?", formula(reader, i))) <= set(elements)
    ]


def _take_repeated_elements(reader: SentenceReader) -> None:
    """`In0.25Ga0.75As, In and Ga at random`: take elements of the formula that are named again."""
    mixed = [i for i in reader.remaining_of("MAT") if "." in formula(reader, i)]
    if len(mixed) == 1:
        names = re.findall(r"[A-Z][a-z]?", formula(reader, mixed[0]))
        reader.take([i for i in reader.remaining_of("MAT") if formula(reader, i) in names])
