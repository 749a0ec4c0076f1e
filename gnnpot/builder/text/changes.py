"""Steps that change a structure, in order: defects, strain, adsorbates, particles, liquids, fixed atoms."""

import re
from typing import Any

from gnnpot.builder.messages import error
from gnnpot.builder.steps.solvent import DENSITIES
from gnnpot.builder.text.reader import SentenceReader
from gnnpot.builder.text.words import Roles


def seed_of(reader: SentenceReader) -> dict[str, int]:
    """Return the seed that a sentence gives as an option of a step; an empty dictionary if it gives none."""
    seed = reader.facts.get("seed")
    return {} if seed is None else {"seed": seed}


def change_steps(reader: SentenceReader, roles: Roles) -> list[dict[str, Any]]:
    """Return the steps that change the structure, in the order in which they depend on each other."""
    facts = reader.facts
    steps = _defects(reader, roles)
    if roles.interstitial is not None:
        entry = {k: v for k, v in roles.interstitial.items() if k in ("element", "site", "number") and v is not None}
        steps.append({"do": "interstitial", **entry, **seed_of(reader)})
    strain = facts.get("strain")
    if strain is not None:
        everywhere = strain.get("all", 0.0)
        slab = reader.has("SLAB", "MILLER", "SHEETMAT", "MONO")
        axes = {axis: strain[axis] or (everywhere if axis != "c" or not slab else 0.0) for axis in "abc"}
        steps.append({"do": "strain", **axes})
    if facts.get("rattle") is not None:
        steps.append({"do": "rattle", "width": facts.get("rattle"), **seed_of(reader)})
    for entry in list(roles.adsorbates):
        if entry.get("number", 1) >= 4 and entry["species"] in DENSITIES and not facts.adsorbate_values:
            roles.liquid.append({"name": entry["species"], "number": entry["number"]})
            roles.adsorbates.remove(entry)
    steps += [_adsorb(reader, roles, entry) for entry in roles.adsorbates]
    if roles.particle is not None:
        place: dict[str, Any] = {"do": "place", "particle": particle_step(reader, roles)}
        if facts.get("gap") is not None:
            place["distance"] = facts.get("gap")
        for index in reader.remaining_of("MILLER")[:1]:
            place["facet"] = reader.value(index)
            reader.take(index)
        steps.append(place)
    if roles.liquid:
        steps.append(solvent_step(reader, roles))
    if facts.get("rotate") is not None:
        steps.append({"do": "rotate", **facts.get("rotate")})
    steps += [{"do": "fix", **entry} for entry in facts.fixes]
    return steps


def _defects(reader: SentenceReader, roles: Roles) -> list[dict[str, Any]]:
    """Steps for vacancies and substitutions. A defect next to another one comes after it."""
    early: list[dict[str, Any]] = []
    late: list[dict[str, Any]] = []
    region: dict[str, Any] = {}
    if reader.has("MILLER", "SLAB"):
        # what no other rule has taken says where in the slab they are
        region = (
            {"where": "bulk"}
            if reader.remaining_of("MIDDLE")
            else {"where": "top"}
            if reader.remaining_of("OUTERMOST")
            else {}
        )
    for entry in roles.vacancies:
        step = {
            "do": "vacancy",
            **region,
            **{k: v for k, v in entry.items() if k in ("element", "number", "fraction", "where", "per") and v},
        }
        if entry.get("near_dopant") and roles.substitutions:
            step["where"] = "dopant"
        elif entry.get("near_dopant") and step.get("number", 1) > 1:
            # next to each other
            early.append({**step, "number": 1, **seed_of(reader)})
            step.update(number=step["number"] - 1, where="vacancy")
        (late if step.get("where") == "dopant" else early).append({**step, **seed_of(reader)})
    middle: list[dict[str, Any]] = []
    for entry in roles.substitutions:
        step = {"do": "substitute", "by": entry["by"], **region}
        step.update({k: v for k, v in entry.items() if k in ("element", "number", "fraction", "where") and v})
        _refuse_own_element(reader, roles, step)
        if entry.get("near") and roles.vacancies:
            step["where"] = "vacancy"
        elif entry.get("near"):
            step["where"] = "dopant"
        middle.append({**step, **seed_of(reader)})
    if any(step.get("where") == "vacancy" for step in middle):
        return [*early, *middle, *late]
    return [*middle, *early, *late] if late else [*middle, *early]


def _refuse_own_element(reader: SentenceReader, roles: Roles, step: dict[str, Any]) -> None:
    """`brass with 30 % Zn`: a dopant that the crystal contains may be the share of an alloy.

    Raises:
        BuilderError: The crystal contains the dopant, and the replaced element is not named.
    """
    elements = re.findall(r"[A-Z][a-z]?", str(roles.hosts[0]["formula"])) if roles.hosts else []
    if step["by"] in elements and len(set(elements)) > 1 and not {"element", "where"} & set(step):
        raise error("which_element", reader.language, by=step["by"], known=", ".join(dict.fromkeys(elements)))


def _adsorb(reader: SentenceReader, roles: Roles, entry: dict[str, Any]) -> dict[str, Any]:
    step: dict[str, Any] = {"do": "adsorb", "species": entry["species"]}
    if "number" in entry:
        step["number"] = entry["number"]
    for kind, value, index in reader.facts.adsorbate_values:
        nearest = min(roles.adsorbates, key=lambda a: abs(a["index"] - index))
        shared = kind == "coverage" and reader.has("EACH") and _number_of(reader, "coverage") == 1
        own = len(roles.adsorbates) == 1 or nearest is entry or shared
        if own and step.setdefault(kind, value) != value:
            raise error("contradiction", reader.language, what=kind, first=step[kind], second=value)
    sites = [*roles.sites, *(("top", i) for i in reader.remaining_of("TOPSITE"))]
    for name, index in sites:
        nearest = min(roles.adsorbates, key=lambda a: abs(a["index"] - index))
        if nearest is not entry or "near" in step:
            continue
        if step.get("site") == "hollow" and name in ("fcc", "hcp"):
            step["site"] = name
        elif step.setdefault("site", name) != name and _is_site(reader, index):
            raise error("contradiction", reader.language, what="site", first=step["site"], second=name)
    if reader.facts.get("sheet_layers") == 1 and "number" not in step:
        step.setdefault("coverage", 1.0)
    if reader.facts.get("side"):
        step["side"] = reader.facts.get("side")
        each = reader.has("EACH") and step.get("number", 1) > 1
        if each or (reader.facts.get("each_side") and "number" in step):
            step["number"] = 2 * step["number"]
    if reader.facts.get("gap") is not None and "height" not in step:
        step["height"] = reader.facts.get("gap")
    lone = reader.remaining_of("LEN")
    if "height" not in step and len(lone) == 1:
        step["height"] = float(reader.value(lone[0]))
        reader.take(lone[0])
    if "coverage" in step and step.get("number") == 1:
        del step["number"]
    return step


def _number_of(reader: SentenceReader, kind: str) -> int:
    return sum(value[0] == kind for value in reader.facts.adsorbate_values)


def _is_site(reader: SentenceReader, index: int) -> bool:
    """Whether a word is the name of a site, not a mere `on top of` the surface."""
    word = reader.word(index)
    if word not in ("on top", "on top of", "直上", "真上", "top"):
        return True
    before = [t.kind for t in reader.items[max(index - 1, 0) : index]]
    following = [t.kind for t in reader.items[index + 1 : index + 2]]
    return before in (["NUM"], ["COUNT"]) or (word == "top" and not {"SLAB", "LAYERW", "OF"} & set(following))


def particle_step(reader: SentenceReader, roles: Roles) -> dict[str, Any]:
    """Return the step that creates the particle of a sentence."""
    facts = reader.facts
    entry = {
        k: v
        for k, v in (roles.particle or {}).items()
        if k in ("composition", "core", "shell", "shell_layers", "arrangement", "lattice", "atoms")
    }
    if not entry.get("composition") and entry.get("core") and entry.get("shell"):
        entry["composition"] = {entry["core"]: 1.0, entry["shell"]: 1.0}
    if not entry.get("composition"):
        raise error("nothing_named", reader.language)
    for name in ("atoms", "diameter", "shape"):
        if facts.get(name) is not None:
            entry[name] = facts.get(name)
    return {"do": "nanoparticle", **entry, **seed_of(reader)}


def solvent_step(reader: SentenceReader, roles: Roles) -> dict[str, Any]:
    """Return the step that adds the liquid of a sentence."""
    facts = reader.facts
    step: dict[str, Any] = {"do": "solvent", "molecules": roles.liquid, **seed_of(reader)}
    if facts.get("density") is not None:
        step["density"] = facts.get("density")
    if facts.get("box") is not None:
        step["box"] = facts.get("box")
    thickness = facts.get("liquid_thickness")
    if thickness is not None:
        step["thickness"] = thickness
    return step
