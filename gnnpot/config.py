"""Strict dataclasses from plain mappings (YAML, JSON) and back.

    config = from_mapping(TrainConfig, read_yaml("train.yaml"), where="train.yaml")
    to_mapping(config)

An unknown key, a wrong type or a missing value is a `ConfigError` that names the place (`train.yaml: model.cutof`) and
suggests the nearest known key. Nothing is guessed: "1" is not 1, and 1.5 is not an int.
"""

import dataclasses
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import yaml

from gnnpot.errors import ConfigError, suggest

T = TypeVar("T")


def read_yaml(path: Path | str) -> Any:
    """What a YAML file holds, `{}` if nothing; raises `ConfigError` if it can't be read."""
    try:
        content = yaml.safe_load(Path(path).read_text())
    except OSError as error:
        raise ConfigError(f"{path}: can't be read ({error.strerror}); give the path of a YAML file") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: is not valid YAML: {' '.join(str(error).split())}") from None
    return {} if content is None else content


def from_mapping(cls: type[T], mapping: Any, where: str = "config") -> T:
    """The dataclass `cls` from a mapping; raises `ConfigError` for anything that does not fit."""
    if not isinstance(mapping, Mapping):
        raise ConfigError(f"{where}: expected a mapping of options, got {_kind(mapping)}")
    fields = {f.name: f for f in dataclasses.fields(cls) if f.init}
    for key in mapping:
        if key not in fields:
            raise ConfigError(f"{where}: unknown option '{key}'; {suggest(str(key), fields)}")
    hints = get_type_hints(cls)
    values = {key: _convert(hints[key], value, _join(where, key)) for key, value in mapping.items()}
    missing = [n for n, f in fields.items() if n not in values and _is_required(f)]
    if missing:
        raise ConfigError(f"{where}: option '{missing[0]}' is missing; give it a value")
    try:
        return cls(**values)
    except ValueError as error:
        raise ConfigError(f"{where}: {error}") from None


def to_mapping(config: Any) -> Any:
    """Plain dicts, lists and scalars of a dataclass; `from_mapping` reads them back."""
    if dataclasses.is_dataclass(config) and not isinstance(config, type):
        return {f.name: to_mapping(getattr(config, f.name)) for f in dataclasses.fields(config) if f.init}
    if isinstance(config, Mapping):
        return {key: to_mapping(value) for key, value in config.items()}
    if isinstance(config, (list, tuple)):
        return [to_mapping(value) for value in config]
    if isinstance(config, Path):
        return str(config)
    return config


def _is_required(field: dataclasses.Field) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _join(where: str, key: str) -> str:
    return f"{where}: {key}" if ": " not in where else f"{where}.{key}"


def _kind(value: Any) -> str:
    return f"{value!r} ({type(value).__name__})"


def _convert(hint: Any, value: Any, where: str) -> Any:
    origin, args = get_origin(hint), get_args(hint)
    if hint is Any:
        return value
    if origin in (Union, types.UnionType):
        return _convert_union(args, value, where)
    if origin is Literal:
        if value in args and type(value) in {type(a) for a in args}:
            return value
        if isinstance(value, str):
            raise ConfigError(f"{where}: '{value}' is not a choice; {suggest(value, map(str, args))}")
        raise ConfigError(f"{where}: {_kind(value)} is not one of {', '.join(map(str, args))}")
    if origin in (list, tuple, Sequence):
        return _convert_sequence(origin, args, value, where)
    if origin in (dict, Mapping):
        if not isinstance(value, Mapping):
            raise ConfigError(f"{where}: expected a mapping, got {_kind(value)}")
        return {
            _convert(args[0], k, where): _convert(args[1], v, f"{where}.{k}") for k, v in value.items()
        }
    if dataclasses.is_dataclass(hint):
        return from_mapping(hint, value, where)
    return _convert_scalar(hint, value, where)


def _convert_scalar(hint: Any, value: Any, where: str) -> Any:
    if hint is Path and isinstance(value, str):
        return Path(value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if hint is float and isinstance(value, str):
        # YAML 1.1 reads 1e-3 as a string; every user means the number
        try:
            return float(value)
        except ValueError:
            raise ConfigError(f"{where}: expected a number, got {_kind(value)}") from None
    if hint is type(None):
        hint = types.NoneType
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        raise ConfigError(f"{where}: expected {getattr(hint, '__name__', hint)}, got {_kind(value)}")
    return value


def _convert_sequence(origin: Any, args: tuple, value: Any, where: str) -> Any:
    if not isinstance(value, (list, tuple)):
        raise ConfigError(f"{where}: expected a list, got {_kind(value)}")
    if origin is tuple and args and args[-1] is not Ellipsis:
        if len(value) != len(args):
            raise ConfigError(f"{where}: expected {len(args)} values, got {len(value)}")
        return tuple(_convert(a, v, f"{where}[{k}]") for k, (a, v) in enumerate(zip(args, value, strict=True)))
    inner = args[0] if args else Any
    converted = [_convert(inner, v, f"{where}[{k}]") for k, v in enumerate(value)]
    return tuple(converted) if origin is tuple else converted


def _convert_union(args: tuple, value: Any, where: str) -> Any:
    """`X | None`, unions of scalars, and unions of dataclasses told apart by a `Literal` field that they share."""
    if value is None and type(None) in args:
        return None
    args = tuple(a for a in args if a is not type(None))
    if len(args) == 1:
        return _convert(args[0], value, where)
    if all(dataclasses.is_dataclass(a) for a in args):
        tags = _tags(args)
        tag = next(iter(tags))
        chosen = value.get(tag) if isinstance(value, Mapping) else None
        if chosen is None:
            raise ConfigError(f"{where}: option '{tag}' is missing; {suggest('', tags[tag])}")
        if chosen not in tags[tag]:
            raise ConfigError(f"{where}: {tag} '{chosen}' is not known; {suggest(str(chosen), tags[tag])}")
        return from_mapping(tags[tag][chosen], value, where)
    errors = []
    for arg in args:
        try:
            return _convert(arg, value, where)
        except ConfigError as error:
            errors.append(error)
    raise errors[0]


def _tags(classes: tuple) -> dict[str, dict[str, type]]:
    """{name of the first Literal field: {its value: class}}."""
    tags: dict[str, dict[str, type]] = {}
    for cls in classes:
        for name, hint in get_type_hints(cls).items():
            if get_origin(hint) is Literal and len(get_args(hint)) == 1:
                tags.setdefault(name, {})[get_args(hint)[0]] = cls
                break
    return tags
