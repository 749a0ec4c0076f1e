"""Limits of the sizes of models, so that a damaged or unreasonable configuration is rejected before a model is built.

The limits are far beyond the sizes of published models, and below sizes that would fill the memory or take minutes to
build.
"""

from typing import Any

from gnnpot.config import check_ranges
from gnnpot.domains import check_fields

#: channels of features, nodes of a layer
MAX_WIDTH = 4096
#: layers and blocks
MAX_DEPTH = 100
#: number of angular momenta
MAX_CHANNELS = 7
#: Å, range of cutoffs
LENGTHS = (0.01, 50.0)
#: symmetry functions of a descriptor
MAX_FUNCTIONS = 10_000


def check_equivariant_sizes(config: Any) -> None:
    """Raise `ValueError` if an option of a SevenNet or Nequix has no valid value, or a size is out of range."""
    check_fields(config)
    if not 1 <= len(config.channels) <= MAX_CHANNELS:
        raise ValueError(f"channels: needs a number for each l, 1 to {MAX_CHANNELS} of them, got {config.channels}")
    if len(config.radial_hidden) > MAX_DEPTH:
        raise ValueError(f"radial_hidden: {len(config.radial_hidden)} layers are more than {MAX_DEPTH}")
    check_ranges(config, channels=(1, MAX_WIDTH), radial_hidden=(1, MAX_WIDTH), layers=(1, MAX_DEPTH))
    check_ranges(config, radial=(1, 500), cutoff_power=(1, 50), cutoff=LENGTHS)
