"""Determine from the training frames what a model's configuration leaves open: elements and symmetry functions."""

import json
import logging
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from gnnpot.config import from_mapping, to_mapping
from gnnpot.data.frame import Frame
from gnnpot.errors import DataError
from gnnpot.graphs import build_graph
from gnnpot.models import HDNNPConfig, ModelConfig
from gnnpot.models.symmetry_choice import choose_functions
from gnnpot.models.symmetry_functions import functions_of
from gnnpot.models.symmetry_sets import SelectedBehlerSet
from gnnpot.runs.files import write_text

log = logging.getLogger(__name__)


def is_open(model: ModelConfig) -> bool:
    """Whether the symmetry functions of a model have yet to be chosen."""
    return (
        isinstance(model, HDNNPConfig)
        and not model.symmetry_functions
        and isinstance(model.symmetry_set, SelectedBehlerSet)
    )


def resolve_model(
    model: ModelConfig,
    elements: tuple[str, ...],
    spread: Callable[[int], Iterable[Frame]],
    path: Path,
    *,
    write: bool = True,
) -> ModelConfig:
    """Complete the configuration of a model.

    Args:
        model: Configuration of the model.
        elements: Elements of the training frames.
        spread: `spread(n)` gives n of the training frames, evenly spaced.
        path: File of the chosen symmetry functions. A resumed run reads it, and so has the same functions on any
            machine.
        write: Whether to write `path`.

    Returns:
        The configuration with elements and symmetry functions.

    Raises:
        DataError: There is nothing to choose from, or the file is damaged.
    """
    if not model.elements:
        model = replace(model, elements=elements)
    if not isinstance(model, HDNNPConfig) or not is_open(model):
        return model
    if path.exists():
        try:
            return from_mapping(HDNNPConfig, json.loads(path.read_text(encoding="utf-8")), where=str(path))
        except ValueError as error:
            raise DataError(f"{path}: can't be read ({error}); begin the run afresh") from None
    wanted = model.symmetry_set
    if not isinstance(wanted, SelectedBehlerSet):
        return model
    graphs = [build_graph(frame, wanted.radial_cutoff, labels=False) for frame in spread(wanted.frames)]
    functions = choose_functions(
        graphs, model.elements, wanted.count, wanted.radial_cutoff, wanted.angular_cutoff, wanted.method
    )
    counts = {e: len(functions_of(functions, e)) for e in model.elements}
    log.info("symmetry functions chosen from %d frames: %s", len(graphs), counts)
    model = replace(model, symmetry_functions=functions)
    if write:
        write_text(path, json.dumps(to_mapping(model), indent=1) + "\n")
    return model
