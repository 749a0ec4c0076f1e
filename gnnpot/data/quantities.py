"""Table of the quantities that a calculation gives for a structure.

    for quantity in QUANTITIES.values():
        quantity.name, quantity.unit, quantity.shape_of(n_atoms)
    check = QUANTITIES["forces"].largest

Readers, stores, graphs, losses, metrics and reports iterate over this table and support no other labels. `energy`,
`forces`, `stress` and `magmoms` are attributes of `Frame`, `AtomicOutput` and `Prediction`; other quantities are in
their `others`, by name.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from gnnpot.units import GPA


@dataclass(frozen=True, slots=True)
class Quantity:
    """A quantity of a structure or of each of its atoms."""

    name: str  #: as in ASE, if ASE has the quantity
    unit: str  #: unit in gnnpot
    per: Literal["structure", "atom"]
    shape: tuple[int, ...]  #: shape of the value of one structure or one atom
    largest: float  #: larger magnitudes are rejected as mistakes; per atom for extensive quantities
    keys: tuple[str, ...]  #: names of the label in files; the first one found is used
    words: frozenset[str]  #: a key of a file that has one of these words may be the label
    title: str  #: name of the components in tables and figures
    short: str  #: name within a sentence
    extensive: bool = False  #: proportional to the number of atoms; errors are given per atom
    has_sign: bool = True  #: if false, magnitudes are compared, as for the magnetic moments of a crystal
    needs_volume: bool = False  #: only defined for structures whose cell has a volume
    derivative: bool = False  #: a derivative of the energy, which every model predicts
    shown: tuple[str, float] | None = None  #: unit of values in reports, and the factor to it from `unit`
    shown_errors: tuple[str, float] | None = None  #: unit of errors in reports, and the factor to it from `unit`

    def shape_of(self, n_atoms: int) -> tuple[int, ...]:
        """Shape of the quantity for a structure of `n_atoms` atoms."""
        return (n_atoms, *self.shape) if self.per == "atom" else self.shape

    @property
    def value_unit(self) -> tuple[str, float]:
        """Unit of values in reports, and the factor to it from `unit`."""
        return self.shown or (self.unit, 1.0)

    @property
    def error_unit(self) -> tuple[str, float]:
        """Unit of errors in reports, and the factor to it from `unit`."""
        return self.shown_errors or self.value_unit


QUANTITIES: dict[str, Quantity] = {
    quantity.name: quantity
    for quantity in (
        Quantity(
            name="energy", unit="eV", per="structure", shape=(), largest=1e7,  # 1.5e6 eV for element 118
            keys=("free_energy", "energy"), words=frozenset({"energy", "toten", "etot", "epot"}),
            title="Energy", short="energy", extensive=True,
            shown=("eV/atom", 1.0), shown_errors=("meV/atom", 1e3),
        ),
        Quantity(
            name="forces", unit="eV/Å", per="atom", shape=(3,), largest=1e9,
            keys=("forces",), words=frozenset({"force", "forces", "frc", "for", "grad", "gradient", "gradients"}),
            title="Force components", short="force", derivative=True,
        ),
        Quantity(
            name="stress", unit="eV/Å³", per="structure", shape=(6,), largest=1e7,
            keys=("stress", "virial"), words=frozenset({"stress", "stresses", "virial", "virials"}),
            title="Stress components", short="stress", needs_volume=True, derivative=True, shown=("GPa", 1 / GPA),
        ),
        Quantity(
            name="magmoms", unit="µB", per="atom", shape=(), largest=100.0,
            keys=("magmoms",), words=frozenset({"magmom", "magmoms"}),
            title="Magnetic moments", short="moment", has_sign=False,
        ),
    )
}  # fmt: skip

#: names of the quantities that are attributes of `Frame`, `AtomicOutput` and `Prediction`
ATTRIBUTES = tuple(QUANTITIES)


def values_of(holder: object) -> dict[str, Any]:
    """Return the quantities of a frame or prediction that are not `None`, by name, in the order of the table."""
    others: Mapping[str, Any] = getattr(holder, "others", {})
    found = {name: getattr(holder, name, None) if name in ATTRIBUTES else others.get(name) for name in QUANTITIES}
    return {name: value for name, value in found.items() if value is not None}


def fields_of(values: Mapping[str, Any]) -> dict[str, Any]:
    """Convert `values` by name to arguments of a class with the attributes `ATTRIBUTES` and `others`."""
    given: dict[str, Any] = {name: values.get(name) for name in ATTRIBUTES}
    given["others"] = {name: value for name, value in values.items() if name not in ATTRIBUTES and value is not None}
    return given


def labels_where(condition: Callable[[Quantity], bool]) -> tuple[str, ...]:
    """Return the names of the quantities for which `condition` is true."""
    return tuple(name for name, quantity in QUANTITIES.items() if condition(quantity))
