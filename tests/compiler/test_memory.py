"""Steps find the memory that the step before them has freed."""

import os
import subprocess
import sys

import pytest

SCRIPT = """
import resource, numpy as np
from gnnpot.compiler.memory import keep_freed_memory
kept = keep_freed_memory()
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    arrays = [np.ones(2_000_000) for _ in range(10)]
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults()
print(int(kept), faults())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc only")
@pytest.mark.parametrize("variable", [None, "MALLOC_TRIM_THRESHOLD_"])
def test_freed_memory_is_kept_unless_the_user_says_otherwise(variable):
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("MALLOC_", "GLIBC_"))}
    if variable is not None:
        environment[variable] = "0"
    done = subprocess.run([sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=True)
    kept, faults = map(int, done.stdout.split())
    # 160 MB are 39,000 pages
    assert (kept, faults < 1000) == ((1, True) if variable is None else (0, False))
