"""The suites by name.

suite = open_suite("elasticity", data=Path("benchmarks"), count=50)
"""

from pathlib import Path

from gnnpot.errors import ConfigError, suggest
from gnnpot.properties.suites.base import Suite, SuiteOptions
from gnnpot.properties.suites.diatomics import DiatomicsSuite
from gnnpot.properties.suites.elasticity import ElasticitySuite
from gnnpot.properties.suites.equations_of_state import EquationsOfStateSuite
from gnnpot.properties.suites.frames import FramesSuite
from gnnpot.properties.suites.phonons import PhononsSuite
from gnnpot.properties.suites.relaxations import DynamicsSuite, RelaxationsSuite

#: by name; the speed of a step is measured by `gnnpot.properties.suites.speed`, all potentials in turns
SUITES: dict[str, type[Suite]] = {
    suite.name: suite
    for suite in (
        DiatomicsSuite,
        EquationsOfStateSuite,
        ElasticitySuite,
        PhononsSuite,
        FramesSuite,
        RelaxationsSuite,
        DynamicsSuite,
    )
}


def open_suite(
    name: str,
    data: Path | None = None,
    *,
    count: int | None = None,
    seed: int = 0,
    picoseconds: float = 10.0,
) -> Suite:
    """A suite by its name.

    Args:
        name: of `SUITES`.
        data: file or folder of its data; none: what is shipped.
        count: at most so many items; none: all, or the suite's own choice.
        seed: of what it chooses at random.
        picoseconds: of molecular dynamics.

    Returns:
        The suite, for `evaluate_suite`.

    Raises:
        ConfigError: for an unknown name, with the nearest one, or an option out of range.
    """
    if name not in SUITES:
        raise ConfigError(f"--suite {name}: is no suite; {suggest(name, [*SUITES, 'speed'])}")
    return SUITES[name](SuiteOptions(data=data, count=count, seed=seed, picoseconds=picoseconds))
