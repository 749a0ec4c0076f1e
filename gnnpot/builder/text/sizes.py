"""The number of atoms that a sentence gives for a crystal. It is checked against the supercell or determines it."""

import itertools
from typing import Any

import numpy as np

from gnnpot.builder.messages import error, say
from gnnpot.builder.state import Message
from gnnpot.builder.steps.defects import host_of
from gnnpot.builder.text.reader import SentenceReader

#: largest number of repetitions along an axis that is tried
MAX_REPEAT = 12
#: largest edge of a supercell that is enlarged for a fraction of atoms, Å; largest relative error of the fraction
MAX_EDGE, FRACTION_ERROR = 30.0, 0.1


def read_number_of_atoms(reader: SentenceReader) -> None:
    """Read the number of atoms of a supercell: `2x2x2 (96 atoms)`, `64原子のスーパーセル`."""
    if reader.has("PARTICLE", "CORESHELL", "CORESHELLW", "MOL", "NANOTUBE", "MILLER"):
        return
    patterns = (
        "SIZE3 SUPERCELL|BULKW* COMMA? _ x:ATOMS", "SUPERCELL COMMA? _ x:ATOMS",
        "x:ATOMS OF? m:MAT|POLYMORPH|STRUCTURE* OF? SUPERCELL", "x:ATOMS _ SIZE3",
        "SUPERCELL|SIZE3 CONVENTIONAL? SUPERCELL? OF? m:MAT COMMA? x:ATOMS",
    )  # fmt: skip
    for pattern in patterns:
        match = reader.first(pattern)
        own = match is not None and "m" in match and match["x"] == match["m"] + 1
        if own and reader.has("INTERSTITIAL", "OCTA", "TETRA"):
            # 炭素1原子を八面体サイトに: the atoms of the defect
            continue
        if match is not None:
            reader.facts.values["number_of_atoms"] = int(reader.value(match["x"]))
            reader.facts.used.add("number_of_atoms")
            reader.take(match["x"])
            return


def read_lone_number_of_atoms(reader: SentenceReader) -> None:
    """`GaAs with 5% In, 64 atoms`: a number of atoms that no other rule has taken is that of the crystal."""
    lone = reader.remaining_of("ATOMS")
    if len(lone) == 1 and reader.facts.get("repeat") is None and reader.facts.get("number_of_atoms") is None:
        reader.facts.values["number_of_atoms"] = int(reader.value(lone[0]))
        reader.take(lone[0])


def fit_number_of_atoms(reader: SentenceReader, steps: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the steps of the crystal with a supercell of the given number of atoms.

    Raises:
        BuilderError: No supercell, or not the given one, has this number of atoms.
    """
    wanted = reader.facts.get("number_of_atoms")
    if wanted is None or steps[0]["do"] != "bulk" or "formula" not in steps[0]:
        return steps
    from gnnpot.builder.execution import execute
    from gnnpot.builder.recipe import Recipe

    repeat = next((s["repeat"] for s in steps if s["do"] == "supercell" and "repeat" in s), None)
    unit = execute(Recipe.model_validate({"steps": steps[:1]})).structure
    if repeat is not None:
        given = len(unit) * int(np.prod(repeat))
        primitive = given if given == wanted else _primitive(steps[0]) * int(np.prod(repeat))
        if wanted not in (given, primitive):
            raise _contradiction(reader, given, wanted)
        return steps if wanted == given else [{**steps[0], "cell": "primitive"}, *steps[1:]]
    lengths = unit.cell.lengths()
    choices = [
        c for c in itertools.product(range(1, MAX_REPEAT + 1), repeat=3) if len(unit) * c[0] * c[1] * c[2] == wanted
    ]
    if not choices:
        raise _contradiction(reader, len(unit), wanted)
    best = min(choices, key=lambda c: float(np.ptp(lengths * c)))
    return [steps[0], {"do": "supercell", "repeat": best}, *steps[1:]]


def room_for_fractions(
    reader: SentenceReader, steps: list[dict[str, Any]], following: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Add a supercell to a crystal without a size, so that fractions of atoms to be changed are whole numbers."""
    shares = [s for s in following if s["do"] in ("vacancy", "substitute") and s.get("fraction")]
    if [step["do"] for step in steps] != ["bulk"] or not shares:
        return steps
    from gnnpot.builder.execution import execute
    from gnnpot.builder.recipe import Recipe

    unit = execute(Recipe.model_validate({"steps": steps})).structure
    symbols, lengths = unit.get_chemical_symbols(), unit.cell.lengths()
    hosts = [s.get("element") or host_of(s.get("by", ""), symbols) for s in shares]
    wanted = np.array([s["fraction"] * symbols.count(host) for s, host in zip(shares, hosts, strict=True)])
    if wanted.min() == 0:
        return steps
    sizes = sorted(
        (float((lengths * repeat).max()), int(np.prod(repeat)), repeat)
        for repeat in itertools.product(range(1, MAX_REPEAT + 1), repeat=3)
        if (lengths * repeat).max() <= MAX_EDGE
    )
    fitting = (size for size in sizes if _is_whole(wanted * size[1]))
    _, cells, repeat = next(fitting, (0.0, 1, (1, 1, 1)))
    if cells == 1:
        return steps
    text = say("cells_for_fraction", reader.language, repeat="×".join(map(str, repeat)))
    reader.notes.append(Message("cells_for_fraction", text))
    return [*steps, {"do": "supercell", "repeat": repeat}]


def _is_whole(numbers: np.ndarray) -> bool:
    """Whether numbers of atoms are close to whole numbers of at least 1."""
    whole = np.round(numbers)
    return bool(whole.min() >= 1 and np.abs(whole / numbers - 1).max() <= FRACTION_ERROR)


def vacancies_per_dopant(reader: SentenceReader, steps: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Convert `one O vacancy per two Gd` to a number, from the number of dopants after the other steps."""
    from gnnpot.builder.execution import execute
    from gnnpot.builder.recipe import Recipe

    made: list[dict[str, Any]] = []
    # the dopants have to be there before they can be counted
    for step in sorted(steps, key=lambda s: "per" in s):
        if "per" in step:
            number, every, dopant = step.pop("per")
            there = execute(Recipe.model_validate({"steps": made})).structure.get_chemical_symbols().count(dopant)
            if not there or there * number % every:
                raise error("not_whole", reader.language, number=number, every=every, dopant=dopant, there=there)
            step = {**step, "number": there * number // every}
        made.append(step)
    return made


def _primitive(bulk: dict[str, Any]) -> int:
    from gnnpot.builder.execution import execute
    from gnnpot.builder.recipe import Recipe

    return len(execute(Recipe.model_validate({"steps": [{**bulk, "cell": "primitive"}]})).structure)


def _contradiction(reader: SentenceReader, first: int, second: int) -> Exception:
    what = {"en": "the number of atoms", "ja": "原子数"}[reader.language]
    return error("contradiction", reader.language, what=what, first=first, second=second)
