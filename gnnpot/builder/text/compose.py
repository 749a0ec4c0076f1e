"""Composes the steps of a recipe from the attributes and roles of a sentence."""

import re
from typing import Any

from gnnpot.builder.library import library
from gnnpot.builder.messages import error, say
from gnnpot.builder.state import Message
from gnnpot.builder.text.changes import change_steps, particle_step, seed_of, solvent_step
from gnnpot.builder.text.mixtures import alloy_host, majority
from gnnpot.builder.text.reader import SentenceReader
from gnnpot.builder.text.sizes import (
    fit_number_of_atoms,
    read_lone_number_of_atoms,
    room_for_fractions,
    vacancies_per_dopant,
)
from gnnpot.builder.text.words import BY_STRUCTURE, Roles, is_element, is_molecule
from gnnpot.builder.text.yttria import yttria_steps

#: plane of a surface, by prototype, if the sentence does not give a plane
USUAL_PLANE = {
    "fcc": (1, 1, 1), "bcc": (1, 1, 0), "hcp": (0, 0, 0, 1), "diamond": (1, 1, 1), "rutile": (1, 1, 0),
    "anatase": (1, 0, 1),
    "rocksalt": (1, 0, 0), "fluorite": (1, 1, 1), "corundum": (0, 0, 0, 1), "perovskite": (0, 0, 1),
    "wurtzite": (1, 0, -1, 0),
    "zincblende": (1, 1, 0), "spinel": (1, 1, 1), "molybdenite": (0, 0, 0, 1), "cadmium iodide": (0, 0, 0, 1),
    "tetradymite": (0, 0, 0, 1),
}  # fmt: skip
HEXAGONAL = ("hcp", "corundum", "wurtzite", "molybdenite", "cadmium iodide", "tetradymite", "delafossite-like")
ALLOY_REPEAT = (3, 3, 3)
#: of a dichalcogenide's sheet, by the prototype that the lexicon reads `1T` and `2H` as
PHASES = {"cadmium iodide": "1T", "molybdenite": "2H"}


def compose(reader: SentenceReader, roles: Roles) -> list[dict[str, Any]]:
    """Return the steps that build a new structure."""
    if roles.nanotube is not None:
        return [_tube(reader, roles), *change_steps(reader, roles)]
    if roles.particle is not None and not roles.hosts:
        step = _free_particle(reader, roles)
        roles.particle = None
        return [step, *change_steps(reader, roles)]
    if len(roles.hosts) == 2:
        return [*_interface(reader, roles), *change_steps(reader, roles)]
    if not roles.hosts and not roles.structures and roles.liquid:
        step = solvent_step(reader, roles)
        roles.liquid = []
        return [step, *change_steps(reader, roles)]
    _host_by_structure(reader, roles)
    files = _file_or_identifier(reader)
    if not roles.hosts and files is None and roles.alloy is None:
        raise error("nothing_named", reader.language)
    if files is None and roles.alloy is None and _sheet_wanted(reader, roles):
        return [_sheet(reader, roles), *change_steps(reader, roles)]
    if files is None and roles.alloy is None and _molecule_wanted(reader, roles):
        return _molecule(reader, roles)
    steps = [files or _bulk(reader, roles)]
    if files is None and not reader.has("MILLER", "SLAB"):
        read_lone_number_of_atoms(reader)
        _number_in_formula(reader, roles)
    steps += _cell_steps(reader, roles)
    steps = yttria_steps(reader, roles, fit_number_of_atoms(reader, steps))
    following = change_steps(reader, roles)
    if files is None:
        steps = room_for_fractions(reader, steps, following)
    _lone_length(reader, steps)
    return vacancies_per_dopant(reader, [*steps, *following])


def _number_in_formula(reader: SentenceReader, roles: Roles) -> None:
    """`Al32`: the number of atoms of the cell, where no other size is given."""
    match = re.fullmatch(r"([A-Z][a-z]?)(\d+)", roles.hosts[0]["formula"]) if roles.hosts else None
    given = {"repeat", "min_length", "number_of_atoms"} & set(reader.facts.values)
    if match is not None and not is_molecule(match[0]) and not given and int(match[2]) > 1:
        reader.facts.values["number_of_atoms"] = int(match[2])


def _lone_length(reader: SentenceReader, steps: list[dict[str, Any]]) -> None:
    """`Pd(100) 5L 3x3 15A`: a single length without a word is the vacuum of the slab; a note says so."""
    slab = next((step for step in steps if step["do"] == "slab"), None)
    lone = reader.remaining_of("LEN")
    if slab is None or "vacuum" in slab or len(lone) != 1 or reader.remaining_of("HEIGHT"):
        return
    slab["vacuum"] = float(reader.value(lone[0]))
    text = say("length_vacuum", reader.language, word=reader.token(lone[0]).text)
    reader.notes.append(Message("length_vacuum", text))
    reader.take(lone[0])


def _host_by_structure(reader: SentenceReader, roles: Roles) -> None:
    """`anatase(101)`: the name of a structure that stands for a substance."""
    if roles.hosts or not roles.structures or roles.alloy is not None:
        return
    for name in roles.structures:
        if name in BY_STRUCTURE:
            host = {"formula": BY_STRUCTURE[name], "polymorph": name, "index": -1, "kind": "MAT"}
            for index in reader.remaining_of("MILLER")[:1]:
                host["miller"] = reader.value(index)
                reader.take(index)
            roles.hosts.append(host)
            return


def _file_or_identifier(reader: SentenceReader) -> dict[str, Any] | None:
    for index in reader.remaining_of("MPID"):
        reader.take(index)
        return {"do": "bulk", "mp_id": reader.value(index).lower()}
    for index in reader.remaining_of("FILE"):
        reader.take(index)
        return {"do": "bulk", "file": reader.value(index)}
    return None


def _structure(reader: SentenceReader, roles: Roles, formula: str) -> str | None:
    """The polymorph that a sentence gives for a formula."""
    host = roles.hosts[0] if roles.hosts else {}
    if "polymorph" in host:
        return host["polymorph"]
    known = [name for name in roles.structures if library().find(formula, name)]
    entries = [library().find(formula, name) for name in known]
    if any(entry is not entries[0] for entry in entries):
        what = {"en": "the polymorph", "ja": "多形"}[reader.language]
        raise error("contradiction", reader.language, what=what, first=known[0], second=known[-1])
    return next(iter([*known, *roles.structures]), None)


def _bulk(reader: SentenceReader, roles: Roles) -> dict[str, Any]:
    facts = reader.facts
    formula = majority(roles.alloy) if roles.alloy else alloy_host(reader, roles, roles.hosts[0]["formula"])
    if roles.hosts and roles.hosts[0]["index"] >= 0 and reader.word(roles.hosts[0]["index"]).endswith("+"):
        raise error("ion_alone", reader.language, word=reader.token(roles.hosts[0]["index"]).text)
    if roles.hosts and roles.hosts[0]["kind"] == "MOL" and formula not in library().substances:
        raise error("no_substance", reader.language, name=formula, hint="")
    if formula in library().molecules and re.fullmatch(r"[A-Z][a-z]?\d+", formula):
        # C60, which has the composition of diamond
        raise error("no_substance", reader.language, name=formula, hint="")
    step: dict[str, Any] = {"do": "bulk", "formula": formula}
    polymorph = _structure(reader, roles, formula)
    if polymorph is not None:
        step["polymorph"] = polymorph
    if facts.get("lattice"):
        step["lattice"] = facts.get("lattice")
    if facts.get("primitive"):
        step["cell"] = "primitive"
    return step


def _cell_steps(reader: SentenceReader, roles: Roles) -> list[dict[str, Any]]:
    """Steps for the slab or supercell and for a random alloy."""
    facts = reader.facts
    host = roles.hosts[0] if roles.hosts else {}
    miller = host.get("miller")
    if miller is None and reader.remaining_of("MILLER"):
        index = reader.remaining_of("MILLER")[0]
        miller = reader.value(index)
        reader.take(index)
    repeat = facts.get("repeat")
    _refuse_letter_plane(reader, roles)
    surface = miller is not None or reader.has("SLAB", "OUTERMOST") or roles.adsorbates or roles.particle
    steps: list[dict[str, Any]] = []
    if surface and not (reader.has("BULKW") and miller is None):
        steps.append(_slab(reader, roles, miller or _usual_plane(reader, roles)))
    elif repeat is not None:
        steps.append({"do": "supercell", "repeat": repeat if len(repeat) == 3 else (*repeat, 1)})
    elif facts.get("min_length") is not None:
        steps.append({"do": "supercell", "min_length": facts.get("min_length")})
    elif roles.alloy is not None and reader.facts.get("number_of_atoms") is None:
        steps.append({"do": "supercell", "repeat": ALLOY_REPEAT})
        text = say("alloy_cells", reader.language, repeat="×".join(map(str, ALLOY_REPEAT)))
        reader.notes.append(Message("alloy_cells", text))
    if roles.alloy is not None:
        sublattice = {} if roles.sublattice is None else {"sublattice": roles.sublattice}
        steps.append({"do": "alloy", "composition": roles.alloy, **sublattice, **seed_of(reader)})
    return steps


def _refuse_letter_plane(reader: SentenceReader, roles: Roles) -> None:
    """a-, m- and r-planes are those of hexagonal crystals; in other crystals, the letters mean other planes."""
    letter = next((t for t in reader.items if t.kind == "MILLER" and t.text[:1].lower() in ("a", "m", "r")), None)
    if letter is None or not roles.hosts:
        return
    name = roles.hosts[0]["formula"]
    crystal = library().crystal(name, _structure(reader, roles, name))
    if crystal is not None and not 143 <= crystal.spacegroup <= 194:
        raise error("letter_plane", reader.language, word=letter.text)


def _usual_plane(reader: SentenceReader, roles: Roles) -> tuple[int, ...]:
    formula = majority(roles.alloy) if roles.alloy else roles.hosts[0]["formula"]
    entry = library().find(formula, _structure(reader, roles, formula))
    plane = USUAL_PLANE.get(entry.get("prototype", ""), (0, 0, 1)) if entry else (0, 0, 1)
    text = say("whole_surface", reader.language, miller="".join(map(str, plane)))
    reader.notes.append(Message("whole_surface", text))
    return plane


def _slab(reader: SentenceReader, roles: Roles, miller: tuple[int, ...]) -> dict[str, Any]:
    facts = reader.facts
    step: dict[str, Any] = {"do": "slab", "miller": miller}
    repeat, layers = facts.get("repeat"), facts.get("layers")
    if repeat is not None:
        step["repeat"] = tuple(repeat[:2])
        if len(repeat) == 3 and layers is None and repeat[2] > 1:
            layers = [repeat[2]]
    if layers is not None:
        step["layers"] = layers[0]
    for name, field in (
        ("thickness", "thickness"),
        ("vacuum", "vacuum"),
        ("matrix", "matrix"),
        ("orthogonal", "orthogonal"),
    ):
        if facts.get(name) is not None:
            step[field] = facts.get(name)
    if roles.termination is not None:
        step["termination"] = roles.termination
    return step


def _free_particle(reader: SentenceReader, roles: Roles) -> dict[str, Any]:
    step = particle_step(reader, roles)
    margin = reader.facts.get("margin") or reader.facts.get("vacuum")
    if margin is not None:
        step["vacuum"] = margin
    elif reader.facts.get("edge") is not None:
        step["box"] = reader.facts.get("edge")
    return step


def _tube(reader: SentenceReader, roles: Roles) -> dict[str, Any]:
    facts = reader.facts
    tube = dict(roles.nanotube or {})
    edge = re.search("(zigzag|ジグザグ)|armchair|アームチェア", reader.tokens.normal.plain, re.IGNORECASE)
    zigzag = edge is not None and edge[1] is not None
    if "n" not in tube:
        tube |= {"n": 10, "m": 0} if zigzag else {"n": 6, "m": 6}
        reader.notes.append(Message("chirality", say("chirality", reader.language, n=tube["n"], m=tube["m"])))
    fits = 0 in (tube["n"], tube["m"]) if zigzag else tube["n"] == tube["m"]
    if edge is not None and not fits:
        what = {"en": "the chirality", "ja": "カイラリティ"}[reader.language]
        raise error("contradiction", reader.language, what=what, first=edge[0], second=f"({tube['n']},{tube['m']})")
    step: dict[str, Any] = {"do": "nanotube", **tube}
    repeat = facts.get("repeat")
    if facts.get("cells") is not None:
        step["cells"] = facts.get("cells")
    elif repeat is not None and len(repeat) == 3:
        step["cells"] = repeat[2]
    if facts.get("tube_length") is not None:
        step["length"] = facts.get("tube_length")
    if facts.get("vacuum") is not None:
        step["vacuum"] = facts.get("vacuum")
    return step


def _sheet_wanted(reader: SentenceReader, roles: Roles) -> bool:
    host = roles.hosts[0] if roles.hosts else {}
    if host.get("kind") == "SHEETMAT":
        return True
    return (
        bool(host) and "miller" not in host and (reader.facts.get("sheet_layers") is not None or reader.has("SHEETW"))
    )


def _sheet(reader: SentenceReader, roles: Roles) -> dict[str, Any]:
    facts, host = reader.facts, roles.hosts[0]
    step: dict[str, Any] = {"do": "sheet", "formula": host["formula"]}
    repeat = facts.get("repeat")
    if repeat is not None:
        step["repeat"] = tuple(repeat[:2])
    layers = facts.get("sheet_layers") or (facts.get("layers") or [1])[0]
    if layers != 1:
        step["layers"] = layers
    named = (PHASES.get(name or "", name or "") for name in (host.get("polymorph"), *roles.structures))
    phase = next((name.upper() for name in named if name.upper() in ("1T", "2H")), None)
    for name, value in (("phase", phase), ("stacking", facts.get("stacking")), ("vacuum", facts.get("vacuum")),
                        ("lattice", facts.get("lattice")), ("orthogonal", facts.get("orthogonal"))):  # fmt: skip
        if value is not None:
            step[name] = value
    if reader.has("MOLYBDENITE"):
        step["phase"] = "2H"
    return step


def _molecule_wanted(reader: SentenceReader, roles: Roles) -> bool:
    host = roles.hosts[0]
    if "miller" in host or reader.has("SLAB", "BULKW", "SIZE3", "STRUCTURE", "LATTICE"):
        return False
    from gnnpot.builder.steps.molecule import identify

    name = host["formula"]
    return (
        host["kind"] == "MOL"
        or (identify(name) is not None and (library().key(name) is None or name in library().molecules))
        or reader.has("MOLW", "SMILES")
    )


def _molecule(reader: SentenceReader, roles: Roles) -> list[dict[str, Any]]:
    name = roles.hosts[0]["formula"]
    if reader.has("ADSORB"):
        raise error("adsorb_on_what", reader.language, species=name)
    if is_element(name) and reader.has("MOLW") and name in ("H", "N", "O", "F", "Cl"):
        name = f"{name}2"
    step: dict[str, Any] = {"do": "molecule", "name": name}
    margin = reader.facts.get("margin") or reader.facts.get("vacuum")
    if reader.facts.get("box") is not None:
        step["box"] = reader.facts.get("box")[0]
    elif reader.facts.get("edge") is not None:
        step["box"] = reader.facts.get("edge")
    elif margin is not None:
        step["vacuum"] = margin
    steps = [step]
    if reader.facts.get("rotate") is not None:
        steps.append({"do": "rotate", **reader.facts.get("rotate")})
    return steps


def _own_sheets(reader: SentenceReader, roles: Roles) -> dict[int, int]:
    """`graphene on MoS2 monolayer`: the number of sheets of the side next to each such word, by its token."""
    number = reader.facts.get("sheet_layers")
    words = [i for i, token in enumerate(reader.items) if token.kind == "MONO"] if number is not None else []
    places = [host["index"] for host in roles.hosts]
    return {min(places, key=lambda place: abs(place - word)): int(number) for word in words}


def _interface(reader: SentenceReader, roles: Roles) -> list[dict[str, Any]]:
    """Film and substrate: `A on B` and `A/B` put A on B. Without such a word, the first substance is the substrate."""
    facts = reader.facts
    first, second = roles.hosts
    between = [t.kind for t in reader.items[first["index"] + 1 : second["index"]]]
    on = any(kind in ("SUPERPOSE", "SLASH", "SUPPORTED") for kind in between)
    japanese = on and reader.language == "ja" and "SUPERPOSE" in between
    film, substrate = (first, second) if on and not japanese else (second, first)
    if substrate["kind"] == "SHEETMAT" != film["kind"]:
        film, substrate = substrate, film
    layers, own = facts.get("layers") or [], _own_sheets(reader, roles)
    sides = []
    for side in (film, substrate):
        entry: dict[str, Any] = {k: side[k] for k in ("formula", "polymorph", "miller") if k in side}
        if side["kind"] == "SHEETMAT":
            sides.append({"formula": side["formula"], "sheet": True, "layers": own.get(side["index"])})
            continue
        for name in roles.structures:
            if "polymorph" not in entry and library().find(side["formula"], name):
                entry["polymorph"] = name
        if side["index"] in own:
            entry["layers"] = own[side["index"]]
        elif side["formula"] in facts.get("layers_of", {}):
            entry["layers"] = facts.get("layers_of")[side["formula"]]
        elif layers:
            order = 0 if side is first or len(layers) == 1 else 1
            entry["layers"] = layers[order]
        elif facts.get("thickness") is not None:
            entry["thickness"] = facts.get("thickness")
        if "miller" not in entry:
            other = substrate if side is film else film
            usual = library().find(entry["formula"], entry.get("polymorph")) or {}
            if "miller" in other and len(other["miller"]) == 3 and usual.get("prototype") not in HEXAGONAL:
                entry["miller"] = other["miller"]
            else:
                entry["miller"] = USUAL_PLANE.get(usual.get("prototype", ""), (0, 0, 1))
                text = say(
                    "miller", reader.language, formula=entry["formula"], miller="".join(map(str, entry["miller"]))
                )
                reader.notes.append(Message("miller", text))
        sides.append(entry)
    step: dict[str, Any] = {"do": "interface", "film": sides[0], "substrate": sides[1]}
    for name in ("max_strain", "max_area", "gap", "vacuum"):
        if facts.get(name) is not None:
            step[name] = facts.get(name)
    return [step]
