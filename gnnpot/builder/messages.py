"""Messages of the builder in English and Japanese, by key (messages.yaml).

    say("no_substance", "ja", name="Foo")

All notes, warnings and errors about recipes are defined there, so that users get them in their language.
"""

from functools import lru_cache
from importlib import resources
from typing import Any

import yaml
from pydantic import ValidationError
from pydantic_core import PydanticCustomError

from gnnpot.errors import BuilderError


@lru_cache(maxsize=1)
def _messages() -> dict[str, dict[str, str]]:
    text = resources.files(__package__).joinpath("messages.yaml").read_text(encoding="utf-8")
    return yaml.safe_load(text)


def say(key: str, language: str, **values: Any) -> str:
    """Return the message of a key with its values inserted."""
    return _messages()[key][language].format(**values)


def error(key: str, language: str, **values: Any) -> BuilderError:
    """Return an exception with the message of a key."""
    return BuilderError(say(key, language, **values))


def problem(key: str, **values: Any) -> PydanticCustomError:
    """Return an exception for validators of the recipe, which `invalid_recipe` converts to the message of the key."""
    return PydanticCustomError(key, _messages()[key]["en"], values)


def invalid_recipe(found: ValidationError, language: str) -> BuilderError:
    """Convert the first problem that pydantic found in a recipe to an exception with a one-sentence message."""
    first = found.errors(include_url=False)[0]
    place = [str(part) for part in first["loc"]]
    if place[:1] == ["steps"] and len(place) > 1:
        step = f"{int(place[1]) + 1} ({place[2]})" if len(place) > 2 else str(int(place[1]) + 1)
        where = say("where_step", language, step=step, field=".".join(place[3:]) or "-")
    else:
        where = ".".join(place) or say("where_recipe", language)
    values = {**first.get("ctx", {}), "given": _short(first.get("input"))}
    key = f"invalid_{first['type']}"
    if first["type"] in _messages():
        return error(first["type"], language, **values)
    if key in _messages():
        return error(key, language, where=where, **values)
    return error("invalid_other", language, where=where, reason=first["msg"], given=values["given"])


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else text[:57] + "..."
