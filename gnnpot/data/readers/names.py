"""Detection of ambiguous names of labels and of unsupported units, which are errors until the user sets an option.

    problem = naming_problem(candidates, present, keys, named)     # "" if nothing is ambiguous

A name is split into words at underscores, hyphens, blanks and changes of case: `REF_energy`, `energy-DFT`, `TotEnergy`
and `Energy:` all contain the word "energy". Such a name is ambiguous unless it is one of the usual names of the label,
the user has set the key, or another word shows that it is a different quantity (`energy_per_atom`, `kinetic_energy`,
`forces_std`). It is also ambiguous if there is a usual name as well: only the user knows whether `energy` or
`REF_energy` is the label.

Units are specified by names with the word "unit" (`energy-unit`, `forces_units`, `stress-unit`), or by the name of a
label (`energy_hartree`, `stress_GPa`, `REF_virial`). They must be those of gnnpot, or for stress that of the stress
convention.
"""

import math
import re
from collections.abc import Callable, Collection, Mapping

import numpy as np

from gnnpot.data.quantities import QUANTITIES
from gnnpot.data.stress import StressConvention
from gnnpot.errors import DataError

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
#: words that show that an energy, forces, … are not a label
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
#: units in a name that differ from those of gnnpot
_FOREIGN_UNITS = {"ha", "hartree", "ry", "rydberg", "kcal", "kj", "mev", "bohr", "au", "gpa", "kbar", "bar"}
#: those that may also be the name of a material; "au" is more often gold than atomic units
_SHORT_UNITS = {"ha", "ry", "au"}
#: words in the name of a stress -> its unit
_STRESS_UNITS = {
    "gpa": "GPa", "kbar": "kbar", "kb": "kbar", "bar": "bar", "hartree": "Ha/Bohr³", "ha": "Ha/Bohr³",
    "rydberg": "Ry/Bohr³", "ry": "Ry/Bohr³", "virial": "eV", "virials": "eV",
}  # fmt: skip
#: words for the negative of forces
_GRADIENTS = {"grad", "gradient", "gradients"}
#: words of a name that specifies a unit -> quantity
_QUANTITIES = {
    "energy": "energy", "energies": "energy", "force": "forces", "forces": "forces", "stress": "stress",
    "stresses": "stress", "virial": "virial", "virials": "virial", "pressure": "stress", "length": "length",
    "lengths": "length", "distance": "length", "position": "length", "positions": "length", "pos": "length",
    "coordinate": "length", "coordinates": "length", "coord": "length", "cell": "length", "lattice": "length",
}  # fmt: skip
_ANGSTROM = {"a", "å", "ang", "angs", "angstrom", "angstroms", "ångström", "ångstrom"}
_EV = {"ev", "electronvolt", "electronvolts"}
#: e; largest printed charge of a neutral cell
NEUTRAL = 1e-3
_NO_CHARGE = {"none", "neutral", "unknown"}
_CHARGE_NAMES = {"charge", "totalcharge", "totcharge", "systemcharge", "netcharge", "molecularcharge"}


def words_of(name: str) -> list[str]:
    """Split a name into words, in lower case: "REF_TotEnergy" -> ["ref", "tot", "energy"]."""
    return [word.lower() for word in _WORD.findall(name)]


def _unit_words(name: str) -> list[str]:
    """Split a name into words, without a change of case within GPa, meV or kJ: "energy_meV" has "mev"."""
    return [*words_of(name), *re.split(r"[\W_\d]+", name.lower())]


def charge_words(charge: float) -> str:
    """Return the part of an error message that states the total charge."""
    return "has a total charge that is no number" if math.isnan(charge) else f"has a total charge of {charge}"


def may_be(label: str, name: str) -> bool:
    """Return whether the words of a name allow it to be the label `label`."""
    words = set(words_of(name))
    return bool(words & QUANTITIES[label].words) and not words & _OTHER_WORDS


def naming_problem(
    candidates: Mapping[str, Collection[str]],
    present: Collection[str],
    keys: Mapping[str, Collection[str]],
    named: Collection[str],
) -> str:
    """Describe an ambiguous name of a frame, as the end of a sentence; "" if there is none.

    Args:
        candidates: For each label, the similar names whose values have the shape of the label.
        present: All names of the frame.
        keys: For each label, the names that it is read from.
        named: Labels whose key was set by the user; they are never ambiguous.
    """
    for label, names in candidates.items():
        if label in named or not names:
            continue
        similar = sorted(name for name in names if name not in keys[label] and may_be(label, name))
        if not similar:
            continue
        usual = next((key for key in keys[label] if key in present), None)
        foreign = next((w for w in _unit_words(similar[0]) if w in _FOREIGN_UNITS), "") if label != "stress" else ""
        has = f"has '{usual}' and '" if usual else f"has no '{label}' but '"
        if _GRADIENTS & set(words_of(similar[0])):
            return (
                f"{has}{', '.join(similar)}', of the opposite sign by its name; change its sign and name it "
                f"{label}, or give {label}_key='{usual or ''}' for {usual or 'none'}"
            )
        if foreign:
            return (
                f"{has}{', '.join(similar)}', in {foreign} by its name; convert it to gnnpot's units, rename it and "
                f"say which is the {label} with {label}_key=, or {label}_key='{usual or ''}' for {usual or 'none'}"
            )
        return (
            f"{has}{', '.join(similar)}'; say which is the {label} with {label}_key='{similar[0]}', or "
            f"{label}_key='{usual or ''}' for {'the other' if usual else 'none'}"
        )
    return ""


def key_problem(label: str, key: str, convention: StressConvention | None) -> str:
    """Describe a unit or sign in the name of a key that the user set, as the end of a sentence, or return "".

    `convention` is the stress convention of the key; `None` if the user set it, and then it is right.
    """
    words = _unit_words(key)
    if label == "stress":
        unit = next((_STRESS_UNITS[word] for word in words if word in _STRESS_UNITS), "")
        if convention is None or unit in ("", convention.unit):
            return ""
        if unit == "eV":
            return "is a virial by its name; give its convention too with stress=, as virial (-dE/dε) or eV:tension"
        return f"is in {unit} by its name; give its convention too with stress=, as '{unit}:tension'"
    foreign = next((word for word in words if word in _FOREIGN_UNITS - _SHORT_UNITS), "")
    if words and words[-1] in _SHORT_UNITS - {"au"}:
        foreign = words[-1]
    if foreign and label in ("energy", "forces"):
        return f"is in {foreign} by its name; convert it to {QUANTITIES[label].unit} and rename it"
    if label == "forces" and _GRADIENTS & set(words):
        return "is of the opposite sign by its name; change its sign and rename it"
    return ""


def unit_problem(name: str, value: object, convention: StressConvention, stress_is_named: bool) -> str:
    """Describe an unsupported unit that a file specifies under `name`, as the end of a sentence, or return ""."""
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
        # unit of a quantity that gnnpot does not read, such as time_unit or charge_unit
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
    """Return the total charge that a file specifies, e; `None` if it does not, NaN for text that is not a number."""
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
