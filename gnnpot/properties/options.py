"""Options of properties, determined from the signatures of their `calc` functions.

    takes = arguments_of(calc)
    takes.options["strains"].default, takes.needs_calculator
    values = read_options(calc, {"strains": [0.01, -0.01, 0.02]}, where="elastic")
    calc(atoms, calculator, **values)

The options of a property are the fields of the dataclass of its argument `config` or, without this argument, its
keyword-only arguments except `progress`. Types, defaults and descriptions are taken from the code, also for properties
of other packages. Structures are given as paths.
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

#: types of structures, for which options take paths
_STRUCTURE = frozenset(get_args(StructureLike))
_NO_OPTIONS = frozenset({"progress", "calculator", "config"})
#: default of a required option
REQUIRED = dataclasses.MISSING


@dataclasses.dataclass(frozen=True)
class Option:
    """An option of a property."""

    hint: Any  #: type annotation
    default: Any  #: default value, or `REQUIRED`


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Arguments of a `calc` function."""

    needs_calculator: bool
    takes_trajectory: bool  #: whether the first argument is a sequence of structures
    takes_path: bool  #: whether the first argument is the path of a file
    takes_progress: bool
    config: type | None  #: dataclass of the options; `None`: options are keyword-only arguments
    options: Mapping[str, Option]  #: options by name


def arguments_of(calc: Callable[..., Any]) -> Arguments:
    """Determine the arguments of a `calc` function from its signature."""
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
    """Convert values of options to keyword arguments for `calc`.

    Args:
        calc: Function of the property.
        given: Values by name, plain values as in YAML; structures as paths.
        where: Name of the options in messages.

    Raises:
        ConfigError: An option is unknown (the message suggests a name), or a value has a wrong type or is out of range.
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
    """SHA-256 of the files named in options, since results depend on their content.

    Args:
        calc: Function of the property.
        given: Values by name, as for `read_options`.
        where: Name of the options in messages.

    Returns:
        SHA-256 of each file, by path.

    Raises:
        ConfigError: See `read_options`.
        DataError: A file can't be read.
    """
    paths = [path for value in _checked(arguments_of(calc), given, where).values() for path in _paths_in(value)]
    return {path: found["sha256"] for path, found in fingerprints(paths).items()}


def _checked(arguments: Arguments, given: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Check the given values and convert them to the types of the options, with paths in place of structures."""
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
    """Return the dataclass in a type, which may be a union with `None`; `None` if there is none."""
    parts = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    return next((part for part in parts if isinstance(part, type) and dataclasses.is_dataclass(part)), None)


def _fields_of(config: type) -> dict[str, Option]:
    hints = _hints(config, include_extras=True)
    # required options come first
    fields = sorted(dataclasses.fields(config), key=lambda field: field.default is not REQUIRED)
    return {field.name: Option(hints[field.name], field.default) for field in fields}


def _hints(calc: Callable[..., Any], include_extras: bool = False) -> dict[str, Any]:
    """Types of arguments or fields; pymatgen's classes, imported for type checkers only, are replaced by `Atoms`."""
    return get_type_hints(calc, localns={"Structure": Atoms, "Molecule": Atoms}, include_extras=include_extras)


def _takes_structure(hint: Any) -> bool:
    if get_origin(hint) is Annotated:
        return _takes_structure(get_args(hint)[0])
    if get_origin(hint) in (Union, UnionType, Sequence, tuple, Mapping, dict):
        return any(_takes_structure(part) for part in get_args(hint))
    return hint is Atoms or hint in _STRUCTURE


def _with_paths(hint: Any) -> Any:
    """Replace structures by `Path` in a type."""
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
