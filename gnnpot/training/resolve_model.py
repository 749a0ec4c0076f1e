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
from gnnpot.models.symmetry_choice import choose_functions, first_shift
from gnnpot.models.symmetry_functions import SymmetryFunction, functions_of
from gnnpot.models.symmetry_sets import FIRST_SHIFT, BehlerSet, SelectedBehlerSet, SymmetrySet, WeightedSet
from gnnpot.runs.files import write_text

log = logging.getLogger(__name__)


#: kinds of sets that depend on the training frames: chosen functions, and grids that start at the shortest distances
_OF_DATA = SelectedBehlerSet | WeightedSet | BehlerSet
#: number of training frames in which the shortest distances are looked for
_FRAMES = 500


def is_open(model: ModelConfig) -> bool:
    """Whether the symmetry functions of a model depend on the training frames."""
    return isinstance(model, HDNNPConfig) and not model.symmetry_functions and isinstance(model.symmetry_set, _OF_DATA)


def resolve_model(
    model: ModelConfig,
    elements: tuple[str, ...],
    spread: Callable[[int], Iterable[Frame]],
    path: Path,
    *,
    write: bool = True,
    fixed: bool = False,
) -> ModelConfig:
    """Complete the configuration of a model.

    Args:
        model: Configuration of the model.
        elements: Elements of the training frames.
        spread: `spread(n)` gives n of the training frames, evenly spaced.
        path: File of the chosen symmetry functions. A resumed run reads it, and so has the same functions on any
            machine.
        write: Whether to write `path`.
        fixed: Whether there are weights for the model, of this run or of a potential that it starts from. Without
            `path`, its grid is then the default one, also of a run that an earlier version has begun.

    Returns:
        The configuration with elements and symmetry functions.

    Raises:
        DataError: There is nothing to choose from, or the file is damaged.
    """
    if not model.elements:
        model = replace(model, elements=elements)
    if not isinstance(model, HDNNPConfig) or not is_open(model) or set(elements) - set(model.elements):
        # elements that the model lacks are refused where the potential is built
        return model
    if path.exists():
        try:
            return from_mapping(HDNNPConfig, json.loads(path.read_text(encoding="utf-8")), where=str(path))
        except ValueError as error:
            raise DataError(f"{path}: can't be read ({error}); begin the run afresh") from None
    functions = _functions(model.symmetry_set, model.elements, spread, fixed)
    if not functions:
        return model
    model = replace(model, symmetry_functions=functions)
    if write:
        write_text(path, json.dumps(to_mapping(model), indent=1) + "\n")
    return model


def _functions(
    wanted: SymmetrySet, elements: tuple[str, ...], spread: Callable[[int], Iterable[Frame]], fixed: bool
) -> tuple[SymmetryFunction, ...]:
    """Return the functions for the training frames; none if they are those of the set without frames."""
    if isinstance(wanted, SelectedBehlerSet):
        graphs = [build_graph(frame, wanted.radial_cutoff, labels=False) for frame in spread(wanted.frames)]
        functions = choose_functions(
            graphs, elements, wanted.count, wanted.radial_cutoff, wanted.angular_cutoff, wanted.method
        )
        counts = {e: len(functions_of(functions, e)) for e in elements}
        log.info("symmetry functions chosen from %d frames: %s", len(graphs), counts)
        return functions
    if fixed or not isinstance(wanted, WeightedSet | BehlerSet):
        return ()
    first = first_shift((build_graph(frame, FIRST_SHIFT, labels=False) for frame in spread(_FRAMES)), elements)
    if first >= FIRST_SHIFT:
        return ()
    log.info("radial symmetry functions start at %.2f Å, the shortest distance of the training frames", first)
    return wanted.functions(elements, first)
