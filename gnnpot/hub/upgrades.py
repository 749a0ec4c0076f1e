"""Checkpoints of earlier formats, as this version reads them: one function for each step from a format to the next.

Example::

    content, tensors = upgrade(content, tensors)     # of card.json and model.safetensors

When the content of a card, or a name or shape of a model's state changes: raise `FORMAT_VERSION` in `card.py`, add the
step here, and freeze a checkpoint of each architecture in the new format (`tests/frozen`). Options of a model that are
renamed are in YAML files too; they are translated by `gnnpot.models.architectures.current_options`.
"""

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from gnnpot.errors import ConfigError
from gnnpot.hub.card import FORMAT_VERSION
from gnnpot.models.architectures import current_options

Content = dict[str, Any]
Tensors = dict[str, Tensor]


def _with_matgl_rows(content: Content, tensors: Tensors) -> tuple[Content, Tensors]:
    """2 -> 3: matgl's rows were an option of M3GNet, and are an architecture."""
    try:
        return {**content, "model": dict(current_options(content["model"]))}, tensors
    except ValueError as error:
        raise ConfigError(str(error)) from None


#: format -> what turns a checkpoint of it into one of the next; cards of format 1 are as those of format 2
STEPS: Mapping[int, Callable[[Content, Tensors], tuple[Content, Tensors]]] = {2: _with_matgl_rows}


def upgrade(content: Content, tensors: Tensors) -> tuple[Content, Tensors]:
    """A checkpoint as this version writes it.

    Args:
        content: Of its card, in the format that `format_version` says.
        tensors: Of its weights.

    Returns:
        Both in the format `FORMAT_VERSION`.

    Raises:
        ConfigError: For options that no model had.
    """
    for version in range(content["format_version"], FORMAT_VERSION):
        if version in STEPS:
            content, tensors = STEPS[version](content, tensors)
    return {**content, "format_version": FORMAT_VERSION}, tensors
