"""Structures from sentences. A grammar or a language model turns text into a recipe; executors turn it into atoms.

The executors use ASE and pymatgen. The main functions are `build("Pt(111) slab, CO on top").structure`,
`execute(recipe)`, `explain(recipe, "ja")` and `read(text)`.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gnnpot.builder.api import build, load_recipe
    from gnnpot.builder.execution import BuildResult, execute, summary
    from gnnpot.builder.explanation import explain
    from gnnpot.builder.recipe import Recipe
    from gnnpot.builder.text import Reading, Span, read

__all__ = ["BuildResult", "Reading", "Recipe", "Span", "build", "execute", "explain", "load_recipe", "read", "summary"]

_WHERE = {
    "build": "api", "load_recipe": "api", "BuildResult": "execution", "execute": "execution", "summary": "execution",
    "explain": "explanation", "Recipe": "recipe", "Reading": "text", "Span": "text", "read": "text",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    # on demand, so that the command line starts without pymatgen
    import importlib

    if name in _WHERE:
        return getattr(importlib.import_module(f"gnnpot.builder.{_WHERE[name]}"), name)
    raise AttributeError(f"module 'gnnpot.builder' has no attribute '{name}'")
