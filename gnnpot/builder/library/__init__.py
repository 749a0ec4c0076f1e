"""The library of common substances, molecules and prototypes, with names in English and Japanese (YAML files).

It holds the names of substances, their crystal structures, and the sources of these structures. Executors get crystals
with `library().crystal("TiO2", "anatase")`; the grammar uses the names.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Any

import numpy as np
import yaml
from ase import Atoms
from ase.data import atomic_names, atomic_numbers, chemical_symbols, reference_states
from ase.spacegroup import crystal as spacegroup_crystal

__all__ = ["Crystal", "Library", "library"]

_ASE_PROTOTYPES = {"fcc": "fcc", "bcc": "bcc", "hcp": "hcp", "diamond": "diamond", "sc": "sc"}
#: first and last space group of each crystal system
_SYSTEMS = {
    "triclinic": (1, 2), "monoclinic": (3, 15), "orthorhombic": (16, 74), "tetragonal": (75, 142),
    "trigonal": (143, 167), "hexagonal": (143, 194), "cubic": (195, 230), "rhombohedral": (143, 167),
}  # fmt: skip


@dataclass(frozen=True)
class Crystal:
    """A polymorph: its conventional cell and the source of its lattice."""

    formula: str
    polymorph: str
    spacegroup: int
    atoms: Atoms
    source: str
    note: str = ""


class Library:
    """All data of the library, read once."""

    def __init__(self) -> None:
        names = ("prototypes", "substances", "crystals", "elements", "molecules", "sources", "surface_energies")
        read = {name: _read(name) for name in names}
        self.prototypes: dict[str, dict[str, Any]] = read["prototypes"]
        #: surface energies in J/m², by element and Miller indices
        self.surface_energies: dict[str, dict[str, float]] = read["surface_energies"]
        self.sources: dict[str, str] = read["sources"]
        self.molecules: dict[str, dict[str, Any]] = {entry["id"]: entry for entry in read["molecules"]}
        self._crystals = {(c["formula"], c["spacegroup"], c["mineral"]): c for c in read["crystals"]}
        self.substances: dict[str, dict[str, Any]] = {entry["formula"]: entry for entry in read["substances"]}
        self.element_names: dict[str, list[str]] = {}
        for symbol, names in read["elements"].items():
            english = [atomic_names[atomic_numbers[symbol]].lower(), *names.get("en", ())]
            self.element_names[symbol] = [*english, *names["ja"]]
            self._add_element(symbol)

    def _add_element(self, symbol: str) -> None:
        state: dict[str, Any] = reference_states[atomic_numbers[symbol]] or {}
        if symbol in self.substances or state.get("symmetry") not in _ASE_PROTOTYPES:
            return
        polymorph: dict[str, Any] = {"prototype": state["symmetry"], "a": state["a"], "source": "ase"}
        if "c/a" in state:
            polymorph["c"] = state["a"] * state["c/a"]
        self.substances[symbol] = {"formula": symbol, "polymorphs": [polymorph]}

    def polymorphs(self, formula: str) -> list[str]:
        """Return the polymorphs of a formula, the usual one first; an empty list if the library lacks the formula."""
        entry = self.substances.get(self.key(formula) or "")
        return [_name(p) for p in entry["polymorphs"]] if entry else []

    def key(self, formula: str) -> str | None:
        """Return the formula in the library that has the same composition, or `None`."""
        if formula in self.substances:
            return formula
        wanted = _ratios(formula)
        return next((f for f in self.substances if wanted and _ratios(f) == wanted), None)

    def find(self, formula: str, polymorph: str | None) -> dict[str, Any] | None:
        """Return the entry of a polymorph, given its name, an alternative name, its prototype, or its crystal system.

        Without a polymorph, the usual one is returned; `None` if there is no such polymorph.
        """
        entry = self.substances.get(self.key(formula) or "")
        if entry is None:
            return None
        if polymorph is None:
            return entry["polymorphs"][0]
        word = polymorph.lower()
        for candidate in entry["polymorphs"]:
            names = [
                _name(candidate),
                candidate.get("prototype", ""),
                *candidate.get("en", ()),
                *candidate.get("ja", ()),
            ]
            prototype = self.prototypes.get(candidate.get("prototype", ""), {})
            names += [*prototype.get("en", ()), *prototype.get("ja", ())]
            if word in (name.lower() for name in names):
                return candidate
        low, high = _SYSTEMS.get(word, (0, 0))
        return next((p for p in entry["polymorphs"] if low <= self._spacegroup(p) <= high), None)

    def known(self, formula: str, polymorph: str | None = None) -> Crystal:
        """Return the conventional cell of a polymorph.

        Raises:
            LookupError: The polymorph is not in the library.
        """
        crystal = self.crystal(formula, polymorph)
        if crystal is None:
            raise LookupError(f"{formula} {polymorph or ''}: is not in the library")
        return crystal

    def crystal(self, formula: str, polymorph: str | None = None) -> Crystal | None:
        """Return the conventional cell of a polymorph, or `None` if it is not in the library."""
        entry = self.find(formula, polymorph)
        if entry is None:
            return None
        formula = self.key(formula) or formula
        atoms = self._atoms(formula, entry)
        source = self.sources[entry["source"]]
        return Crystal(formula, _name(entry), self._spacegroup(entry), atoms, source, entry.get("note", ""))

    def prototype(self, formula: str, name: str, lattice: dict[str, float]) -> Crystal | None:
        """Return a crystal with the structure of a prototype, for substances that are not in the library.

        Args:
            formula: Formula of the substance.
            name: Name of the prototype.
            lattice: Lattice constants (Å) and internal parameters; `a` is needed.

        Returns:
            The crystal; `None` if the prototype is not known, `a` is missing, or the number of elements does not match.
        """
        key = next((k for k, p in self.prototypes.items() if name.lower() in (k.lower(), *p["en"], *p["ja"])), None)
        if key is None or "a" not in lattice:
            return None
        defaults = {"u": 0.375 if key == "wurtzite" else 0.305}
        entry = {"prototype": key, "source": "aflow", **defaults, **lattice}
        if len({site[0] for site in self.prototypes[key]["sites"]}) != len(_elements(formula)):
            return None
        return Crystal(formula, key, self._spacegroup(entry), self._atoms(formula, entry), "lattice constants as given")

    def _spacegroup(self, entry: dict[str, Any]) -> int:
        if "aflow" in entry:
            return int(entry["aflow"][1])
        return int(entry.get("spacegroup") or self.prototypes[entry["prototype"]]["spacegroup"])

    def _atoms(self, formula: str, entry: dict[str, Any]) -> Atoms:
        if "aflow" in entry:
            data = self._crystals[tuple(entry["aflow"])]
            symbols = [site[0] for site in data["sites"]]
            scaled = np.array([site[1:] for site in data["sites"]], float)
            return Atoms(symbols, scaled_positions=scaled, cell=data["lattice"], pbc=True)
        prototype = self.prototypes.get(entry.get("prototype", ""), entry)
        spacegroup = prototype["spacegroup"]
        labels = dict(zip(("A", "B", "X"), entry.get("elements") or _elements(formula), strict=False))
        symbols = [labels.get(site[0], site[0]) for site in prototype["sites"]]
        basis = [[entry[x] if isinstance(x, str) else x for x in site[1:]] for site in prototype["sites"]]
        if any(symbol not in atomic_numbers for symbol in symbols):
            raise LookupError(f"{formula}: does not have the same number of elements as its prototype")
        a = entry["a"]
        angles = [90.0, entry.get("beta", 90.0), 120.0 if 143 <= spacegroup <= 194 else 90.0]
        b = entry.get("b", a)
        c = entry.get("c", a)
        setting = prototype.get("setting", 1)
        atoms = spacegroup_crystal(
            symbols, basis, spacegroup=spacegroup, setting=setting, cellpar=[a, b, c, *angles], onduplicates="keep"
        )
        return Atoms(atoms.symbols, positions=atoms.positions, cell=atoms.cell, pbc=True)


def _read(name: str) -> Any:
    return yaml.safe_load(resources.files(__package__).joinpath(f"{name}.yaml").read_text(encoding="utf-8"))


def _name(entry: dict[str, Any]) -> str:
    return str(entry.get("name") or entry["prototype"])


def _elements(formula: str) -> list[str]:
    found: list[str] = []
    for symbol in re.findall(r"[A-Z][a-z]?", formula):
        if symbol not in found:
            found.append(symbol)
    return found


def _ratios(formula: str) -> tuple[tuple[str, float], ...] | None:
    """Atomic fractions by element; `None` if the text is not a plain formula."""
    counts: dict[str, float] = {}
    if not re.fullmatch(r"(?:[A-Z][a-z]?\d*\.?\d*)+", formula):
        return None
    for symbol, number in re.findall(r"([A-Z][a-z]?)(\d*\.?\d*)", formula):
        if symbol not in chemical_symbols:
            return None
        counts[symbol] = counts.get(symbol, 0.0) + float(number or 1)
    total = sum(counts.values())
    return tuple(sorted((s, round(n / total, 6)) for s, n in counts.items()))


@lru_cache(maxsize=1)
def library() -> Library:
    """Return the library that is included in gnnpot."""
    return Library()
