"""How large a model may be, so that a damaged or odd configuration is refused before anything is made of it.

The limits are far beyond what is published, and below what would fill memory or take minutes to build.
"""

from typing import Any

from gnnpot.config import check_ranges

#: numbers of features, nodes of a layer
MAX_WIDTH = 4096
#: layers and blocks
MAX_DEPTH = 100
#: angular momenta
MAX_CHANNELS = 7
#: Å; reach of edges
LENGTHS = (0.01, 50.0)
#: symmetry functions of a descriptor
MAX_FUNCTIONS = 10_000


def check_equivariant_sizes(config: Any) -> None:
    """Raise `ValueError` for sizes of a SevenNet or Nequix that can't be."""
    if not 1 <= len(config.channels) <= MAX_CHANNELS:
        raise ValueError(f"channels: needs a number for each l, 1 to {MAX_CHANNELS} of them, got {config.channels}")
    if len(config.radial_hidden) > MAX_DEPTH:
        raise ValueError(f"radial_hidden: {len(config.radial_hidden)} layers are more than {MAX_DEPTH}")
    check_ranges(config, channels=(1, MAX_WIDTH), radial_hidden=(1, MAX_WIDTH), layers=(1, MAX_DEPTH))
    check_ranges(config, radial=(1, 500), cutoff_power=(1, 50), cutoff=LENGTHS)
