"""Models: graph -> energy per atom. One file an architecture, its config class beside it.

    model = build_model(M3GNetConfig(elements=("Na", "Cl")))

A new architecture is a file here, and a line in `ModelConfig` and `_MODELS`.
"""

from gnnpot.models.base import AtomicOutput, EnergyModel
from gnnpot.models.chgnet import CHGNet, CHGNetConfig
from gnnpot.models.hdnnp import HDNNP, HDNNPConfig
from gnnpot.models.m3gnet import M3GNet, M3GNetConfig
from gnnpot.models.nequix import Nequix, NequixConfig
from gnnpot.models.sevennet import SevenNet, SevenNetConfig
from gnnpot.models.zbl import ZBL, ZBLConfig

#: Told apart by their field `architecture`.
ModelConfig = M3GNetConfig | CHGNetConfig | SevenNetConfig | NequixConfig | HDNNPConfig

_MODELS = {
    M3GNetConfig: M3GNet,
    CHGNetConfig: CHGNet,
    SevenNetConfig: SevenNet,
    NequixConfig: Nequix,
    HDNNPConfig: HDNNP,
    ZBLConfig: ZBL,
}


def build_model(config: ModelConfig | ZBLConfig) -> EnergyModel:
    """The model that a config describes, with fresh weights."""
    return _MODELS[type(config)](config)


__all__ = [
    "HDNNP",
    "ZBL",
    "AtomicOutput",
    "CHGNet",
    "CHGNetConfig",
    "EnergyModel",
    "HDNNPConfig",
    "M3GNet",
    "M3GNetConfig",
    "ModelConfig",
    "Nequix",
    "NequixConfig",
    "SevenNet",
    "SevenNetConfig",
    "ZBLConfig",
    "build_model",
]
