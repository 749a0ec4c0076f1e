"""Models: graph -> energy per atom. One file an architecture, its config class beside it.

    model = build_model(M3GNetConfig(elements=("Na", "Cl")))

A new architecture is a file here and a line in `architectures.py`, or an entry point of another package.

Here belongs what turns a graph into energies of atoms and their gradient with respect to the edge vectors; the compiled
copies are in `fast/`. Forces, stress and element references do not (`gnnpot.potential`), nor operators that several
models call (`gnnpot.ops`), nor weights and cards (`gnnpot.hub`), nor losses (`gnnpot.training`).
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
