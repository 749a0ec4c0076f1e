"""Registry of properties of gnnpot and of other packages (entry points `gnnpot.properties`).

Example::

    property_names()                       # available names; no property is imported
    result = find_property("elastic").calc(atoms, calculator)
"""

import importlib
from typing import Any, Protocol, cast

from ase import Atoms
from ase.calculators.calculator import BaseCalculator

from gnnpot.plugins import PROPERTIES, Plugin, Registry

#: name -> module with `calc`, imported on demand
OWN: dict[str, str] = {
    "adsorption": "gnnpot.properties.adsorption",
    "diffusion": "gnnpot.properties.diffusion",
    "dimers": "gnnpot.properties.dimers",
    "elastic": "gnnpot.properties.elastic",
    "equation-of-state": "gnnpot.properties.equation_of_state",
    "formation-energy": "gnnpot.properties.formation_energy",
    "interstitial": "gnnpot.properties.interstitial",
    "neb": "gnnpot.properties.neb",
    "phonons": "gnnpot.properties.phonons",
    "quasi-harmonic": "gnnpot.properties.quasi_harmonic",
    "rdf": "gnnpot.properties.rdf",
    "surface": "gnnpot.properties.surface",
    "thermal-conductivity": "gnnpot.properties.thermal_conductivity",
    "vacancy": "gnnpot.properties.vacancy",
    "voltage": "gnnpot.properties.voltage",
}


class Property(Protocol):
    """A module or object that calculates a property."""

    def calc(self, atoms: Atoms, calculator: BaseCalculator, /, **options: Any) -> Any:
        """Calculate the property of a structure.

        The result is a frozen dataclass with the unit of each field in its comment. `gnnpot property NAME` also
        requires its methods `to_json()`, with units in the keys, and `plot(path)`, which saves a plot as PNG.
        """


def _load(name: str) -> Property:
    return cast("Property", importlib.import_module(OWN[name]))


def _check(plugin: Plugin, found: Any) -> Property:
    if not callable(getattr(found, "calc", None)):
        raise plugin.refused("has no function 'calc(atoms, calculator)'")
    return cast("Property", found)


REGISTRY = Registry(PROPERTIES, "property", own=lambda: OWN, load=_load, check=_check)


def property_names() -> list[str]:
    """Names accepted by `find_property`.

    Returns:
        Names of gnnpot's properties, followed by those of plug-ins.
    """
    return REGISTRY.names()


def find_property(name: str) -> Property:
    """Find a property by name.

    Args:
        name: One of `property_names()`.

    Returns:
        The module or object with its `calc` function.

    Raises:
        ConfigError: There is no such property; the message suggests the nearest name.
        PluginError: The package of the property can't be used, or several packages declare the name.
    """
    return REGISTRY.find(name)
