"""Models: from a graph to the energies of its atoms. Each architecture is a file with a model and its configuration.

    model = build_model(M3GNetConfig(elements=("Na", "Cl")))

A new architecture needs a file here and a line in `architectures.py`, or an entry point in another package.

Models compute energies of atoms and their gradient with respect to the edge vectors. Compiled backends are in `fast/`.
Forces, stress and element references are in `gnnpot.potential`, operators of several models in `gnnpot.ops`, weights
and model cards in `gnnpot.hub`, and losses in `gnnpot.training`.
"""

from gnnpot.models.architectures import (
    Architecture,
    ModelConfig,
    architecture_names,
    build_model,
    find_architecture,
)
from gnnpot.models.base import AtomicOutput, EnergyModel
from gnnpot.models.chgnet import CHGNet, CHGNetConfig
from gnnpot.models.hdnnp import HDNNP, HDNNPConfig
from gnnpot.models.m3gnet import M3GNet, M3GNetConfig
from gnnpot.models.m3gnet_matgl_rows import M3GNetMatglRows, M3GNetMatglRowsConfig
from gnnpot.models.nequix import Nequix, NequixConfig
from gnnpot.models.sevennet import SevenNet, SevenNetConfig
from gnnpot.models.zbl import ZBL, ZBLConfig

__all__ = [
    "HDNNP",
    "ZBL",
    "Architecture",
    "AtomicOutput",
    "CHGNet",
    "CHGNetConfig",
    "EnergyModel",
    "HDNNPConfig",
    "M3GNet",
    "M3GNetConfig",
    "M3GNetMatglRows",
    "M3GNetMatglRowsConfig",
    "ModelConfig",
    "Nequix",
    "NequixConfig",
    "SevenNet",
    "SevenNetConfig",
    "ZBLConfig",
    "architecture_names",
    "build_model",
    "find_architecture",
]
