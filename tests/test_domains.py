"""Domains of options: the same numbers are refused from Python, YAML and the command line."""

import math
import typing
from dataclasses import dataclass, fields
from typing import Annotated, Literal, get_type_hints

import pytest
import typer
from typer.models import OptionInfo

from gnnpot.cli import app
from gnnpot.cli.domains import commands
from gnnpot.config import from_mapping
from gnnpot.domains import FRACTION, INTEGER_FROM_1, NOT_NEGATIVE, POSITIVE, Domain, check_fields
from gnnpot.engines.md import MDConfig
from gnnpot.engines.relax import RelaxConfig
from gnnpot.errors import ConfigError
from gnnpot.properties.conductivity import ConductivityConfig
from gnnpot.sampling.distortions import Rattled
from gnnpot.training.config import BatchConfig, LossConfig, OptimizerConfig

NAN, INF = math.nan, math.inf


@dataclass(frozen=True)
class Options:
    ratio: float = 1.0
    step: Annotated[float, POSITIVE] = 1.0
    maybe: Annotated[float | None, NOT_NEGATIVE] = None
    count: Annotated[int, INTEGER_FROM_1] = 1
    number: int = 0
    sizes: Annotated[tuple[int, ...], INTEGER_FROM_1] = (1,)
    pair: tuple[float, float] | None = None
    mixed: int | str = 1
    kind: Literal["one", "two"] = "one"
    share: Annotated[float, FRACTION] = 0.0
    flag: bool = False

    def __post_init__(self) -> None:
        check_fields(self)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("ratio", (NAN, INF, "1", True, None)),
        ("step", (0, -1, NAN, INF)),
        ("maybe", (-1e-9, NAN)),
        ("count", (0, 1.5, True, NAN, "1")),
        ("number", (1.5, NAN)),
        ("sizes", ((1, 0), (1.5,), [0])),
        ("pair", ((1.0, NAN), (1.0,))),
        ("mixed", (1.5,)),
        ("kind", ("three", 1, None)),
        ("share", (1.0, -0.1, NAN)),
        ("flag", (1, "yes")),
    ],
)
def test_values_outside(name, values):
    for value in values:
        with pytest.raises(ValueError, match=f"^{name}: "):
            Options(**{name: value})


def test_a_field_declared_anew_keeps_its_domain():
    @dataclass(frozen=True)
    class Others(Options):
        step: float = 2.0

    with pytest.raises(ValueError, match="^step: -1 is not a number above 0"):
        Others(step=-1)
    with pytest.raises(ValueError, match="^rattle: -1"):
        Rattled(rattle=-1)


def test_values_inside():
    Options(ratio=-3, step=1e-300, maybe=0, count=7, number=-2, sizes=(), pair=(1, 2.5), mixed="auto", share=0.999)


@pytest.mark.parametrize(
    ("cls", "options"),
    [
        (MDConfig, {"ensemble": "NVE"}),
        (MDConfig, {"steps": 1.5}),
        (MDConfig, {"seed": -1}),
        (MDConfig, {"temperature": NAN}),
        (RelaxConfig, {"steps": NAN}),
        (RelaxConfig, {"cell": "everything"}),
        (ConductivityConfig, {"ion": "Qq"}),
        (ConductivityConfig, {"ion": "Li", "production": INF}),
        (OptimizerConfig, {"lr": NAN}),
        (LossConfig, {"energy": NAN}),
        (BatchConfig, {"frames": 1.5}),
    ],
)
def test_from_python_and_from_yaml(cls, options):
    with pytest.raises(ValueError, match=list(options)[-1]):
        cls(**options)
    with pytest.raises(ConfigError, match=list(options)[-1]):
        from_mapping(cls, options)


def options_of(command):
    """(name, hint, domain) of the numeric options of a command."""
    for name, hint in get_type_hints(command, include_extras=True).items():
        extras = getattr(hint, "__metadata__", ())
        if any(isinstance(part, OptionInfo) for part in extras):
            text = str(typing.get_args(hint)[0])
            if "float" in text or "int" in text:
                yield name, hint, next((part for part in extras if isinstance(part, Domain)), None)


def test_every_number_on_the_command_line_has_a_domain():
    for command in commands(app):
        for name, hint, domain in options_of(command):
            option = next(part for part in hint.__metadata__ if isinstance(part, OptionInfo))
            # numbers of structures and of axes may be any that there is
            assert name in ("index", "axis", "port") or option.callback is not None, f"{command.__name__}: {name}"
            if option.callback is not None and domain is not None:
                with pytest.raises(typer.BadParameter):
                    option.callback(NAN)


def test_options_of_a_configuration_have_its_domains():
    from gnnpot.cli import conductivity, simulate

    pairs = ((simulate.relax, RelaxConfig), (simulate.md, MDConfig), (conductivity.conductivity, ConductivityConfig))
    for command, cls in pairs:
        hints = get_type_hints(cls, include_extras=True)
        known = {f.name: hints[f.name] for f in fields(cls)}
        for name, _, domain in options_of(command):
            own = next((p for p in getattr(known.get(name), "__metadata__", ()) if isinstance(p, Domain)), None)
            assert own is None or own is domain, f"{command.__name__}: {name}"
