"""Error messages in the words of the command line: `--temperature-end` instead of `temperature_end`.

in_command_line_words("md: temperature_end: 'nve' has no thermostat", app, ["md", "cu.cif"])
sentence_of(PermissionError(errno.EACCES, "Permission denied", "run.traj"))
"""

import errno
import re
from collections.abc import Iterable, Sequence
from typing import Any

import typer

#: advice for errors of the file system that users can solve, by number; Windows lacks some
_ADVICE = {
    getattr(errno, name, -1): advice
    for names, advice in (
        (("EACCES", "EPERM", "EROFS"), "choose a path that you may read and write"),
        (("ENAMETOOLONG",), "give a shorter name"),
        (("ENOSPC", "EDQUOT", "EFBIG"), "free some space and run the same command again"),
    )
    for name in names
}


def sentence_of(error: OSError) -> str | None:
    """Return the message for an error of the file system that users can solve; `None` for any other error."""
    advice = None if error.errno is None else _ADVICE.get(error.errno)
    if advice is None:
        return None
    place = "a file can't be read or written" if error.filename is None else f"{error.filename}: can't be used"
    return f"{place} ({error.strerror}); {advice}"


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
