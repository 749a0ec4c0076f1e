"""Environment of the processes that tests start."""

import os
import sys
from pathlib import Path


def environment(*folders: Path, **variables: str) -> dict[str, str]:
    """The variables of this process, with a search path by which a child imports what this process imports.

    `folders` come first in the search path.
    """
    path = [*map(str, folders), *filter(None, sys.path)]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path), **variables}
