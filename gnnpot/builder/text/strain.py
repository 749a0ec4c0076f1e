"""Strain: a percentage with a word for strain, and the axes.

Example: `2 % biaxial tensile strain`, `c軸方向に3%引っ張る`, `体積を2%膨張`.
"""

import math
import re

from gnnpot.builder.messages import say
from gnnpot.builder.state import Message
from gnnpot.builder.text.reader import SentenceReader

_WORDS = ("STRAIN", "TENSION", "COMPRESS")


def read_strain(reader: SentenceReader) -> None:
    """Read a percentage with a word for strain, and the axes."""
    if not reader.remaining_of("PCT"):
        return
    _comparatives(reader)
    if not reader.remaining_of(*_WORDS) or _is_relative(reader):
        return
    if reader.remaining_of("VOLUME"):
        _read_volume(reader)
        return
    _directions_as_axes(reader)
    strain = {"a": 0.0, "b": 0.0, "c": 0.0}
    how = "STRAIN|TENSION|COMPRESS|BIAXIAL|UNIAXIAL|HYDRO|AXIS|LATTICE|OF|WO|NI|BY|IN|FROM|EQ|AND|ATLEAST"
    found = False
    for pattern in (f"w:{how}* x:PCT w2:{how}*", "x:PCT"):
        for match in reader.find(pattern):
            kinds = [reader.token(i).kind for i in match["all"]]
            if not set(_WORDS) & set(kinds):
                continue
            _add(reader, strain, match["x"], match["all"])
            found = True
            reader.take(match["all"])
    if not found and not reader.has("REPLACE", "DOPE", "MISMATCH"):
        found = _strain_apart(reader, strain)
    if found:
        _note_axes(reader, strain)
        reader.set("strain", strain)
        reader.take(reader.remaining_of(*_WORDS, "BIAXIAL", "UNIAXIAL", "HYDRO", "AXIS", "LATTICE"))


def _add(reader: SentenceReader, strain: dict[str, float], percent: int, around: list[int]) -> None:
    """Add a percentage to the axes that the words around it name; without such words, to `all`."""
    kinds = [reader.token(i).kind for i in around]
    size = reader.value(percent)
    if "COMPRESS" in kinds:
        # `compressive strain of -2 %` is the same as 2 %
        size = -abs(size)
    axes = [reader.value(i) for i in around if reader.token(i).kind == "AXIS"]
    if "BIAXIAL" in kinds:
        axes = ["a", "b"]
    elif "HYDRO" in kinds:
        axes = ["a", "b", "c"]
    elif not axes and "UNIAXIAL" in kinds:
        axes = ["c"]
    for axis in axes:
        strain[axis] += size
    if not axes:
        strain["all"] = size


def _comparatives(reader: SentenceReader) -> None:
    """`volume reduced by 3 %`, `2 % larger lattice constant`: elsewhere, `reduced` means a lack of oxygen."""
    if reader.remaining_of("VOLUME", "LATTICE"):
        for index in reader.remaining_of("LARGER"):
            reader.set_value(index, None, "TENSION")
        for index in reader.remaining_of("SMALLER", "REDUCED"):
            reader.set_value(index, None, "COMPRESS")


def _is_relative(reader: SentenceReader) -> bool:
    """`expanded to 103 %`, `体積を103%に膨張`: the percentage is no change; it is left unread."""
    if reader.has("STRAIN"):
        return False
    around = [(reader.items[i - 1 : i], reader.items[i + 1 : i + 2]) for i in reader.remaining_of("PCT")]
    if reader.language == "ja":
        return any(after and after[0].text == "に" for _, after in around)
    return any(before and before[0].text.lower() == "to" for before, _ in around)


def _read_volume(reader: SentenceReader) -> None:
    """Read a change of the volume, with the same strain along all axes: (1 + change)^(1/3) - 1.

    A volume with axes is left unread, so that the sentence is refused.
    """
    percents = reader.remaining_of("PCT")
    others = ("AXIS", "BIAXIAL", "UNIAXIAL", "DIRECTION", "LATTICE", "CONSTANT", "REPLACE", "DOPE")
    if len(percents) != 1 or reader.remaining_of(*others) or reader.value(percents[0]) <= -1:
        return
    change = reader.value(percents[0])
    if reader.remaining_of("COMPRESS"):
        change = -abs(change)
    if change <= -1:
        return
    size = math.cbrt(1 + change) - 1
    reader.set("strain", {"a": size, "b": size, "c": size})
    text = say("volume", reader.language, change=_percent(change), size=f"{100 * size:+.3f}")
    reader.notes.append(Message("volume", text))
    reader.take([*percents, *reader.remaining_of("VOLUME", *_WORDS, "HYDRO")])


def _note_axes(reader: SentenceReader, strain: dict[str, float]) -> None:
    """Tell which axes are strained where the sentence does not name them, and how much the volume or area changes."""
    if "all" not in strain and (reader.has("AXIS", "BIAXIAL") or not reader.has("HYDRO", "UNIAXIAL")):
        return
    plane = "all" in strain and reader.has("MILLER", "SLAB", "SHEETMAT", "MONO")
    sizes = {axis: strain[axis] or strain.get("all", 0.0) for axis in ("ab" if plane else "abc")}
    named = ", ".join(f"{axis} {_percent(size)} %" for axis, size in sizes.items() if size)
    change = math.prod(1 + size for size in sizes.values()) - 1
    kind = "strain_plane" if plane else "strain_axes"
    reader.notes.append(Message(kind, say(kind, reader.language, sizes=named, change=f"{100 * change:+.2f}")))


def _percent(share: float) -> str:
    return f"{100 * share:+g}"


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
    words = reader.remaining_of(*_WORDS, "BIAXIAL", "UNIAXIAL", "HYDRO", "AXIS")
    _add(reader, strain, percents[0], words)
    reader.take(percents)
    return True
