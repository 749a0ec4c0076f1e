"""Registry of suites.

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

#: suites by name; speed is not among them, since it is measured for all potentials together (`suites.speed`)
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
    """Open a suite by name.

    Args:
        name: One of `SUITES`.
        data: File or folder of its data; none: data shipped with gnnpot.
        count: Maximum number of items; none: all, or the default of the suite.
        seed: Seed of random choices.
        picoseconds: Length of molecular dynamics, ps.

    Returns:
        The suite, for `evaluate_suite`.

    Raises:
        ConfigError: The name is unknown (the message suggests the nearest one), or an option is out of range.
    """
    if name not in SUITES:
        raise ConfigError(f"--suite {name}: is no suite; {suggest(name, [*SUITES, 'speed'])}")
    return SUITES[name](SuiteOptions(data=data, count=count, seed=seed, picoseconds=picoseconds))
