"""gnnpot: training, evaluation and use of machine-learned interatomic potentials.

    import gnnpot
    atoms.calc = gnnpot.Calculator()                    # the default potential
    potential = gnnpot.load("7net-0")                   # a published potential, or a folder
    for atoms in gnnpot.predict(structures, potential): # energies, forces, stresses of many structures
        atoms.get_potential_energy()

All of these functions accept structures as ASE `Atoms`, pymatgen `Structure` or `Molecule`, or `Frame`.

Stability: the names in `__all__` are the public interface. Their meaning, arguments and units change only in a major
version (before 1.0, a minor version). `docs/api.md` lists the other public parts: base classes for plug-ins, options
and file formats. Everything else may change in any version. A deprecated name or argument is kept for at least one
minor version, emits a `DeprecationWarning` that names its replacement, and is listed in CHANGELOG.md under
"Deprecated".

Names are imported at their first use, so that `import gnnpot` takes milliseconds.
"""

import importlib
from typing import TYPE_CHECKING, Any

from gnnpot.errors import GnnpotError
from gnnpot.extras import needs_extra

if TYPE_CHECKING:
    from gnnpot.data.frame import Frame
    from gnnpot.data.readers import read_frames
    from gnnpot.data.structures import as_atoms
    from gnnpot.engines.calculator import Calculator
    from gnnpot.engines.md import MDConfig, run_md
    from gnnpot.engines.predict import predict
    from gnnpot.engines.relax import relax
    from gnnpot.hub.card import Card
    from gnnpot.hub.catalogue import list_models
    from gnnpot.hub.checkpoint import save_checkpoint
    from gnnpot.hub.opening import load
    from gnnpot.potential import Potential, Prediction
    from gnnpot.properties.contract import check_contract as check
    from gnnpot.sampling import label
    from gnnpot.training.config import read_config
    from gnnpot.training.evaluate import evaluate
    from gnnpot.training.run import train
    from gnnpot.workflows.distil import distil, read_distil_config
    from gnnpot.workflows.finetune import finetune, read_finetune_config

__all__ = [
    "Calculator",
    "Card",
    "Frame",
    "GnnpotError",
    "MDConfig",
    "Potential",
    "Prediction",
    "as_atoms",
    "check",
    "distil",
    "evaluate",
    "finetune",
    "label",
    "list_models",
    "load",
    "predict",
    "read_config",
    "read_distil_config",
    "read_finetune_config",
    "read_frames",
    "relax",
    "run_md",
    "save_checkpoint",
    "train",
]

#: public name -> (module, name in the module)
_PUBLIC = {
    "Calculator": ("gnnpot.engines.calculator", "Calculator"),
    "Card": ("gnnpot.hub.card", "Card"),
    "Frame": ("gnnpot.data.frame", "Frame"),
    "MDConfig": ("gnnpot.engines.md", "MDConfig"),
    "Potential": ("gnnpot.potential", "Potential"),
    "Prediction": ("gnnpot.potential", "Prediction"),
    "as_atoms": ("gnnpot.data.structures", "as_atoms"),
    "check": ("gnnpot.properties.contract", "check_contract"),
    "distil": ("gnnpot.workflows.distil", "distil"),
    "evaluate": ("gnnpot.training.evaluate", "evaluate"),
    "finetune": ("gnnpot.workflows.finetune", "finetune"),
    "label": ("gnnpot.sampling", "label"),
    "list_models": ("gnnpot.hub.catalogue", "list_models"),
    "load": ("gnnpot.hub.opening", "load"),
    "predict": ("gnnpot.engines.predict", "predict"),
    "read_config": ("gnnpot.training.config", "read_config"),
    "read_distil_config": ("gnnpot.workflows.distil", "read_distil_config"),
    "read_finetune_config": ("gnnpot.workflows.finetune", "read_finetune_config"),
    "read_frames": ("gnnpot.data.readers", "read_frames"),
    "relax": ("gnnpot.engines.relax", "relax"),
    "run_md": ("gnnpot.engines.md", "run_md"),
    "save_checkpoint": ("gnnpot.hub.checkpoint", "save_checkpoint"),
    "train": ("gnnpot.training.run", "train"),
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import PackageNotFoundError, version

        try:
            return version("gnnpot")
        except PackageNotFoundError:
            return "0+unknown"
    if name not in _PUBLIC:
        raise AttributeError(f"module 'gnnpot' has no attribute '{name}'")
    module, attribute = _PUBLIC[name]
    with needs_extra(f"gnnpot.{name}"):
        value = getattr(importlib.import_module(module), attribute)
    # later accesses find the name without calling this function
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "__version__"})
