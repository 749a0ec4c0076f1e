"""`build` returns the structure of a sentence or a recipe."""

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
    """Build the structure that a sentence describes.

    Args:
        text: A sentence in English or Japanese, or a recipe.
        language: Language of notes and errors, `en` or `ja`; `None`: the language of the text.
        base: Recipe that the sentence changes.
        folder: Folder from which structure files may be read; `None`: no files may be read.
        max_atoms: Largest number of atoms; larger structures are refused.
        llm: Language model that turns the text into a recipe, instead of the grammar.

    Returns:
        Structure, recipe, notes (values chosen where the sentence gives none) and warnings.

    Raises:
        BuilderError: A part of the sentence is not understood, or the structure can't be built.
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
    """Read a recipe from JSON.

    Args:
        data: JSON text, or the dictionary that it contains.
        language: Language of errors, `en` or `ja`.

    Returns:
        The validated recipe.

    Raises:
        BuilderError: The recipe is not valid.
    """
    try:
        return Recipe.model_validate(data) if isinstance(data, dict) else Recipe.model_validate_json(data)
    except ValidationError as found:
        raise invalid_recipe(found, language) from None
