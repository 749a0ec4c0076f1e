"""Architectures by name: those of gnnpot, and those of other packages (entry points `gnnpot.models`).

Example::

    build_model(M3GNetConfig(elements=("Na", "Cl")))
    config_class("m3gnet")                              # M3GNetConfig

A configuration of any architecture is a field of the type `ModelConfig`; its option `architecture` decides the class.
"""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Protocol

from torch import Tensor

from gnnpot.config import ChosenBy
from gnnpot.models.base import EnergyModel
from gnnpot.models.chgnet import CHGNet, CHGNetConfig
from gnnpot.models.hdnnp import HDNNP, HDNNPConfig
from gnnpot.models.m3gnet import M3GNet, M3GNetConfig
from gnnpot.models.m3gnet_matgl_rows import M3GNetMatglRows, M3GNetMatglRowsConfig
from gnnpot.models.nequix import Nequix, NequixConfig
from gnnpot.models.sevennet import SevenNet, SevenNetConfig
from gnnpot.models.zbl import ZBL, ZBLConfig
from gnnpot.plugins import MODELS, Plugin, Registry


class AnyModelConfig(Protocol):
    """A frozen dataclass with the options of an architecture, among them these."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def architecture(self) -> str:
        """The name, a `Literal` with one value, which is the default."""

    @property
    def elements(self) -> tuple[str, ...]:
        """Symbols; `()` in training: those of the data."""


@dataclass(frozen=True, slots=True)
class Architecture:
    """What the entry point of an architecture gives."""

    config: type[AnyModelConfig]  #: a frozen dataclass
    model: Callable[[Any], EnergyModel]  #: called with a `config`, which it keeps as its attribute `config`
    #: raised by the authors when options, names or shapes of the state change; checkpoints contain it
    version: int = 1
    #: `upgrade(version, options, tensors) -> (options, tensors)`: what a checkpoint of an earlier version contains, as
    #: this version reads it; names of tensors are those of the model's state
    upgrade: Callable[[int, dict[str, Any], dict[str, Tensor]], tuple[dict[str, Any], dict[str, Tensor]]] | None = None


OWN: Mapping[str, Architecture] = {
    "m3gnet": Architecture(M3GNetConfig, M3GNet),
    "m3gnet-matgl-rows": Architecture(M3GNetMatglRowsConfig, M3GNetMatglRows),
    "chgnet": Architecture(CHGNetConfig, CHGNet),
    "sevennet": Architecture(SevenNetConfig, SevenNet),
    "nequix": Architecture(NequixConfig, Nequix),
    "hdnnp": Architecture(HDNNPConfig, HDNNP),
}


def _checked(plugin: Plugin, found: Any) -> Architecture:
    if not isinstance(found, Architecture):
        raise plugin.refused("is no gnnpot.models.Architecture")
    if not dataclasses.is_dataclass(found.config):
        raise plugin.refused("has a config that is no dataclass")
    fields = {field.name: field for field in dataclasses.fields(found.config)}
    if "elements" not in fields or "architecture" not in fields or fields["architecture"].default != plugin.name:
        raise plugin.refused(
            f"has a config without the fields 'elements' and 'architecture', with '{plugin.name}' as its default"
        )
    return found


REGISTRY = Registry(MODELS, "architecture", own=lambda: OWN, load=OWN.__getitem__, check=_checked)


def architecture_names() -> list[str]:
    """Names of all architectures; nothing is imported.

    Returns:
        gnnpot's own first, then those of plug-ins.
    """
    return REGISTRY.names()


def find_architecture(name: str) -> Architecture:
    """The architecture of a name.

    Args:
        name: One of `architecture_names()`.

    Returns:
        Class of its options, class of its model, and version.

    Raises:
        ConfigError: There is no such architecture; the message has the nearest name.
        PluginError: The package that adds it can't be used, or several packages declare the name.
    """
    return REGISTRY.find(name)


def find_package(name: str) -> Plugin | None:
    """The package that adds an architecture; `None` for gnnpot's own."""
    return REGISTRY.plugin(name)


def config_class(name: str) -> type[AnyModelConfig]:
    """The configuration of an architecture. Raises as `find_architecture`."""
    return find_architecture(name).config


def current_options(options: Mapping[str, Any]) -> Mapping[str, Any]:
    """Options of a model as earlier versions of gnnpot wrote them, as they are now.

    Until version 0.1, the rows of matgl were an option of M3GNet, `layout`. Raises `ValueError` for an impossible one.
    """
    if options.get("architecture") != "m3gnet" or "layout" not in options:
        return options
    rest = {name: value for name, value in options.items() if name != "layout"}
    layout = options["layout"]
    if layout == "paper":
        return rest
    variants = {"matgl": "2.2", "matgl-3": "4.0"}
    if not isinstance(layout, str) or layout not in variants:
        raise ValueError(f"layout: {layout!r:.60} is not a choice; leave it out")
    return {**rest, "architecture": "m3gnet-matgl-rows", "matgl": variants[layout]}


#: of a field of a dataclass: told apart by the option `architecture`
ModelConfig = Annotated[AnyModelConfig, ChosenBy("architecture", architecture_names, config_class, current_options)]


def build_model(config: AnyModelConfig | ZBLConfig) -> EnergyModel:
    """The model that a config describes, with fresh weights."""
    if isinstance(config, ZBLConfig):
        return ZBL(config)
    name = config.architecture
    model = (OWN.get(name) or find_architecture(name)).model(config)
    package = find_package(name)
    if package is not None and getattr(model, "config", None) != config:
        raise package.refused("does not keep its options as the attribute 'config'")
    return model
