"""Attributes: vacuum, layers, fixed atoms, sizes, lattice constants, strain, sites, coverages, sizes of particles.

Each rule takes a number together with the words that say what it means. The values are assigned to steps later, in
`compose` and `changes`.
"""

import re
from typing import Any

from gnnpot.builder.messages import error
from gnnpot.builder.text.liquids import read_box, read_liquid
from gnnpot.builder.text.measures import each, length, whole
from gnnpot.builder.text.reader import SentenceReader
from gnnpot.builder.text.strain import read_strain

__all__ = ["read_attributes"]


def read_attributes(reader: SentenceReader) -> None:
    """Apply all rules for attributes to a sentence."""
    for rule in (
        _bad_numbers, _seed, _interface, _vacuum, read_liquid, _fixed, _lattice, read_strain, _thickness, _coverage,
        _sites, _pose,
        _particle, read_box, _cells, _height, _layers, _turns, _repeat,
    ):  # fmt: skip
        rule(reader)


def _bad_numbers(reader: SentenceReader) -> None:
    """Refuse negative or zero quantities, and brackets that are not a lattice plane."""
    for index in reader.remaining_of("BADMILLER"):
        raise error("bad_miller", reader.language, text=reader.token(index).text)
    for token in reader.items:
        if token.kind == "MILLER" and (
            not any(token.value) or (len(token.value) == 4 and token.value[0] + token.value[1] + token.value[2] != 0)
        ):
            raise error("bad_miller", reader.language, text=token.text)
        if isinstance(token.value, float) and token.value < 0 and token.kind != "ANGLE":
            if token.kind in ("PCT", "NUM") and reader.has("STRAIN", "TENSION", "COMPRESS"):
                continue
            raise error("bad_number", reader.language, what=token.text, value=f"{token.value:g}")
        if token.kind in ("LEN", "LAYERS", "ATOMS", "ML", "DENS", "CELLS", "MOLECULES", "COUNT") and token.value == 0:
            raise error("bad_number", reader.language, what=token.text, value="0")
        if token.kind in ("SIZE2", "SIZE3") and 0 in token.value[1]:
            raise error("bad_number", reader.language, what=token.text, value="0")


def _seed(reader: SentenceReader) -> None:
    for index in reader.remaining_of("SEED"):
        reader.set("seed", int(reader.value(index)))
        reader.take(index)


def _interface(reader: SentenceReader) -> None:
    planes = sum(token.kind == "MILLER" for token in reader.items)
    limits = "MISMATCH|STRAIN" if reader.has("INTERFACE") or planes > 1 else "MISMATCH"
    for match in reader.find("x:LEN _ g:GAP"):
        # `two CO 4 Å apart` is no height above the surface
        if reader.word(match["g"]) == "apart" and not reader.has("INTERFACE"):
            reader.reject(match["x"])
    for match in each(reader, f"{limits} _ x:PCT ATMOST?", f"ATMOST? x:PCT ATMOST? _ {limits}"):
        reader.set("max_strain", reader.value(match["x"]))
    for match in each(reader, "AREA _ x:LEN2|LEN|NUM ATMOST?", "ATMOST? x:LEN2 ATMOST? _ AREA?"):
        reader.set("max_area", float(reader.value(match["x"])))
    for match in each(reader, "GAP _ x:LEN", "x:LEN _ GAP", "GAP _ x:NUM"):
        reader.set("gap", length(reader, match["x"]))


def _vacuum(reader: SentenceReader) -> None:
    for match in each(
        reader, "x:LEN _ VAC _ BOTH", "VAC _ x:LEN _ BOTH", "BOTH _ x:LEN _ VAC", "BOTH _ VAC _ x:LEN", "x:LEN _ BOTH"
    ):
        # the same width on each side; for a molecule or particle, it is the vacuum around it
        if reader.has("MILLER", "SLAB"):
            reader.set("vacuum", 2 * length(reader, match["x"]), "vacuum")
        else:
            reader.set("margin", length(reader, match["x"]))
    for match in each(
        reader, "VAC THICK? LAYERW? _ x:LEN", "x:LEN _ THICK? _ VAC", "VAC THICK? LAYERW? _ x:NUM", "VAC COMMA x:LEN",
    ):  # fmt: skip
        reader.set("vacuum", length(reader, match["x"]), "vacuum")
    for match in each(reader, "BOX _ x:LEN AROUND|APPROX", "x:LEN _ AROUND", "BOX BY x:LEN _ VAC?", "VAC x:LEN AROUND"):
        reader.set("margin", length(reader, match["x"]))


def _fixed(reader: SentenceReader) -> None:
    """Read which layers are fixed: `bottom two layers fixed`, `下2層を固定`, `fix the lower half`."""
    position = "p:BOTTOM|TOPPOS|MIDDLE|OUTERMOST|TOPSITE"
    noun = "SUPPORT|SUPPORTED|SLAB|EQ|OF|COMMA"
    patterns = (
        f"SUPPORT? _ {position} OF? n:LAYERS|NUM LAYERW? _ FIX",
        f"FIX _ n:NUM|LAYERS OF? {position} m:MAT? LAYERW?", f"n:NUM|LAYERS OF? {position} m:MAT? LAYERW? EQ? _ FIX",
        f"FIX _ {position} OF? n:NUM m:MAT LAYERW", f"{position} OF? n:NUM m:MAT LAYERW EQ? _ FIX",
        f"FIX _ {position} OF? n:LAYERS|NUM LAYERW? _ SUPPORT?",
        f"{position} OF? h:HALF _ LAYERW? _ SUPPORT? _ FIX", f"FIX _ {position} OF? h:HALF _ SUPPORT?",
        f"{position} OF? f:PCT _ SUPPORT? _ FIX",
        f"FIX _ {position} OF? f:PCT",
        f"h:HALF _ SUPPORT? {noun}? _ FIX", "FIX _ h:HALF _ SUPPORT?",
        f"SUPPORT? _ {position} LAYERW _ SUPPORT? _ FIX", f"FIX _ {position} LAYERW", "o:LOWESTLAYER _ FIX",
        "FIX _ o:LOWESTLAYER",
        f"SUPPORT? _ {position} SLAB? _ FIX", "n:LAYERS OF? p:BOTTOM _ FIX", "FIX _ n:LAYERS OF? p:BOTTOM",
        "n:LAYERS _ p:BOTTOM? _ FIX", "FIX _ n:LAYERS", "s:SUPPORT _ FIX", "FIX _ s:SUPPORT", "s:SUPPORTED EQ _ FIX",
    )  # fmt: skip
    where = {"BOTTOM": "bottom", "TOPPOS": "top", "MIDDLE": "middle", "OUTERMOST": "top", "TOPSITE": "top"}
    for match in each(reader, *patterns):
        fix: dict[str, Any] = {"where": where[reader.token(match["p"]).kind] if "p" in match else "bottom"}
        if "n" in match:
            fix["layers"] = whole(reader, match["n"])
        elif "f" in match:
            fix["fraction"] = reader.value(match["f"])
        elif "h" in match:
            fix["fraction"] = 0.5
        elif "s" in match:
            fix = {"where": "support"}
        elif "p" in match and fix["where"] == "middle":
            fix["fraction"] = 0.5
        elif "o" in match or "p" in match:
            fix["layers"] = 1
        reader.facts.fixes.append(fix)


def _lattice(reader: SentenceReader) -> None:
    lattice: dict[str, float] = {}
    for match in each(reader, "LATTICE? _ c:CONSTANT"):
        axis, value = reader.value(match["c"])
        lattice[axis] = value
    for match in each(reader, "LATTICE _ x:LEN|NUM", "x:LEN OF? LATTICE"):
        lattice["a"] = length(reader, match["x"])
    if lattice:
        reader.set("lattice", lattice)


def _thickness(reader: SentenceReader) -> None:
    for match in each(reader, "THICK _ x:LEN ATLEAST?", "ATLEAST? x:LEN _ ATLEAST? THICK", "THICK _ x:NUM"):
        reader.set("thickness", length(reader, match["x"]), "thickness")


def _coverage(reader: SentenceReader) -> None:
    for match in each(
        reader, "COVERAGE _ x:ML|PCT|NUM", "x:ML|PCT _ COVERAGE", "x:NUM COVERAGE", "x:ML", "x:NUM m:MONO"
    ):
        value = float(reader.value(match["x"]))
        if value <= 0:
            raise error("bad_number", reader.language, what=reader.token(match["x"]).text, value=f"{value:g}")
        reader.facts.adsorbate_values.append(("coverage", value, match["x"]))
    for match in each(reader, "HALF m:MONO"):
        reader.facts.adsorbate_values.append(("coverage", 0.5, match["m"]))
    for match in each(reader, "m:MONO COVERAGE"):
        reader.facts.adsorbate_values.append(("coverage", 1.0, match["m"]))


def _sites(reader: SentenceReader) -> None:
    """Read adsorption sites. fcc and hcp are sites if a word for a site follows; bridge and hollow always are."""
    for match in reader.find("b:BRIDGE m:MAT ATOMW? VACANCY"):
        # a vacancy of a bridging atom, not a bridge site
        reader.take(match["b"])
    for match in reader.find("s:STRUCTURE HOLLOW|SITEW"):
        value = reader.value(match["s"])
        if value in ("fcc", "hcp"):
            reader.facts.adsorbate_values.append(("site", value, match["s"]))
            reader.take(match["all"])
    for kind, site in (("BRIDGE", "bridge"), ("HOLLOW", "hollow")):
        for index in reader.remaining_of(kind):
            reader.facts.adsorbate_values.append(("site", site, index))
            reader.take([index, *(i for i in reader.remaining_of("SITEW") if i == index + 1)])
    if reader.remaining_of("BOTH"):
        reader.set("side", "both")
        if any(re.search("each|either", reader.word(i)) for i in reader.remaining_of("BOTH")):
            reader.facts.values["each_side"] = True
            reader.facts.used.add("each_side")
        reader.take(reader.remaining_of("BOTH"))


def _pose(reader: SentenceReader) -> None:
    for match in each(reader, "m:MAT ATOMW? _ DOWN", "VIA m:MAT ATOMW? DOWN?"):
        reader.facts.adsorbate_values.append(("binding", reader.value(match["m"]), match["m"]))
    for kind, pose in (("UPRIGHT", "upright"), ("FLAT", "flat")):
        for index in reader.remaining_of(kind):
            reader.facts.adsorbate_values.append(("orientation", pose, index))
            reader.take(index)


def _particle(reader: SentenceReader) -> None:
    """Read diameter, number of atoms and shape of a particle."""
    if not reader.has("PARTICLE", "CORESHELL", "CORESHELLW"):
        return
    for match in each(reader, "BOX _ EDGE? _ x:LEN OF? BOX?", "IN x:LEN BOX", "EDGE? x:LEN OF BOX"):
        # the edge of the box is no diameter
        reader.set("edge", float(reader.value(match["x"])))
    for match in each(
        reader, "DIAMETER _ x:LEN APPROX?", "APPROX? x:LEN _ DIAMETER", "APPROX? x:LEN OF? m:MAT+ OF? SHAPE? PARTICLE",
        "p:PARTICLE COMMA? _ APPROX? x:LEN COMMA|DOT|SUPPORTED|SUPERPOSE", "p:PARTICLE _ APPROX? x:LEN",
    ):  # fmt: skip
        reader.set("diameter", float(reader.value(match["x"])), "diameter")
        if "m" in match or "p" in match:
            reader.taken.difference_update(match["all"])
            reader.take(match["x"])
            break
    for match in reader.find(
        "APPROX? x:LEN OF? SHAPE|ALLOY|MAT|SLASH|OF|CORESHELL|CORESHELLW|COMPOSITION|AND* PARTICLE"
    ):
        reader.set("diameter", float(reader.value(match["x"])), "diameter")
        reader.take(match["x"])
    for match in each(reader, "RADIUS _ x:LEN", "x:LEN _ RADIUS"):
        reader.set("diameter", 2 * float(reader.value(match["x"])), "diameter")
    for match in each(reader, "APPROX? x:ATOMS APPROX?"):
        reader.set("atoms", whole(reader, match["x"]), "atoms")
    for index in reader.remaining_of("SHAPE"):
        reader.set("shape", reader.value(index), "shape")
        reader.take(index)


def _cells(reader: SentenceReader) -> None:
    if not reader.has("NANOTUBE"):
        return
    for index in reader.remaining_of("CELLS"):
        reader.set("cells", whole(reader, index))
        reader.take(index)
    for index in reader.remaining_of("LEN"):
        reader.set("tube_length", float(reader.value(index)))
        reader.take(index)


def _height(reader: SentenceReader) -> None:
    patterns = (
        "HEIGHT _ x:LEN|NUM",
        "x:LEN _ HEIGHT",
        "x:LEN _ ABOVE",
        "SUPERPOSE x:LEN",
        "x:LEN SUPERPOSE",
        "ABOVE _ x:LEN",
    )
    for match in each(reader, *patterns):
        reader.facts.adsorbate_values.append(("height", length(reader, match["x"]), match["x"]))
        keep = [i for i in match["all"] if reader.token(i).kind == "SUPERPOSE"]
        reader.take([i for i in match["all"] if i not in keep])
        if keep:
            break


def _layers(reader: SentenceReader) -> None:
    """Read the layers of a slab: all layers that other rules have not taken."""
    layers = []
    for match in reader.find("p:BOTTOM|TOPPOS|MIDDLE|OUTERMOST|TOPSITE OF? x:LAYERS"):
        # those of a part of the slab are not all; `CO on top, 4 layers` are
        if reader.token(match["p"]).kind != "TOPSITE" or (
            reader.word(match["p"]) == "top" and len(reader.remaining_of("MAT", "MOL", "POLYMORPH", "SHEETMAT")) < 2
        ):
            reader.reject(match["x"])
    if reader.has("INTERFACE") or len(reader.remaining_of("MILLER")) > 1:
        own: dict[str, int] = {}
        for match in each(reader, "m:MAT MILLER WO x:LAYERS", "m:MAT MILLER x:LAYERS SUPERPOSE", "x:LAYERS OF? m:MAT"):
            own[str(reader.value(match["m"]))] = whole(reader, match["x"])
            if any(t.kind == "MILLER" for t in reader.items[match["m"] + 1 : match["m"] + 2]):
                match["all"] = [match["x"]]
        if own:
            reader.set("layers_of", own)
    for match in each(
        reader, "EACH? x:LAYERS OF? EACH?", "x:NUM MAT MAT MAT LAYERW", "x:NUM LAYERW", "LAYERW _ x:NUM|COUNT",
        "EACH? x:BILAYERS OF? EACH?", "x:NUM b:BILAYERW", "x:NUM m:MAT LAYERW", "x:MONO",
    ):  # fmt: skip
        if "m" in match:
            # `4 Cu layers`: unless the substance is named elsewhere, too, it is the crystal and is not taken here
            own_name = str(reader.value(match["m"]))
            if not any(
                t.kind == "MAT" and i != match["m"] and own_name in str(t.value) for i, t in enumerate(reader.items)
            ):
                reader.taken.difference_update([match["m"]])
        if reader.token(match["x"]).kind == "BILAYERS" or "b" in match:
            layers.append(whole(reader, match["x"]) * (2 if _is_elemental(reader) else 1))
        elif reader.token(match["x"]).kind == "MONO":
            reader.set("sheet_layers", reader.value(match["x"]))
        else:
            layers.append(whole(reader, match["x"]))
    if len(set(layers)) > 1 and not reader.has("INTERFACE") and len(reader.remaining_of("MILLER")) < 2:
        text = {"en": "layers", "ja": "層数"}[reader.language]
        raise error("contradiction", reader.language, what=text, first=layers[0], second=layers[1])
    if not layers and any(re.search("bilayer|[2二]層|バイ", reader.word(i)) for i in reader.remaining_of("INTERFACE")):
        layers = [1]
    if layers:
        reader.set("layers", layers)


def _is_elemental(reader: SentenceReader) -> bool:
    """Whether the substance before the lattice plane is an element; a bilayer of an element has two layers of atoms."""
    places = [i for i, token in enumerate(reader.items) if token.kind == "MILLER"]
    before = [reader.token(i - 1) for i in places if i]
    return bool(before) and all(t.kind == "MAT" and re.fullmatch(r"[A-Z][a-z]?", str(t.value)) for t in before)


def _turns(reader: SentenceReader) -> None:
    for match in each(reader, "ROTATE _ AXIS? _ x:ANGLE AXIS?", "AXIS? _ x:ANGLE _ AXIS? _ ROTATE"):
        axis = next((reader.value(i) for i in match["all"] if reader.token(i).kind == "AXIS"), "c")
        reader.set("rotate", {"angle": reader.value(match["x"]), "axis": {"a": "x", "b": "y", "c": "z"}[axis]})
    for match in each(reader, "RATTLE _ x:LEN", "x:LEN _ RATTLE", "RATTLE"):
        reader.set("rattle", float(reader.value(match["x"])) if "x" in match else 0.05)
    for kind, name in (("PRIMITIVE", "primitive"), ("ORTHO", "orthogonal")):
        if reader.remaining_of(kind):
            reader.set(name, True)
            reader.take(reader.remaining_of(kind))
    for index in reader.remaining_of("STACK"):
        reader.set("stacking", str(reader.value(index)).upper())
        reader.take(index)


def _repeat(reader: SentenceReader) -> None:
    for index in reader.remaining_of("SIZE2", "SIZE3"):
        prefix, numbers = reader.value(index)
        if prefix == "c":
            n, m = numbers[:2]
            if n % 2 or m % 2:
                raise error("bad_number", reader.language, what=reader.token(index).text, value=f"{n}x{m}")
            reader.set("matrix", ((n // 2, m // 2), (-n // 2, m // 2)))
        else:
            reader.set("repeat", tuple(numbers), {"en": "the supercell", "ja": "スーパーセル"}[reader.language])
        reader.take(index)
    for pattern in ("SUPERCELL _ x:LEN", "x:LEN _ SUPERCELL"):
        for match in reader.find(pattern):
            least = any(reader.token(i).kind == "ATLEAST" for i in match["all"])
            if least or reader.has("MOL", "MOLW"):
                reader.set("min_length" if least else "edge", float(reader.value(match["x"])))
                reader.take(match["all"])
    for index in reader.remaining_of("ROOT3"):
        reader.set("matrix", ((2, 1), (-1, 1)))
        reader.take(index)
