"""`build`: a sentence or a recipe in, a structure out."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from gnnpot.builder.execution import BuildResult, execute
from gnnpot.builder.messages import invalid_recipe
from gnnpot.builder.recipe import MAX_ATOMS, Recipe
from gnnpot.builder.text import read

if TYPE_CHECKING:
    from gnnpot.builder.llm import LanguageModel

__all__ = ["build", "load_recipe"]


def build(
    text: str | Recipe,
    language: str | None = None,
    *,
    base: Recipe | None = None,
    folder: Path | str | None = None,
    max_atoms: int = MAX_ATOMS,
    llm: "LanguageModel | None" = None,
) -> BuildResult:
    """The structure that a sentence asks for.

    Args:
        text: a sentence in English or Japanese, or a recipe.
        language: of notes and errors, `en` or `ja`; `None`: that of the text.
        base: a recipe that the sentence changes.
        folder: where structure files may be read; `None`: nowhere.
        max_atoms: larger structures are refused.
        llm: a language model that turns the text into the recipe, in place of the grammar.

    Returns:
        Structure, recipe, notes (what was chosen where the sentence is silent) and warnings.

    Raises:
        BuilderError: one sentence that says what is not understood or can't be made.
    """
    if isinstance(text, Recipe):
        recipe = text if language is None else text.model_copy(update={"language": language})
        return execute(recipe, folder=folder, max_atoms=max_atoms)
    reading = llm.read(text, language, base) if llm is not None else read(text, language, base)
    if reading.recipe is None:
        assert reading.problem is not None
        raise reading.problem
    result = execute(reading.recipe, folder=folder, max_atoms=max_atoms)
    return BuildResult(result.structure, result.recipe, [*reading.notes, *result.notes], result.warnings)


def load_recipe(data: str | bytes | dict[str, Any], language: str = "en") -> Recipe:
    """A recipe from JSON.

    Args:
        data: The JSON, or what it holds.
        language: Of the error, `en` or `ja`.

    Returns:
        The recipe, checked.

    Raises:
        BuilderError: One sentence that says what is wrong with it.
    """
    try:
        return Recipe.model_validate(data) if isinstance(data, dict) else Recipe.model_validate_json(data)
    except ValidationError as found:
        raise invalid_recipe(found, language) from None
