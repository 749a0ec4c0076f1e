"""Description of a recipe in English or Japanese: one numbered line for each step.

    print(explain(recipe, "ja"))

Each line is a template of explain.yaml with the fields of a step inserted. Fields that are not set are not mentioned.
"""

from functools import lru_cache
from importlib import resources
from typing import Any

import yaml

from gnnpot.builder.recipe import Recipe


@lru_cache(maxsize=1)
def _templates() -> dict[str, Any]:
    text = resources.files(__package__).joinpath("explain.yaml").read_text(encoding="utf-8")
    return yaml.safe_load(text)


def explain(recipe: Recipe, language: str | None = None) -> str:
    """Describe the steps of a recipe.

    Args:
        recipe: The recipe.
        language: `en` or `ja`; `None`: the language of the recipe.

    Returns:
        One line for each step.
    """
    language = language or recipe.language
    return "\n".join(f"{number}. {_line(step.model_dump(), language)}" for number, step in enumerate(recipe.steps, 1))


def _line(step: dict[str, Any], language: str) -> str:
    """The name of the step, followed by the fields that are set, in the order of the templates."""
    templates = _templates()
    entry = templates["steps"][step["do"]]
    values = {name: _text(value, language) for name, value in step.items()}
    if step["do"] == "substitute" and step["element"] is None:
        values["element"] = _templates()["words"]["host atoms"][language]
    for name in ("miller", "facet"):
        if step.get(name) is not None:
            values[name] = _plane(step[name])
    parts = []
    for name, words in templates["fields"].items():
        if name not in step or name in entry.get("inside", ()) or not _is_mentioned(name, step):
            continue
        template = entry.get("fields", {}).get(name, words)[language]
        value = _plane(step[name]) if name in ("miller", "facet") else _scaled(name, step[name], language)
        parts.append(template.format(value=value))
    head = entry[language].format(**values)
    joined = (", " if language == "en" else "、").join(parts)
    if not joined:
        return head
    return f"{head}: {joined}" if language == "en" else f"{head}（{joined}）"


def _plane(indices: tuple[int, ...]) -> str:
    return ("" if all(0 <= i <= 9 for i in indices) else " ").join(map(str, indices))


def _is_mentioned(name: str, step: dict[str, Any]) -> bool:
    """Whether a field is mentioned: its value is not the default."""
    value = step[name]
    silent = {"seed": 0, "side": "top", "shell_layers": 1, "layers": None, "where": "anywhere", "arrangement": "random"}
    return value not in (None, False, 0.0) and not (name in silent and value == silent[name])


def _scaled(name: str, value: Any, language: str) -> str:
    if name == "fraction" or (name in ("a", "b", "c", "max_strain") and isinstance(value, float)):
        return f"{100 * value:g}"
    return _text(value, language)


def _text(value: Any, language: str) -> str:
    """A value as text."""
    if value is None:
        return ""
    if isinstance(value, dict):
        if "do" in value:
            return _line(value, language)
        if "formula" in value or "name" in value:
            return _line({"do": "film" if "formula" in value else "amount", **value}, language)
        return " ".join(f"{k} {_text(v, language)}" for k, v in value.items() if v is not None)
    if isinstance(value, (list, tuple)):
        if value and all(isinstance(v, dict) for v in value):
            return ", ".join(_text(v, language) for v in value)
        if value and all(isinstance(v, (list, tuple)) for v in value):
            return "; ".join(" ".join(map(str, v)) for v in value)
        return " × ".join(_text(v, language) for v in value)
    if isinstance(value, float):
        return f"{value:g}"
    return str(_templates()["words"].get(str(value), {}).get(language, value))
