"""Plug-ins: what other installed packages add to gnnpot, found by their entry points and imported when it is used.

    # pyproject.toml of the other package
    [project.entry-points."gnnpot.models"]
    schnet = "gnnpot_schnet:ARCHITECTURE"

    models = Registry(MODELS, "architecture", own=lambda: OWN, load=OWN.__getitem__, check=check)
    models.names()                            # gnnpot's own and "schnet"; nothing is imported
    models.find("schnet")                     # imports gnnpot_schnet

| group                | name of the entry point | what it gives                                                       |
|----------------------|-------------------------|---------------------------------------------------------------------|
| `gnnpot.models`      | of the architecture     | a `gnnpot.models.Architecture`                                      |
| `gnnpot.readers`     | of the format           | a subclass of `gnnpot.data.readers.Reader`                          |
| `gnnpot.properties`  | of the property         | a module or object with `calc(atoms, calculator) -> result`         |

A name is refused if gnnpot has it already (gnnpot's own keeps its meaning, and the log names the package), or if two
packages have it (an error where it is used). A package that can't be imported fails where its name is used, and
nowhere else.
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
GROUPS = (MODELS, READERS, PROPERTIES)


@dataclass(frozen=True, slots=True)
class Plugin:
    """An entry point of another package."""

    group: str  #: one of `GROUPS`
    name: str
    package: str  #: name of the distribution, as pip knows it
    version: str  #: of the distribution
    entry_point: EntryPoint

    def load(self) -> Any:
        """Import what the entry point names.

        Raises:
            PluginError: The package can't be imported, or has no such attribute.
        """
        try:
            return self.entry_point.load()
        except (Exception, SystemExit) as error:
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            raise self.refused(f"can't be imported ({reason})") from error

    def refused(self, reason: str) -> PluginError:
        """The error that says why this plug-in can't be used: "its '…' of gnnpot.models" and the reason."""
        return PluginError(
            f"{self.package} {self.version}: its '{self.name}' of {self.group} {reason}; update or remove the package: "
            f"pip uninstall {self.package}"
        )


def plugins(group: str) -> dict[str, tuple[Plugin, ...]]:
    """All plug-ins of a group by name, in alphabetical order; nothing is imported.

    A name has several plug-ins if several packages declare it. Packages that are installed later are found by the next
    process.
    """
    return _declared(group, tuple(sys.path))


@cache
def _declared(group: str, _path: tuple[str, ...]) -> dict[str, tuple[Plugin, ...]]:
    """What the packages on a path declare."""
    found: dict[str, list[Plugin]] = {}
    for entry in entry_points(group=group):
        package, version = (entry.dist.name, entry.dist.version) if entry.dist else ("unknown package", "")
        found.setdefault(entry.name, []).append(Plugin(group, entry.name, package, version, entry))
    return {name: tuple(found[name]) for name in sorted(found)}


T = TypeVar("T")


@dataclass(frozen=True)
class Registry(Generic[T]):
    """What gnnpot has of one kind, and what plug-ins add to it, by name."""

    group: str  #: one of `GROUPS`
    what: str  #: one of them is called in messages: "property"
    own: Callable[[], Collection[str]]  #: gnnpot's own names
    load: Callable[[str], T]  #: gnnpot's own of a name
    #: what a plug-in gives, if it is of the kind; raises `Plugin.refused` otherwise
    check: Callable[[Plugin, Any], T]
    error: type[GnnpotError] = ConfigError  #: of a name that is not known

    def names(self) -> list[str]:
        """All names, gnnpot's own first."""
        return [*self.own(), *self.added()]

    def added(self) -> list[str]:
        """Names that plug-ins add; gnnpot's own, which they may not have, are logged and left out."""
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
        """What has a name.

        Args:
            name: One of `names()`.

        Raises:
            GnnpotError: The name is not known, as `error`; the message has the nearest one.
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
    """Say once that a name is not used."""
    for plugin in found:
        log.warning(
            "%s %s: its '%s' of %s is not used, because gnnpot has one of this name",
            plugin.package, plugin.version, plugin.name, plugin.group,
        )  # fmt: skip
