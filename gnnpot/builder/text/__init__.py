"""From text to a recipe without a language model: a grammar of Japanese and English, deterministic and offline.

Words and patterns stand here, the names of substances in the library; structures are not made here.
`read(text)` returns a `Reading`: the recipe, or what was not understood and where.
"""

from gnnpot.builder.text.read import Reading, Span, read

__all__ = ["Reading", "Span", "read"]
