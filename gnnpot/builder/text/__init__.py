"""From text to a recipe without a language model: a grammar of Japanese and English, deterministic and offline.

The words and patterns of the grammar are defined here, the names of substances in the library. `read(text)` returns a
`Reading`: the recipe, or the parts of the text that were not understood.
"""

from gnnpot.builder.text.read import Reading, Span, read

__all__ = ["Reading", "Span", "read"]
