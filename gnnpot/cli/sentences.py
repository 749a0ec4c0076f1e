"""Error messages with the option names of the command line: `--temperature-end` instead of `temperature_end`.

in_command_line_words("md: temperature_end: 'nve' has no thermostat", app, ["md", "cu.cif"])
"""

import re
from collections.abc import Iterable, Sequence
from typing import Any

import typer


def in_command_line_words(message: str, app: typer.Typer, arguments: Sequence[str]) -> str:
    """Replace Python names of options in a message by their command-line names.

    Args:
        message: Error message, which may contain Python names of options.
        app: The application.
        arguments: Arguments of the command line.
    """
    names = _option_names(app, arguments)
    # commands that write files have --overwrite instead of --fresh
    if "--overwrite" in names.values() and "--fresh" not in names.values():
        message = message.replace("--fresh", "--overwrite")
    # "overwrite=True (--overwrite)" contains both names
    message = re.sub(r"\b\w+=(?:True|False) \((--[\w-]+)\)", r"\1", message)
    for python, written in names.items():
        message = re.sub(rf"(?<![\w.-]){python}=(?![\w'\"(\[])", written, message)
        if "_" in python:
            message = re.sub(rf"(?<![\w.'\"/-]){python}(?![\w.'\"/=])", written, message)
        message = re.sub(rf"^((?:[\w ]+: )?){python}: ", rf"\1{written}: ", message)
    return message


def _option_names(app: typer.Typer, arguments: Sequence[str]) -> dict[str, str]:
    """{Python name: long option name} of the command that `arguments` call."""
    command: Any = typer.main.get_command(app)
    for word in arguments:
        if word.startswith("-"):
            continue
        found = getattr(command, "commands", {}).get(word)
        if found is None:
            break
        command = found
    return dict(_named(command.params))


def _named(parameters: Iterable[Any]) -> Iterable[tuple[str, str]]:
    for parameter in parameters:
        long = [name for name in parameter.opts if name.startswith("--")]
        if parameter.param_type_name == "option" and long and parameter.name:
            yield parameter.name, long[0]
