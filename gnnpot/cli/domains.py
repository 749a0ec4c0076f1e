"""Domain checks of command-line options, annotated with the domains of `gnnpot.domains`.

    steps: Annotated[int, INTEGER_FROM_0, typer.Option(help="Maximum number of steps.")] = 500

A value outside the domain is an error in the command line (exit status 2), like a value of the wrong type.
"""

import inspect
from collections.abc import Callable, Iterator
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import typer
from typer.models import OptionInfo

from gnnpot.domains import FINITE, Domain


def check_domains(app: typer.Typer) -> None:
    """Add domain checks to all numeric options of all commands; a float without a domain must be finite."""
    for command in commands(app):
        hints = get_type_hints(command, include_extras=True)
        for name in inspect.signature(command).parameters:
            hint = hints[name]
            if get_origin(hint) is not Annotated:
                continue
            option = next((part for part in hint.__metadata__ if isinstance(part, OptionInfo)), None)
            domain = next((part for part in hint.__metadata__ if isinstance(part, Domain)), None)
            if domain is None and _is_float(get_args(hint)[0]):
                domain = FINITE
            if option is not None and domain is not None:
                option.callback = _checked(domain)


def commands(app: typer.Typer) -> Iterator[Callable[..., Any]]:
    """Iterate over the functions of all commands of an application."""
    yield from (command.callback for command in app.registered_commands if command.callback is not None)
    for group in app.registered_groups:
        if group.typer_instance is not None:
            yield from commands(group.typer_instance)


def _is_float(hint: Any) -> bool:
    return hint is float or any(_is_float(part) for part in get_args(hint))


def _checked(domain: Domain) -> Callable[[Any], Any]:
    def check(value: Any) -> Any:
        for one in value if isinstance(value, list | tuple) else [value]:
            if one is not None and (problem := domain.problem(one)):
                raise typer.BadParameter(problem)
        return value

    return check
