"""Commands of one module, called as a user types them."""

from collections.abc import Callable
from types import ModuleType

import typer
from typer.testing import CliRunner


def typed(module: ModuleType) -> Callable[..., str]:
    """What calls the command of a module of `gnnpot.cli`: gives what it says, raises what it raises."""
    app = typer.Typer()
    module.register(app)

    def invoke(*arguments: str) -> str:
        result = CliRunner().invoke(app, list(arguments), env={"COLUMNS": "160"})
        if result.exception is not None:
            raise result.exception
        return result.output

    return invoke
