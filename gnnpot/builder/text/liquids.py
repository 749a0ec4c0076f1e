"""Attributes of liquids: the thickness of a layer on a surface, the density and the box."""

from gnnpot.builder.steps.solvent import DENSITIES
from gnnpot.builder.text.measures import each, length, whole
from gnnpot.builder.text.reader import SentenceReader

#: thickness of one molecular layer of a liquid, Å
WATER_LAYER = 3.1


def _is_counted(reader: SentenceReader) -> bool:
    """Whether a number of atoms or molecules is given that fill the box."""
    if reader.has("PARTICLE", "CORESHELL", "CORESHELLW", "SHEETMAT", "NANOTUBE", "MILLER"):
        return False
    patterns = ("NUM m:MAT ATOMW|MOLW?", "m:MAT ATOMW|MOLW? WO? COUNT|ATOMS|MOLECULES", "ATOMS|MOLECULES OF m:MAT")
    return any(reader.first(pattern) is not None for pattern in patterns)


def read_liquid(reader: SentenceReader) -> None:
    """Read the thickness of a layer of liquid."""
    liquid = "WATERFILM|LIQUIDW"
    patterns = (
        f"x:LEN OF? THICK _ y:{liquid}", f"THICK _ x:LEN _ y:{liquid}", f"x:LEN OF y:{liquid}", f"x:LEN y:{liquid}",
        f"y:{liquid} _ THICK? _ x:LEN THICK?", "y:MOL MOLW? _ THICK _ x:LEN", "x:LEN THICK? OF y:MOL MOLW?",
        "THICK _ x:LEN OF? y:MOL MOLW?", "x:LEN y:MOL MOLW? COMMA|DOT|SUPERPOSE|LAYERW", "x:LEN y:MOL $",
        "y:MOL MOLW? _ x:LEN _ FILL", "x:LEN OF? THICK OF? LAYERW? OF? y:MOL",
        "y:MOL LAYERW _ THICK? _ x:LEN THICK?",
    )  # fmt: skip
    for match in reader.find("x:NUM y:MOL LAYERW"):
        # 3 water layers
        if reader.value(match["y"]) in DENSITIES and reader.has("MILLER", "SLAB"):
            reader.set("liquid_thickness", WATER_LAYER * whole(reader, match["x"]))
            reader.take([i for i in match["all"] if i != match["y"]])
    for match in reader.find("x:LAYERS OF y:MOL"):
        if reader.has("MILLER", "SLAB"):
            reader.set("liquid_thickness", WATER_LAYER * whole(reader, match["x"]))
            reader.take(match["x"])
    for match in reader.find("y:MOL MOLW? WO? x:LAYERS"):
        # 水3層; if the molecule is not a liquid, the layers are those of the slab
        if reader.value(match["y"]) in DENSITIES and reader.has("MILLER", "SLAB"):
            reader.set("liquid_thickness", WATER_LAYER * whole(reader, match["x"]))
            reader.take(match["x"])
    for pattern in patterns:
        for match in reader.find(pattern):
            if "GAP" in [reader.token(i).kind for i in match["all"]]:
                continue
            reader.set("liquid_thickness", length(reader, match["x"]))
            reader.take([i for i in match["all"] if i != match["y"]])


def read_box(reader: SentenceReader) -> None:
    """Read the density of a liquid, and the size of a box."""
    for match in each(reader, "DENSITY _ x:DENS|NUM", "x:DENS _ DENSITY", "IN? x:DENS"):
        reader.set("density", float(reader.value(match["x"])), "density")
    for index in reader.remaining_of("BOXSIZE"):
        reader.set("box", tuple(reader.value(index)))
        reader.take(index)
    for match in each(reader, "BOX _ EDGE? _ x:LEN OF? BOX?", "EDGE? _ x:LEN _ BOX"):
        if reader.has("LIQUIDW", "MOL", "DISSOLVE", "BRINE") or _is_counted(reader):
            reader.set("box", (float(reader.value(match["x"])),) * 3)
        else:
            reader.set("edge", float(reader.value(match["x"])))
