"""Messages of the server in English and Japanese, by key (messages.yaml)."""

from functools import lru_cache
from importlib import resources
from typing import Any

import yaml


@lru_cache(maxsize=1)
def _messages() -> dict[str, dict[str, str]]:
    text = resources.files(__package__).joinpath("messages.yaml").read_text(encoding="utf-8")
    return yaml.safe_load(text)


def say(key: str, language: str, **values: Any) -> str:
    """Return the message of a key with its values inserted. An unknown language gives English."""
    entry = _messages()[key]
    return entry.get(language, entry["en"]).format(**values)
