"""Yttria-stabilised zirconia: ZrO2 in which Y replaces Zr, with one O vacancy for every two Y.

Example: `8 mol% YSZ`, `8YSZ 3x3x3`, `8 mol%イットリア安定化ジルコニア`. For a fraction x of Y2O3 in (ZrO2)1-x(Y2O3)x,
m units of Y2O3 on N sites of Zr have x = m / (N - m).
"""

from typing import Any

from gnnpot.builder.messages import error, say
from gnnpot.builder.state import Message
from gnnpot.builder.text.changes import seed_of
from gnnpot.builder.text.reader import SentenceReader
from gnnpot.builder.text.tokens import Token
from gnnpot.builder.text.words import Roles, formula

#: supercells that are tried if the sentence gives none, and the largest relative error of the fraction
SIZES, FRACTION_ERROR = (2, 3, 4), 0.05
PHASES = ("cubic", "tetragonal", "monoclinic")


def read_yttria(reader: SentenceReader) -> None:
    """Read the fraction of yttria, and treat the word as zirconia, which is cubic unless the sentence says otherwise.

    Raises:
        BuilderError: The sentence gives no fraction.
    """
    _zirconia_with_yttria(reader)
    words = reader.remaining_of("YSZ")
    if not words:
        return
    taken = _fraction(reader)
    if taken is None:
        raise error("yttria_how_much", reader.language)
    percent = reader.token(taken[0])
    share = percent.value / 100 if percent.kind == "NUM" else percent.value
    if not 0 < share < 1:
        raise error("percent_sum", reader.language, percent=f"{100 * share:g}")
    if not _is_molar(percent):
        text = say("yttria_molar", reader.language, word=percent.text)
        reader.notes.append(Message("yttria_molar", text))
    reader.facts.values["yttria"] = share
    reader.take(taken)
    for index in words:
        reader.set_value(index, ("ZrO2", _phase(reader, index)), "POLYMORPH")


def _zirconia_with_yttria(reader: SentenceReader) -> None:
    """`zirconia with 8 mol% yttria`, `イットリアを8 mol%添加したジルコニア`: treat the name of zirconia as YSZ."""
    hosts = [i for i in reader.remaining_of("MAT", "POLYMORPH") if formula(reader, i) == "ZrO2"]
    if reader.has("YSZ") or len(hosts) != 1:
        return
    for pattern in ("d:DOPE BY? x:PCT OF? m:MAT", "x:PCT OF? m:MAT WO? d:DOPE?", "m:MAT _ x:PCT d:DOPE?"):
        for match in reader.find(pattern):
            if reader.value(match["m"]) == "Y2O3" and _is_molar(reader.token(match["x"])):
                value = reader.value(hosts[0])
                reader.set_value(hosts[0], value[1] if isinstance(value, tuple) else None, "YSZ")
                reader.take([match["d"]] if "d" in match else [])
                return


def _fraction(reader: SentenceReader) -> list[int] | None:
    """Tokens of the fraction of yttria, the number first."""
    match = reader.first("x:NUM y:YSZ")
    if match is not None and reader.token(match["x"]).end == reader.token(match["y"]).start:
        # 8YSZ; a number apart is one of something else
        return [match["x"]]
    for pattern in ("x:PCT OF? m:MAT", "m:MAT _ x:PCT"):
        for match in reader.find(pattern):
            if reader.value(match["m"]) == "Y2O3":
                return [match["x"], match["m"]]
    for pattern in ("x:PCT OF? COMMA? YSZ", "YSZ COMMA? BY? _ x:PCT"):
        match = reader.first(pattern)
        if match is not None:
            return [match["x"]]
    molar = [i for i in reader.remaining_of("PCT") if _is_molar(reader.token(i))]
    return molar if len(molar) == 1 else None


def _is_molar(percent: Token) -> bool:
    return "mol" in percent.text.lower()


def _phase(reader: SentenceReader, index: int) -> str:
    """The phase of zirconia that stands next to the word."""
    own = reader.value(index)
    for place in range(max(0, index - 2), min(index + 3, len(reader.items))):
        token = reader.token(place)
        if own is None and token.kind == "STRUCTURE" and token.value in PHASES:
            reader.take(place)
            return str(token.value)
    return own or PHASES[0]


def yttria_steps(reader: SentenceReader, roles: Roles, steps: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the steps of the crystal or slab, followed by the dopants and vacancies of yttria.

    Raises:
        BuilderError: The cell is too small for the fraction, or the sentence gives the amount of Y once more.
    """
    share = reader.facts.get("yttria")
    if share is None:
        return steps
    again = next((entry for entry in roles.substitutions if entry["by"] == "Y"), None)
    if again is not None:
        second = again.get("number") or again.get("fraction") or 1
        raise error("contradiction", reader.language, what="Y", first=f"{100 * share:g} mol% Y2O3", second=second)
    if [step["do"] for step in steps] == ["bulk"]:
        sites = _zirconium(steps)
        fits = (size for size in SIZES if _fits(sites * size**3, share))
        size = next(fits, SIZES[-1])
        steps = [*steps, {"do": "supercell", "repeat": (size, size, size)}]
    there = _zirconium(steps)
    units = _units(there, share)
    if units < 1:
        raise error("yttria_small", reader.language, percent=f"{100 * share:g}", there=there)
    made = 100 * units / (there - units)
    numbers = {"dopants": 2 * units, "there": there, "vacancies": units, "percent": f"{made:.1f}"}
    text = say("yttria", reader.language, phase=steps[0].get("polymorph"), **numbers)
    reader.notes.append(Message("yttria", text))
    return [
        *steps,
        {"do": "substitute", "element": "Zr", "by": "Y", "number": 2 * units, **seed_of(reader)},
        {"do": "vacancy", "element": "O", "number": units, **seed_of(reader)},
    ]


def _zirconium(steps: list[dict[str, Any]]) -> int:
    """The number of Zr after these steps."""
    from gnnpot.builder.execution import execute
    from gnnpot.builder.recipe import Recipe

    return execute(Recipe.model_validate({"steps": steps})).structure.get_chemical_symbols().count("Zr")


def _units(there: int, share: float) -> int:
    """The number of Y2O3 closest to a fraction, on a number of sites of Zr."""
    return round(share * there / (1 + share))


def _fits(there: int, share: float) -> bool:
    units = _units(there, share)
    return units > 0 and abs(units / (there - units) / share - 1) <= FRACTION_ERROR
