"""Options of a property, checked against what its `calc` takes.

    takes = arguments_of(calc)
    takes.options["strains"].default, takes.needs_calculator
    values = read_options(calc, {"strains": [0.01, -0.01, 0.02]}, where="elastic")
    calc(atoms, calculator, **values)

Options are the fields of the dataclass that `calc` takes as `config`, or else the arguments that can be given by name
only, without the progress. Their types, defaults and descriptions are those of the code, so that properties of other
packages have options too. Structures are given as paths.
"""

import dataclasses
import inspect
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from ase import Atoms

from gnnpot.config import from_mapping
from gnnpot.data.structure_files import read_structure
from gnnpot.data.structures import StructureLike
from gnnpot.errors import ConfigError
from gnnpot.runs.identity import fingerprints

#: in an option's type: a structure, whose path is given
_STRUCTURE = frozenset(get_args(StructureLike))
_NO_OPTIONS = frozenset({"progress", "calculator", "config"})
#: default of an option that must be given
REQUIRED = dataclasses.MISSING


@dataclasses.dataclass(frozen=True)
class Option:
    """An option of a property."""

    hint: Any
    default: Any  #: `REQUIRED`: there is none


@dataclasses.dataclass(frozen=True)
class Arguments:
    """What a `calc` takes."""

    needs_calculator: bool
    takes_trajectory: bool  #: a sequence of structures as its first argument
    takes_path: bool  #: the path of a file as its first argument
    takes_progress: bool
    config: type | None  #: the dataclass of its options; `None`: they are arguments
    options: Mapping[str, Option]  #: by name


def arguments_of(calc: Callable[..., Any]) -> Arguments:
    """What a `calc` takes, found from its signature."""
    parameters = inspect.signature(calc).parameters
    names, hints = list(parameters), _hints(calc)
    first, config = hints.get(names[0]), _dataclass_of(hints.get("config"))
    by_name = {name: p for name, p in parameters.items() if p.kind is p.KEYWORD_ONLY}
    return Arguments(
        needs_calculator="calculator" in names[1:2],
        takes_trajectory=get_origin(first) is Sequence,
        takes_path=first is Path,
        takes_progress="progress" in by_name,
        config=config,
        options={
            name: Option(hints.get(name, Any), REQUIRED if p.default is p.empty else p.default)
            for name, p in by_name.items()
            if name not in _NO_OPTIONS
        }
        if config is None
        else _fields_of(config),
    )


def read_options(calc: Callable[..., Any], given: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Arguments for `calc` with the values of options.

    Args:
        calc: Of the property.
        given: Name -> value, plain values as of YAML; structures as paths.
        where: What to call them in messages.

    Raises:
        ConfigError: An unknown option, a value of another type or out of its domain; the message has the nearest name.
        DataError: A structure can't be read.
    """
    arguments = arguments_of(calc)
    values = {
        name: _read(value) if _takes_structure(arguments.options[name].hint) else value
        for name, value in _checked(arguments, given, where).items()
    }
    if arguments.config is None:
        return values
    try:
        return {"config": arguments.config(**values)}
    except ValueError as error:
        raise ConfigError(f"{where}: {error}") from None


def digests_of_files(calc: Callable[..., Any], given: Mapping[str, Any], where: str) -> dict[str, str]:
    """What is in the files that options name, on which a result depends as on the options.

    Args:
        calc: Of the property.
        given: As `read_options` takes them.
        where: What to call them in messages.

    Returns:
        SHA-256 of each file, by path.

    Raises:
        ConfigError: As `read_options`.
        DataError: A file can't be read.
    """
    paths = [path for value in _checked(arguments_of(calc), given, where).values() for path in _paths_in(value)]
    return {path: found["sha256"] for path, found in fingerprints(paths).items()}


def _checked(arguments: Arguments, given: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The values of the options that are given, of their types; paths in the place of structures."""
    fields = []
    for name, option in arguments.options.items():
        hint = _with_paths(option.hint) if _takes_structure(option.hint) else option.hint
        fields.append((name, hint, dataclasses.field(default=option.default)))
    checked: Any = from_mapping(dataclasses.make_dataclass("Options", fields, kw_only=True), given, where)
    return {name: getattr(checked, name) for name in given}


def _paths_in(value: Any) -> Iterator[Path]:
    if isinstance(value, Path):
        yield value
    elif isinstance(value, (tuple, Mapping)):
        for part in value.values() if isinstance(value, Mapping) else value:
            yield from _paths_in(part)


def _dataclass_of(hint: Any) -> type | None:
    """The dataclass of a type, which may be a union with `None`."""
    parts = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    return next((part for part in parts if isinstance(part, type) and dataclasses.is_dataclass(part)), None)


def _fields_of(config: type) -> dict[str, Option]:
    hints = _hints(config, include_extras=True)
    # those that must be given come first
    fields = sorted(dataclasses.fields(config), key=lambda field: field.default is not REQUIRED)
    return {field.name: Option(hints[field.name], field.default) for field in fields}


def _hints(calc: Callable[..., Any], include_extras: bool = False) -> dict[str, Any]:
    """Types of arguments or fields; pymatgen's classes, which are imported for type checkers only, read as `Atoms`."""
    return get_type_hints(calc, localns={"Structure": Atoms, "Molecule": Atoms}, include_extras=include_extras)


def _takes_structure(hint: Any) -> bool:
    if get_origin(hint) is Annotated:
        return _takes_structure(get_args(hint)[0])
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
