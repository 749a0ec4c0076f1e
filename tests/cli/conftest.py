"""Commands of one room, called as a user types them."""

from collections.abc import Callable
from types import ModuleType

import typer
from typer.testing import CliRunner


def typed(room: ModuleType) -> Callable[..., str]:
    """What calls the command of a room of `gnnpot.cli`: gives what it says, raises what it raises."""
    app = typer.Typer()
    room.register(app)

    def invoke(*arguments: str) -> str:
        result = CliRunner().invoke(app, list(arguments), env={"COLUMNS": "160"})
        if result.exception is not None:
            raise result.exception
        return result.output

    return invoke
