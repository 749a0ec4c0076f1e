"""Inputs of a distillation: initial structures, and labelled test frames."""

from collections.abc import Sequence

import numpy as np

from gnnpot.data import read_structures
from gnnpot.data.frame import Frame
from gnnpot.errors import DataError
from gnnpot.training.config import DataConfig
from gnnpot.training.stores import read_labelled
from gnnpot.workflows.distil.config import DistilConfig
from gnnpot.workflows.distil.teacher import Teacher


def start_structures(config: DistilConfig, teacher: Teacher) -> list[Frame]:
    """Initial structures: at most `start.structures` of those in `config`, evenly spaced."""
    given = read_structures(config.paths("structures"))
    if len(given) == 0:
        where = ", ".join(map(str, config.paths("structures")))
        raise DataError(f"{where}: there are no structures to start from; give a file that holds some")
    count = min(config.start.structures, len(given))
    chosen = [given[int(k)] for k in np.unique(np.linspace(0, len(given) - 1, count).astype(int))]
    teacher.check(chosen)
    return chosen


def test_frames(config: DistilConfig, structures: Sequence[Frame]) -> list[Frame]:
    """Labelled test frames, which may only have elements of the structures."""
    paths = config.paths("test")
    if not paths:
        return []
    frames = list(read_labelled(paths, DataConfig(train=paths, reader=config.reader)))
    known = {int(z) for frame in structures for z in frame.numbers}
    for frame in frames:
        if unseen := sorted({s for z, s in zip(frame.numbers, frame.symbols, strict=True) if z not in known}):
            raise DataError(
                f"{frame.where}: the student will not know {', '.join(unseen)}, which no structure has; take it out of "
                "the test, or give structures with it"
            )
    return frames
