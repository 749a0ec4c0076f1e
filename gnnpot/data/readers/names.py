"""Which of a file's own names could be a label, and which units it states: what is refused until an option decides.

    problem = naming_problem(record, new_names, keys, options)     # "" where nothing is in doubt

A name is taken apart at underscores, hyphens, blanks and changes of case: `REF_energy`, `energy-DFT`, `TotEnergy` and
`Energy:` all hold the word "energy". Such a name is in doubt unless it is one of the usual names of the label, or the
user named a key, or another of its words says that it is something else (`energy_per_atom`, `kinetic_energy`,
`forces_std`). It is in doubt beside a usual name as well: which of `energy` and `REF_energy` is meant, only the user
knows.

Units are stated by names with the word "unit" (`energy-unit`, `forces_units`, `stress-unit`). What is stated must be
gnnpot's own unit, or for stress that of the convention that is used.
"""

import math
import re
from collections.abc import Callable, Collection, Mapping

import numpy as np

from gnnpot.data.quantities import QUANTITIES
from gnnpot.data.stress import StressConvention
from gnnpot.errors import DataError

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
#: words that make of an energy, of forces, … something that is no label of gnnpot's
_OTHER_WORDS = {
    "above", "adsorption", "atom", "atomic", "band", "bandgap", "binding", "bond", "charge", "cohesive", "config",
    "constant", "constants", "constraint", "constraints", "correction", "corrections", "cutoff", "density", "diff",
    "dispersion", "drift", "electronic", "ensemble", "entropy", "err", "error", "fermi", "file", "fit", "fixed",
    "fmax", "form", "formation", "gap", "guess", "has", "hull", "id", "init", "initial", "interaction", "ionization",
    "is", "kinetic", "level", "local", "loss", "mae", "mask", "max", "mean", "method", "min", "mixing", "norm", "num",
    "peratom", "per", "range", "reference", "relative", "rmse", "scale", "shift", "sigma", "source", "spring",
    "std", "strain", "surface", "type", "uncertainty", "unit", "units", "var", "variance", "vdw", "version", "weight",
    "weights", "zero", "zpe",
}  # fmt: skip
#: units in a name, of another kind than gnnpot's
_FOREIGN_UNITS = {"ha", "hartree", "ry", "rydberg", "kcal", "kj", "mev", "bohr", "au", "gpa", "kbar", "bar"}
#: words of what is the negative of forces
_GRADIENTS = {"grad", "gradient", "gradients"}
#: words of a name that states a unit -> what is measured in it
_QUANTITIES = {
    "energy": "energy", "energies": "energy", "force": "forces", "forces": "forces", "stress": "stress",
    "stresses": "stress", "virial": "virial", "virials": "virial", "pressure": "stress", "length": "length",
    "lengths": "length", "distance": "length", "position": "length", "positions": "length", "pos": "length",
    "coordinate": "length", "coordinates": "length", "coord": "length", "cell": "length", "lattice": "length",
}  # fmt: skip
_ANGSTROM = {"a", "å", "ang", "angs", "angstrom", "angstroms", "ångström", "ångstrom"}
_EV = {"ev", "electronvolt", "electronvolts"}
#: e; what is printed as the charge of a neutral cell may differ from 0 by as much
NEUTRAL = 1e-3
_NO_CHARGE = {"none", "neutral", "unknown"}
_CHARGE_NAMES = {"charge", "totalcharge", "totcharge", "systemcharge", "netcharge", "molecularcharge"}


def words_of(name: str) -> list[str]:
    """The words of a name, in lower case: "REF_TotEnergy" -> ["ref", "tot", "energy"]."""
    return [word.lower() for word in _WORD.findall(name)]


def charge_words(charge: float) -> str:
    """The part of a message about a total charge."""
    return "has a total charge that is no number" if math.isnan(charge) else f"has a total charge of {charge}"


def may_be(label: str, name: str) -> bool:
    """Whether a name could be that of `label`, by its words."""
    words = set(words_of(name))
    return bool(words & QUANTITIES[label].words) and not words & _OTHER_WORDS


def naming_problem(
    candidates: Mapping[str, Collection[str]],
    present: Collection[str],
    keys: Mapping[str, Collection[str]],
    named: Collection[str],
) -> str:
    """What an option has to decide of a frame's names, as the end of a sentence; "" for nothing.

    Args:
        candidates: for each label the names, new in this frame, whose values have a label's shape.
        present: all names of the frame.
        keys: for each label the names that it is read from.
        named: labels for which the user named a key, which decides.
    """
    for label, names in candidates.items():
        if label in named or not names:
            continue
        similar = sorted(name for name in names if name not in keys[label] and may_be(label, name))
        if not similar:
            continue
        usual = next((key for key in keys[label] if key in present), None)
        foreign = next((w for w in words_of(similar[0]) if w in _FOREIGN_UNITS), "") if label != "stress" else ""
        has = f"has '{usual}' and '" if usual else f"has no '{label}' but '"
        if _GRADIENTS & set(words_of(similar[0])):
            return (
                f"{has}{', '.join(similar)}', of the opposite sign by its name; change its sign and name it "
                f"{label}, or give {label}_key='{usual or ''}' for {usual or 'none'}"
            )
        if foreign:
            return (
                f"{has}{', '.join(similar)}', in {foreign} by its name; convert it to gnnpot's units and say which is "
                f"the {label} with {label}_key=, or {label}_key='{usual or ''}' for {usual or 'none'}"
            )
        return (
            f"{has}{', '.join(similar)}'; say which is the {label} with {label}_key='{similar[0]}', or "
            f"{label}_key='{usual or ''}' for {'the other' if usual else 'none'}"
        )
    return ""


def unit_problem(name: str, value: object, convention: StressConvention, stress_is_named: bool) -> str:
    """What is wrong with the unit that a header states under `name`, as the end of a sentence; "" for nothing."""
    words = words_of(name)
    if not {"unit", "units"} & set(words):
        return ""
    quantity = next((_QUANTITIES[word] for word in words if word in _QUANTITIES), "")
    stated = str(value).strip().strip("\"'")
    if quantity == "stress":
        return "" if stress_is_named else _stress_unit_problem(name, stated, convention)
    if quantity == "virial" and stress_is_named:
        return ""
    if quantity:
        right = _RIGHT_UNIT[quantity](stated)
    elif set(words) - {"unit", "units"}:
        # of a quantity that gnnpot doesn't read: time_unit, charge_unit
        right = True
    else:
        right = all(_is_own(part) for part in re.split(r"[\s,;]+", stated) if part)
    return "" if right else f"says {name}={stated.lower()}; gnnpot reads eV and Å, convert the file first"


def _stress_unit_problem(name: str, stated: str, convention: StressConvention) -> str:
    try:
        unit = StressConvention(stated).unit
    except DataError as error:
        return f"says {name}={stated}: {error}; name its convention with stress="
    if unit == convention.unit:
        return ""
    return f"says {name}={unit}; name its convention: stress='{unit}:tension'"


def _plain(unit: str) -> str:
    return re.sub(r"[\s()\[\]{}^*·]", "", unit.lower()).replace("⁻¹", "-1").replace("per", "/")


def _is_energy(unit: str) -> bool:
    return _plain(unit) in _EV


def _is_length(unit: str) -> bool:
    return _plain(unit) in _ANGSTROM


def _is_force(unit: str) -> bool:
    energy, _, length = _plain(unit).partition("/")
    return (energy in _EV and length in _ANGSTROM) or _plain(unit) in {f"ev{a}-1" for a in _ANGSTROM}


def _is_own(unit: str) -> bool:
    plain = _plain(unit)
    return plain in {"metal", "ase", *_EV, *_ANGSTROM} or _is_force(unit) or plain in {f"ev/{a}3" for a in _ANGSTROM}


_RIGHT_UNIT: dict[str, Callable[[str], bool]] = {
    "energy": _is_energy, "forces": _is_force, "length": _is_length, "virial": _is_energy,
}  # fmt: skip


def total_charge(info: Mapping[str, object]) -> float | None:
    """The total charge, e, that a header states; `None` if it states none, NaN for words that are no number."""
    for name, value in info.items():
        if "".join(words_of(name)) in _CHARGE_NAMES and "unit" not in name.lower():
            try:
                charge = np.asarray(value.split() if isinstance(value, str) else value, dtype=float)
            except (ValueError, TypeError):
                if isinstance(value, str) and value.lower() not in _NO_CHARGE:
                    return math.nan
                continue
            if charge.size == 1 and np.isfinite(charge).all():
                return float(charge.reshape(())) if abs(charge.reshape(())) > NEUTRAL else 0.0
    return None
