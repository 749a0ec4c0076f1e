"""Registry of architectures: those of gnnpot, and those of other packages (entry points `gnnpot.models`).

Example::

    build_model(M3GNetConfig(elements=("Na", "Cl")))
    config_class("m3gnet")                              # M3GNetConfig

Dataclass fields of the type `ModelConfig` accept the configuration of any architecture; its option `architecture`
selects the class.
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
    """Protocol of configurations: a frozen dataclass with the options of an architecture, including these two."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def architecture(self) -> str:
        """Name of the architecture: a field of type `Literal` with a single value, which is its default."""

    @property
    def elements(self) -> tuple[str, ...]:
        """Chemical symbols; `()` in training means the elements of the training data."""


@dataclass(frozen=True, slots=True)
class Architecture:
    """Description of an architecture, to which entry points refer."""

    config: type[AnyModelConfig]  #: class of the configuration, a frozen dataclass
    model: Callable[[Any], EnergyModel]  #: called with a configuration; the model keeps it as its attribute `config`
    #: version of the checkpoints; to be increased when options, or names or shapes in the state dict, change
    version: int = 1
    #: `upgrade(version, options, tensors) -> (options, tensors)`: converts the contents of a checkpoint of an earlier
    #: version to this version; names of tensors are those of the state dict
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
    """Names of all architectures, without importing the packages that define them.

    Returns:
        Names of gnnpot's architectures, then those of other packages.
    """
    return REGISTRY.names()


def find_architecture(name: str) -> Architecture:
    """Return the architecture with a given name.

    Args:
        name: One of `architecture_names()`.

    Returns:
        Class of the configuration, class of the model, and version.

    Raises:
        ConfigError: There is no such architecture; the message suggests the most similar name.
        PluginError: The package that defines it cannot be used, or several packages define the name.
    """
    return REGISTRY.find(name)


def find_package(name: str) -> Plugin | None:
    """Return the package that defines an architecture; `None` for gnnpot's own."""
    return REGISTRY.plugin(name)


def config_class(name: str) -> type[AnyModelConfig]:
    """Return the configuration class of an architecture. Raises the same errors as `find_architecture`."""
    return find_architecture(name).config


def current_options(options: Mapping[str, Any]) -> Mapping[str, Any]:
    """Convert the options of a model, as written by an earlier version of gnnpot, to the current options.

    Until version 0.1, the edge numbers of matgl were an option of M3GNet, `layout`. Raises `ValueError` if its value is
    invalid.
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


#: type of dataclass fields that accept the configuration of any architecture, selected by the option `architecture`
ModelConfig = Annotated[AnyModelConfig, ChosenBy("architecture", architecture_names, config_class, current_options)]


def build_model(config: AnyModelConfig | ZBLConfig) -> EnergyModel:
    """Build the model of a configuration, with newly initialised weights."""
    if isinstance(config, ZBLConfig):
        return ZBL(config)
    name = config.architecture
    model = (OWN.get(name) or find_architecture(name)).model(config)
    package = find_package(name)
    if package is not None and getattr(model, "config", None) != config:
        raise package.refused("does not keep its options as the attribute 'config'")
    return model
