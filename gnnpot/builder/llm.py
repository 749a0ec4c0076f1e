"""Recipes from a language model: an OpenAI-compatible endpoint answers with a recipe, which is then validated.

    model = LanguageModel.from_environment()
    reading = model.read("Pt(111) with a CO on top")

The prompt contains the examples of llm.yaml. The answer must follow the JSON schema of recipes. An invalid answer is
sent back with the message of the validator, at most three times. The answer is data: only a valid recipe is executed,
and no text of the user or the model is treated as an instruction to gnnpot.
"""

import json
import os
from dataclasses import dataclass
from importlib import resources
from typing import Any

import yaml
from pydantic import ValidationError

from gnnpot.builder.messages import error, invalid_recipe, say
from gnnpot.builder.recipe import Recipe
from gnnpot.builder.state import Message
from gnnpot.builder.text.read import MAX_LENGTH, Reading, language_of
from gnnpot.errors import BuilderError

#: how often an invalid answer is sent back
REPAIRS = 3
#: characters of an answer that are read; the rest is ignored
MAX_ANSWER = 50_000
BASE_URL, MODEL, KEY = "GNNPOT_LLM_BASE_URL", "GNNPOT_LLM_MODEL", "GNNPOT_LLM_API_KEY"


@dataclass(frozen=True)
class LanguageModel:
    """An endpoint and the name of a model. `timeout` is the time limit of each request in seconds."""

    base_url: str
    model: str
    api_key: str = "none"
    timeout: float = 60.0

    @classmethod
    def from_environment(cls, language: str = "en") -> "LanguageModel":
        """Take endpoint, model and key from GNNPOT_LLM_BASE_URL, GNNPOT_LLM_MODEL and GNNPOT_LLM_API_KEY.

        Raises:
            BuilderError: One of the first two variables is not set.
        """
        if not (os.environ.get(BASE_URL) and os.environ.get(MODEL)):
            raise error("llm_settings", language)
        return cls(os.environ[BASE_URL], os.environ[MODEL], os.environ.get(KEY) or "none")

    def read(self, text: str, language: str | None = None, base: Recipe | None = None) -> Reading:
        """Ask the model for the recipe of a sentence.

        Args:
            text: The sentence.
            language: Language of messages, `en` or `ja`; `None`: the language of the text.
            base: Recipe that the sentence changes.

        Returns:
            The recipe, or the reason why there is none (`problem`).
        """
        language = language or language_of(text)
        if not text.strip():
            return Reading(language, problem=error("empty", language))
        if len(text) > MAX_LENGTH:
            return Reading(language, problem=error("too_long", language, length=len(text), limit=MAX_LENGTH))
        messages = _prompt(text, base)
        reason = ""
        for attempt in range(REPAIRS + 1):
            try:
                answer = self._ask(messages, language)
                recipe = _recipe(answer, language)
            except _Invalid as problem:
                reason = str(problem.reason)
                messages += [
                    {"role": "assistant", "content": problem.answer},
                    {
                        "role": "user",
                        "content": f"That is no valid recipe: {reason}. Answer with the whole recipe as JSON.",
                    },
                ]
                continue
            except BuilderError as problem:
                return Reading(language, problem=problem)
            notes = [Message("repair", say("repair", language, count=attempt))] if attempt else []
            return Reading(language, recipe, notes=notes)
        return Reading(language, problem=error("llm_invalid", language, tries=REPAIRS + 1, reason=reason))

    def _ask(self, messages: list[Any], language: str) -> str:
        """Send a request and return the text of the answer."""
        try:
            import openai
        except ImportError:
            raise error("llm_missing", language) from None
        client = openai.OpenAI(base_url=self.base_url, api_key=self.api_key, timeout=self.timeout, max_retries=0)
        schema: Any = {"name": "recipe", "schema": Recipe.model_json_schema(), "strict": False}
        form: Any = {"type": "json_schema", "json_schema": schema}
        try:
            response = client.chat.completions.create(
                model=self.model,
                messages=messages,
                temperature=0,
                response_format=form,
            )
        except openai.OpenAIError as problem:
            raise error("llm_failed", language, reason=_short(str(problem) or type(problem).__name__)) from None
        if not response.choices:
            raise error("llm_failed", language, reason="empty answer")
        message = response.choices[0].message
        if getattr(message, "refusal", None):
            raise error("llm_refused", language, reason=_short(str(message.refusal)))
        return (message.content or "")[:MAX_ANSWER]


class _Invalid(Exception):
    """An answer is not a valid recipe."""

    def __init__(self, answer: str, reason: str) -> None:
        super().__init__(reason)
        self.answer, self.reason = answer, reason


def _recipe(answer: str, language: str) -> Recipe:
    """Parse an answer: JSON, alone or in a fenced code block. `language` becomes the language of the recipe."""
    text = answer.strip()
    if text.startswith("```"):
        text = text.strip("`").removeprefix("json").strip()
    try:
        data = json.loads(text)
    except ValueError:
        raise _Invalid(answer[:2000], "it is no JSON") from None
    if not isinstance(data, dict):
        raise _Invalid(answer[:2000], "it is no JSON object")
    if isinstance(data.get("refusal"), str):
        raise error("llm_refused", language, reason=_short(data["refusal"]))
    data["language"] = language
    try:
        recipe = Recipe.model_validate(data)
    except ValidationError as problem:
        raise _Invalid(answer[:2000], str(invalid_recipe(problem, "en"))) from None
    if any(step.do == "bulk" and step.file is not None for step in recipe.steps):
        raise _Invalid(answer[:2000], "files may not be read")
    return recipe


def _prompt(text: str, base: Recipe | None) -> list[dict[str, str]]:
    """The messages of a request: system message, examples, and the sentence."""
    source = resources.files(__package__).joinpath("llm.yaml").read_text(encoding="utf-8")
    prompt: dict[str, Any] = yaml.safe_load(source)
    messages = [{"role": "system", "content": prompt["system"] + json.dumps(Recipe.model_json_schema())}]
    for example in prompt["examples"]:
        messages.append({"role": "user", "content": example["text"]})
        messages.append({"role": "assistant", "content": json.dumps(example["recipe"], ensure_ascii=False)})
    if base is not None:
        text = f"The recipe so far: {base.model_dump_json(exclude_none=True)}\nChange it: {text}"
    messages.append({"role": "user", "content": text})
    return messages


def _short(text: str) -> str:
    return " ".join(text.split())[:200]
