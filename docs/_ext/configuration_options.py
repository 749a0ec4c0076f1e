"""The directive `configuration-options`: a table of all options of a configuration class, made from the class itself.

    ```{configuration-options} gnnpot.training.config TrainConfig
    ```

Each field of the dataclass becomes a row: its key in YAML, type, default, and the comment (`#:`) above or beside it.
Fields that are dataclasses themselves are followed into tables of their own; without a comment they have the first
sentence of the class's docstring. A field of one possible value tells classes apart, and needs no comment either.
"""

import dataclasses
import importlib
import re
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.pycode import ModuleAnalyzer
from sphinx.util.docutils import SphinxDirective

from gnnpot.config import ChosenBy
from gnnpot.domains import Domain


class ConfigurationOptions(SphinxDirective):
    """See the module's docstring."""

    required_arguments = 2
    has_content = False

    def run(self) -> list[nodes.Node]:
        # the classes may have changed where the page has not
        self.env.note_reread()
        module, name = self.arguments
        root = getattr(importlib.import_module(module), name)
        result: list[nodes.Node] = []
        for kind, path in classes(root).items():
            result += _section(path, kind)
        return result


def classes(kind: type, path: str = "", found: dict[type, str] | None = None) -> dict[type, str]:
    """The class, and those of its fields, each once, with the path of keys that leads there."""
    found = {} if found is None else found
    if kind not in found:
        found[kind] = path
        hints = typing.get_type_hints(kind, include_extras=True)
        for field in dataclasses.fields(kind):
            for inner in _dataclasses_in(hints[field.name]):
                classes(inner, f"{path}.{field.name}" if path else field.name, found)
    return found


def _dataclasses_in(hint: Any) -> list[type]:
    if (chosen_by := _chosen_by(hint)) is not None:
        return [chosen_by.find(name) for name in chosen_by.names()]
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return [hint]
    return [found for argument in typing.get_args(hint) for found in _dataclasses_in(argument)]


def _chosen_by(hint: Any) -> ChosenBy | None:
    return next((extra for extra in getattr(hint, "__metadata__", ()) if isinstance(extra, ChosenBy)), None)


def _section(path: str, kind: type) -> list[nodes.Node]:
    title = f"{path}: {kind.__name__}" if path else kind.__name__
    summary = re.split(r"\n\s*\n", (kind.__doc__ or "").strip())[0]
    head = nodes.rubric(text=title)
    paragraph = nodes.paragraph(text=_plain(summary))
    return [head, paragraph, _table(("option", "type", "default", "meaning"), rows(kind))]


def rows(kind: type) -> list[tuple[str, str, str, str]]:
    """Option, type, default and meaning of each field."""
    return [_row(kind, field) for field in dataclasses.fields(kind)]


def _row(kind: type, field: dataclasses.Field) -> tuple[str, str, str, str]:
    return (
        field.name,
        _type(typing.get_type_hints(kind, include_extras=True)[field.name]),
        _default(field),
        _comment(kind, field.name),
    )


def _comment(kind: type, name: str) -> str:
    for base in kind.__mro__:
        if base is object:
            continue
        comments = ModuleAnalyzer.for_module(base.__module__).find_attr_docs()
        if (base.__name__, name) in comments:
            return _plain(" ".join(comments[base.__name__, name]))
    hint = typing.get_type_hints(kind)[name]
    if typing.get_origin(hint) is typing.Literal and len(typing.get_args(hint)) == 1:
        return "selects the options of this table"
    if dataclasses.is_dataclass(hint):
        return re.split(r"(?<=\.)\s+(?=[A-Z])", _plain(hint.__doc__ or ""))[0].removesuffix(".")
    return ""


def _plain(text: str) -> str:
    return " ".join(text.replace("`", "").split())


def _default(field: dataclasses.Field) -> str:
    if field.default is not dataclasses.MISSING:
        value = field.default
    elif field.default_factory is not dataclasses.MISSING:
        value = field.default_factory()
    else:
        return "required"
    if dataclasses.is_dataclass(value):
        return "its defaults"
    return "" if value is None or value in ((), "") else str(value)


#: what a value is, in a YAML file
_WORDS = {float: "number", int: "whole number", str: "text", bool: "true or false", Path: "path"}


def _type(hint: Any, domain: Domain | None = None) -> str:
    """The type in words, with the domain of a number where there is one."""
    if (chosen_by := _chosen_by(hint)) is not None:
        return " or ".join(chosen_by.find(name).__name__ for name in chosen_by.names())
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        found = next((extra for extra in hint.__metadata__ if isinstance(extra, Domain)), domain)
        return _type(arguments[0], found)
    if origin is typing.Literal:
        return " or ".join(map(str, arguments))
    if origin in (typing.Union, types.UnionType):
        kinds = [argument for argument in arguments if argument is not type(None)]
        return " or ".join(dict.fromkeys(_type(kind, domain) for kind in kinds))
    if origin in (tuple, list):
        return f"list of {_type(arguments[0], domain)}" if arguments else "list"
    if origin in (dict, Mapping):
        return "mapping"
    if domain is not None and hint in (int, float):
        return domain.words
    return _WORDS.get(hint) or getattr(hint, "__name__", str(hint))


def _table(head: tuple[str, ...], lines: typing.Sequence[tuple[str, ...]]) -> nodes.table:
    table = nodes.table()
    group = nodes.tgroup(cols=len(head))
    table += group
    group += [nodes.colspec(colwidth=width) for width in (18, 22, 16, 44)]
    for parent, part in ((nodes.thead(), [head]), (nodes.tbody(), lines)):
        group += parent
        for line in part:
            row = nodes.row()
            parent += row
            for k, cell in enumerate(line):
                entry = nodes.entry()
                row += entry
                is_code = k in (0, 2) and cell and parent.tagname == "tbody"
                text = nodes.literal(text=cell) if is_code else nodes.Text(cell)
                paragraph = nodes.paragraph()
                paragraph += text
                entry += paragraph
    return table


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directive."""
    app.add_directive("configuration-options", ConfigurationOptions)
    return {"version": "1", "parallel_read_safe": True}
