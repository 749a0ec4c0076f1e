"""One way to open any potential.

    potential = load("path/to/checkpoint")            # a gnnpot checkpoint folder
    potential = load("path/to/n2p2/potential")        # a folder with input.nn, scaling.data, weights.*.data
"""

from pathlib import Path

from gnnpot.checkpoint import CARD, load_checkpoint
from gnnpot.data.references import ElementReferences
from gnnpot.errors import CheckpointError
from gnnpot.models.n2p2 import read_n2p2
from gnnpot.potential import Potential


def load(name_or_path: Path | str) -> Potential:
    """The potential of a checkpoint folder or of an n2p2/RuNNer potential's folder.

    Raises `CheckpointError`, with what was looked for, if there is none.
    """
    path = Path(name_or_path)
    if (path / CARD).is_file():
        return load_checkpoint(path)[0]
    if (path / "input.nn").is_file():
        return _load_n2p2(path)
    if not path.exists():
        raise CheckpointError(f"{name_or_path}: there is no such folder; give that of a checkpoint or n2p2 potential")
    raise CheckpointError(f"{name_or_path}: holds neither {CARD} (a checkpoint) nor input.nn (an n2p2 potential)")


def _load_n2p2(path: Path) -> Potential:
    found = read_n2p2(path)
    references = ElementReferences.from_mapping({"energies": found.atom_energies, "source": str(path)})
    return Potential(found.model, references, energy_scale=found.energy_scale).eval()
