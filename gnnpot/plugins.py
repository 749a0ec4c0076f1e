"""Plug-ins: models, readers and properties that other installed packages add to gnnpot.

They are found by their entry points and imported when they are used.

    # pyproject.toml of the other package
    [project.entry-points."gnnpot.models"]
    schnet = "gnnpot_schnet:ARCHITECTURE"

    models = Registry(MODELS, "architecture", own=lambda: OWN, load=OWN.__getitem__, check=check)
    models.names()                            # gnnpot's own and "schnet"; nothing is imported
    models.find("schnet")                     # imports gnnpot_schnet

| group                | name of the entry point | object that it refers to                                            |
|----------------------|-------------------------|---------------------------------------------------------------------|
| `gnnpot.models`      | name of an architecture | a `gnnpot.models.Architecture`                                      |
| `gnnpot.readers`     | name of a format        | a subclass of `gnnpot.data.readers.Reader`                          |
| `gnnpot.properties`  | name of a property      | a module or object with `calc(atoms, calculator) -> result`         |

A plug-in is ignored if gnnpot itself has something of the same name; a warning in the log names the package. A name
that two packages declare is an error when it is used. A package that can't be imported is an error only when a name
that it declares is used.
"""

import logging
import sys
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, TypeVar

from gnnpot.errors import ConfigError, GnnpotError, PluginError, suggest

log = logging.getLogger(__name__)

MODELS, READERS, PROPERTIES = "gnnpot.models", "gnnpot.readers", "gnnpot.properties"


@dataclass(frozen=True, slots=True)
class Plugin:
    """An entry point of another package."""

    group: str  #: `MODELS`, `READERS` or `PROPERTIES`
    name: str
    package: str  #: name of the distribution, as pip knows it
    version: str  #: version of the distribution
    entry_point: EntryPoint

    def load(self) -> Any:
        """Import the object that the entry point refers to.

        Raises:
            PluginError: The package can't be imported, or has no such attribute.
        """
        try:
            return self.entry_point.load()
        except (Exception, SystemExit) as error:
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            raise self.refused(f"can't be imported ({reason})") from error

    def refused(self, reason: str) -> PluginError:
        """Return an error that says why this plug-in can't be used; `reason` follows "its '…' of gnnpot.models"."""
        return PluginError(
            f"{self.package} {self.version}: its '{self.name}' of {self.group} {reason}; update or remove the package: "
            f"pip uninstall {self.package}"
        )


def plugins(group: str) -> dict[str, tuple[Plugin, ...]]:
    """Return all plug-ins of a group by name, in alphabetical order, without importing them.

    A name has several plug-ins if several packages declare it. Packages that are installed after the first call are
    found only by a new process.
    """
    return _declared(group, tuple(sys.path))


@cache
def _declared(group: str, _path: tuple[str, ...]) -> dict[str, tuple[Plugin, ...]]:
    """Plug-ins that the packages on a path declare."""
    found: dict[str, list[Plugin]] = {}
    for entry in entry_points(group=group):
        package, version = (entry.dist.name, entry.dist.version) if entry.dist else ("unknown package", "")
        found.setdefault(entry.name, []).append(Plugin(group, entry.name, package, version, entry))
    return {name: tuple(found[name]) for name in sorted(found)}


T = TypeVar("T")


@dataclass(frozen=True)
class Registry(Generic[T]):
    """All objects of one kind by name: gnnpot's own, and those that plug-ins add."""

    group: str  #: `MODELS`, `READERS` or `PROPERTIES`
    what: str  #: the kind of object as named in messages, such as "property"
    own: Callable[[], Collection[str]]  #: returns the names of gnnpot's own objects
    load: Callable[[str], T]  #: returns gnnpot's own object of a name
    #: returns the object of a plug-in if it is of the right kind; raises `Plugin.refused` otherwise
    check: Callable[[Plugin, Any], T]
    error: type[GnnpotError] = ConfigError  #: class of the error for an unknown name

    def names(self) -> list[str]:
        """All names, gnnpot's own first."""
        return [*self.own(), *self.added()]

    def added(self) -> list[str]:
        """Names that plug-ins add. Plug-ins with a name of gnnpot's own objects are logged and left out."""
        own, found = set(self.own()), plugins(self.group)
        for name in own & found.keys():
            _log_refusal(found[name])
        return [name for name in found if name not in own]

    def plugin(self, name: str) -> Plugin | None:
        """The plug-in of a name; `None` if there is none, or if the name is gnnpot's own.

        Raises:
            PluginError: Several packages declare the name.
        """
        found = plugins(self.group).get(name, ())
        if name in self.own():
            _log_refusal(found)
            return None
        if len(found) > 1:
            packages = " and ".join(f"{plugin.package} {plugin.version}" for plugin in found)
            raise PluginError(
                f"'{name}' of {self.group} is declared by {packages}, so it is not clear which is meant; remove one of "
                f"them: pip uninstall {found[-1].package}"
            )
        return found[0] if found else None

    def find(self, name: str) -> T:
        """Return the object of a name.

        Args:
            name: One of `names()`.

        Raises:
            GnnpotError: The name is unknown. The class is `error`; the message suggests the nearest name.
            PluginError: The package that adds it can't be used, or several packages declare the name.
        """
        plugin = self.plugin(name)
        if name in self.own():
            return self.load(name)
        if plugin is None:
            raise self.error(f"{self.what} '{name}' is not known; {suggest(name, self.names())}")
        return self.check(plugin, plugin.load())


@cache
def _log_refusal(found: tuple[Plugin, ...]) -> None:
    """Log once that the plug-ins of a name are not used."""
    for plugin in found:
        log.warning(
            "%s %s: its '%s' of %s is not used, because gnnpot has one of this name",
            plugin.package, plugin.version, plugin.name, plugin.group,
        )  # fmt: skip
