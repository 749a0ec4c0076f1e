"""Options of a property, checked against the signature of its `calc`.

    takes = arguments_of(calc)
    takes.options["strains"].default, takes.needs_calculator
    values = read_options(calc, {"strains": [0.01, -0.01, 0.02]}, where="elastic")
    calc(atoms, calculator, **values)

Options are the arguments that can be given by name only, without the progress; their types and documentation are those
of the signature, so that properties of other packages have options too. Structures are given as paths.
"""

import dataclasses
import inspect
import types
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from ase import Atoms

from gnnpot.config import from_mapping
from gnnpot.data.structure_files import read_structure
from gnnpot.data.structures import StructureLike

#: in an option's type: a structure, whose path is given
_STRUCTURE = frozenset(get_args(StructureLike))
_NO_OPTIONS = frozenset({"progress", "calculator"})


@dataclasses.dataclass(frozen=True)
class Arguments:
    """What a `calc` takes."""

    needs_calculator: bool
    takes_trajectory: bool  #: a sequence of structures as its first argument
    takes_path: bool  #: the path of a file as its first argument
    takes_progress: bool
    options: Mapping[str, inspect.Parameter]  #: by name


def arguments_of(calc: Callable[..., Any]) -> Arguments:
    """What a `calc` takes, found from its signature."""
    parameters = inspect.signature(calc).parameters
    names = list(parameters)
    first = _hints(calc).get(names[0])
    by_name = {name: p for name, p in parameters.items() if p.kind is p.KEYWORD_ONLY}
    return Arguments(
        needs_calculator="calculator" in names[1:2],
        takes_trajectory=get_origin(first) is Sequence,
        takes_path=first is Path,
        takes_progress="progress" in by_name,
        options={name: p for name, p in by_name.items() if name not in _NO_OPTIONS},
    )


def read_options(calc: Callable[..., Any], given: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Values of options as `calc` takes them.

    Args:
        calc: Of the property.
        given: Name -> value, plain values as of YAML; structures as paths.
        where: What to call them in messages.

    Raises:
        ConfigError: An unknown option or a value of another type; the message has the nearest name.
        DataError: A structure can't be read.
    """
    options = arguments_of(calc).options
    hints = _hints(calc)
    structures = {name for name in options if _takes_structure(hints[name])}
    fields = []
    for name, parameter in options.items():
        hint = _with_paths(hints[name]) if name in structures else hints[name]
        required = parameter.default is parameter.empty
        fields.append((name, hint) if required else (name, hint, dataclasses.field(default=parameter.default)))
    # fields without a default come first in a dataclass
    fields.sort(key=len)
    checked: Any = from_mapping(dataclasses.make_dataclass("Options", fields), given, where)
    values = {name: getattr(checked, name) for name in given}
    return {name: _read(value) if name in structures else value for name, value in values.items()}


def _hints(calc: Callable[..., Any]) -> dict[str, Any]:
    """Types of the arguments; pymatgen's classes, which are imported for type checkers only, are read as `Atoms`."""
    return get_type_hints(calc, localns={"Structure": Atoms, "Molecule": Atoms})


def _takes_structure(hint: Any) -> bool:
    if get_origin(hint) in (Union, UnionType, Sequence, tuple, Mapping, dict):
        return any(_takes_structure(part) for part in get_args(hint))
    return hint is Atoms or hint in _STRUCTURE


def _with_paths(hint: Any) -> Any:
    """A type with `Path` in the place of structures."""
    origin, parts = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        kept = {Path if _takes_structure(part) and get_origin(part) is None else _with_paths(part) for part in parts}
        return Union[tuple(kept)]  # noqa: UP007 - a union of types that are found here
    if origin in (tuple, Sequence):
        return types.GenericAlias(tuple, (_with_paths(parts[0]), ...))
    if origin in (Mapping, dict):
        return types.GenericAlias(Mapping, (parts[0], _with_paths(parts[1])))
    return Path if _takes_structure(hint) else hint


def _read(value: Any) -> Any:
    if isinstance(value, Path):
        return read_structure(value)
    if isinstance(value, tuple):
        return tuple(_read(part) for part in value)
    if isinstance(value, Mapping):
        return {name: _read(part) for name, part in value.items()}
    return value
