"""gnnpot: universal interatomic potentials, from DFT labels to atoms in motion.

    import gnnpot
    atoms.calc = gnnpot.Calculator()                    # the potential that comes with gnnpot
    potential = gnnpot.load("7net-0")                   # a published one, or a folder
    for atoms in gnnpot.predict(structures, potential): # energies, forces, stresses of many structures
        atoms.get_potential_energy()

Structures are ASE `Atoms`, pymatgen `Structure` or `Molecule`, or `Frame`, wherever one of these names takes one.

Stability. The names in `__all__` are the public interface: their meaning, their arguments and their units change only
with the first number of the version (before 1.0, the second). `docs/api.md` lists what is public besides: what plug-ins
inherit, options, files. Everything else may change with any version. A public name or argument that is to go stays for
at least one further minor version, raises a `DeprecationWarning` that names what replaces it, and is listed in
CHANGELOG.md under "Deprecated".

The names are imported when they are first used, so that `import gnnpot` takes milliseconds.
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

#: public name -> module and the name there
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
    # found without this function from now on
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "__version__"})
