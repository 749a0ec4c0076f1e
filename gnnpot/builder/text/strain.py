"""Strain: a percentage with a word for strain, and the axes.

Example: `2 % biaxial tensile strain`, `c軸方向に3%引っ張る`.
"""

import re

from gnnpot.builder.text.reader import SentenceReader


def read_strain(reader: SentenceReader) -> None:
    """Read a percentage with a word for strain, and the axes."""
    words = reader.remaining_of("STRAIN", "TENSION", "COMPRESS")
    if not words or not reader.remaining_of("PCT"):
        return
    _directions_as_axes(reader)
    strain = {"a": 0.0, "b": 0.0, "c": 0.0}
    how = "STRAIN|TENSION|COMPRESS|BIAXIAL|UNIAXIAL|HYDRO|AXIS|OF|WO|NI|BY|IN|FROM|EQ|AND|ATLEAST"
    found = False
    for pattern in (f"w:{how}* x:PCT w2:{how}*", "x:PCT"):
        for match in reader.find(pattern):
            around = list(match["all"])
            kinds = [reader.token(i).kind for i in around]
            if not {"STRAIN", "TENSION", "COMPRESS"} & set(kinds):
                continue
            size = reader.value(match["x"]) * (-1 if "COMPRESS" in kinds else 1)
            axes = [reader.value(i) for i in around if reader.token(i).kind == "AXIS"]
            if "BIAXIAL" in kinds:
                axes = ["a", "b"]
            elif "HYDRO" in kinds:
                axes = ["a", "b", "c"]
            elif not axes:
                axes = ["c"] if "UNIAXIAL" in kinds else []
            for axis in axes:
                strain[axis] += size
            if not axes:
                strain["all"] = size
            found = True
            reader.take(match["all"])
    if not found and not reader.has("REPLACE", "DOPE", "MISMATCH"):
        found = _strain_apart(reader, strain)
    if found:
        reader.set("strain", strain)
        reader.take(reader.remaining_of("STRAIN", "TENSION", "COMPRESS", "BIAXIAL", "UNIAXIAL", "HYDRO", "AXIS"))


def _directions_as_axes(reader: SentenceReader) -> None:
    """`[001]` is an axis of a crystal's conventional cell; what is no axis of the cell stays unread, and is refused."""
    if reader.has("MILLER", "SLAB", "SHEETMAT", "MONO", "PRIMITIVE"):
        return
    for index in reader.remaining_of("DIRECTION"):
        indices = [int(number.replace(" ", "")) for number in re.findall(r"-?\s*\d", reader.value(index))]
        places = [place for place, number in enumerate(indices) if number]
        # of four indices, only the last belongs to one axis alone
        if len(places) == 1 and (len(indices) == 3 or (len(indices) == 4 and places == [3])):
            reader.set_value(index, "c" if places[0] == 3 else "abc"[places[0]], "AXIS")


def _strain_apart(reader: SentenceReader, strain: dict[str, float]) -> bool:
    """`strain graphene by 5 % along x`: read strain whose words are not next to each other."""
    percents = reader.remaining_of("PCT")
    if len(percents) != 1:
        return False
    size = reader.value(percents[0]) * (-1 if reader.remaining_of("COMPRESS") else 1)
    axes = [reader.value(i) for i in reader.remaining_of("AXIS")]
    if reader.remaining_of("BIAXIAL"):
        axes = ["a", "b"]
    elif reader.remaining_of("HYDRO"):
        axes = ["a", "b", "c"]
    elif not axes and reader.remaining_of("UNIAXIAL"):
        axes = ["c"]
    for axis in axes:
        strain[axis] += size
    if not axes:
        strain["all"] = size
    reader.take(percents)
    return True
