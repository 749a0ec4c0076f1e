"""Sentences that change the current structure: `now replace 10 % of the Ti by V`, `真空層を20Åに`, `add CO on top`."""

from typing import Any

from gnnpot.builder.messages import error
from gnnpot.builder.recipe import Recipe
from gnnpot.builder.text.changes import change_steps
from gnnpot.builder.text.reader import SentenceReader
from gnnpot.builder.text.words import Roles

#: facts that replace a field of an earlier step: (fact, names of steps, field)
_FIELDS = (
    ("vacuum", ("slab", "sheet", "interface", "nanotube"), "vacuum"), ("thickness", ("slab",), "thickness"),
    ("lattice", ("bulk", "sheet"), "lattice"), ("density", ("solvent",), "density"), ("diameter",
    ("nanoparticle",), "diameter"),
    ("atoms", ("nanoparticle",), "atoms"), ("shape", ("nanoparticle",), "shape"), ("orthogonal", ("slab", "sheet"),
    "orthogonal"),
    ("gap", ("interface",), "gap"), ("matrix", ("slab",), "matrix"),
)  # fmt: skip


def edited(reader: SentenceReader, roles: Roles, base: Recipe) -> list[dict[str, Any]]:
    """Return the steps of the recipe with the changes of the sentence."""
    steps = [step.model_dump(exclude_none=True, exclude_defaults=False) for step in base.steps]
    if roles.hosts:
        raise error("edit_host", reader.language, name=roles.hosts[0]["formula"])
    changed = False
    for fact, names, field in _FIELDS:
        value = reader.facts.get(fact)
        target = next((s for s in steps if s["do"] in names), None)
        if value is not None and target is not None:
            target[field] = value
            if field == "thickness":
                target.pop("layers", None)
            if field in ("atoms", "diameter"):
                target.pop("diameter" if field == "atoms" else "atoms", None)
            changed = True
    changed |= _sizes(reader, roles, steps)
    if roles.termination is not None:
        slab = next((s for s in steps if s["do"] == "slab"), None)
        if slab is None:
            raise error("no_surface", reader.language)
        slab["termination"] = roles.termination
        changed = True
    changed |= _surface(reader, steps)
    added = change_steps(reader, roles)
    if not added and not changed:
        raise error("edit_what", reader.language)
    fixes = [s for s in steps if s["do"] == "fix"]
    others = [s for s in steps if s["do"] != "fix"]
    if any(s["do"] == "fix" for s in added):
        fixes = []
    return [*others, *(s for s in added if s["do"] != "fix"), *fixes, *(s for s in added if s["do"] == "fix")]


def _sizes(reader: SentenceReader, roles: Roles, steps: list[dict[str, Any]]) -> bool:
    """Change the number of layers and repeats; return whether anything was changed."""
    changed = False
    slab = next((s for s in steps if s["do"] in ("slab", "sheet")), None)
    layers, repeat = reader.facts.get("layers"), reader.facts.get("repeat")
    if layers is not None:
        if slab is None:
            raise error("no_surface", reader.language)
        slab["layers"] = layers[0]
        slab.pop("thickness", None)
        changed = True
    if repeat is not None:
        if slab is not None:
            slab["repeat"] = tuple(repeat[:2])
        else:
            cell = next((s for s in steps if s["do"] == "supercell"), None)
            full = repeat if len(repeat) == 3 else (*repeat, 1)
            if cell is not None:
                cell.clear()
                cell.update({"do": "supercell", "repeat": full})
            else:
                steps.insert(1, {"do": "supercell", "repeat": full})
        changed = True
    return changed


def _surface(reader: SentenceReader, steps: list[dict[str, Any]]) -> bool:
    """`now cut the (110) surface`: add a slab, or change the plane of the slab; return whether anything was changed."""
    planes = reader.remaining_of("MILLER")
    if not planes:
        return False
    slab = next((s for s in steps if s["do"] == "slab"), None)
    miller = reader.value(planes[0])
    reader.take(planes[0])
    if slab is not None:
        slab["miller"] = miller
    else:
        step: dict[str, Any] = {"do": "slab", "miller": miller}
        for name in ("vacuum", "thickness"):
            if reader.facts.get(name) is not None:
                step[name] = reader.facts.get(name)
        steps.insert(1, step)
    return True
