"""Upgrades of checkpoints in earlier formats, with one function for each step from a format to the next.

Example::

    content, tensors = upgrade(content, tensors)     # contents of card.json and model.safetensors

If the contents of cards, or the names or shapes of the tensors of a model change: increment `FORMAT_VERSION` in
`card.py`, add the step here, and add a checkpoint of each architecture in the new format to `tests/frozen`. Renamed
options of models, which are also in YAML files, are converted by `gnnpot.models.architectures.current_options`.
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
    """Upgrade from 2 to 3: the rows of matgl were an option of M3GNet, and are now an architecture."""
    try:
        return {**content, "model": dict(current_options(content["model"]))}, tensors
    except ValueError as error:
        raise ConfigError(str(error)) from None


#: format -> function that upgrades a checkpoint to the next format; formats 1 and 2 need no conversion
STEPS: Mapping[int, Callable[[Content, Tensors], tuple[Content, Tensors]]] = {2: _with_matgl_rows}


def upgrade(content: Content, tensors: Tensors) -> tuple[Content, Tensors]:
    """Upgrade a checkpoint to the current format.

    Args:
        content: Contents of the card, in the format of its `format_version`.
        tensors: The weights.

    Returns:
        Contents and weights in the format `FORMAT_VERSION`.

    Raises:
        ConfigError: The card has invalid options.
    """
    for version in range(content["format_version"], FORMAT_VERSION):
        if version in STEPS:
            content, tensors = STEPS[version](content, tensors)
    return {**content, "format_version": FORMAT_VERSION}, tensors
