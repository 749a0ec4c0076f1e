"""Sentences of the server in English and Japanese, by key (messages.yaml)."""

from functools import lru_cache
from importlib import resources
from typing import Any

import yaml


@lru_cache(maxsize=1)
def _messages() -> dict[str, dict[str, str]]:
    text = resources.files(__package__).joinpath("messages.yaml").read_text(encoding="utf-8")
    return yaml.safe_load(text)


def say(key: str, language: str, **values: Any) -> str:
    """The sentence of a key with its values, in English where the language is not known."""
    entry = _messages()[key]
    return entry.get(language, entry["en"]).format(**values)
