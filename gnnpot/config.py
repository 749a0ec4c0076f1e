"""Strict conversion between plain mappings (YAML, JSON) and dataclasses.

    config = from_mapping(TrainConfig, read_yaml("train.yaml"), where="train.yaml")
    to_mapping(config)

An unknown key, a wrong type or a missing value raises a `ConfigError` that names the location
(`train.yaml: model.cutof`) and suggests the nearest known key. Types are not coerced: "1" is not 1, and 1.5 is not an
int. A dataclass with renamed options has a table `RENAMED: ClassVar = {"old name": "new name"}`, so that earlier files
can be read.

YAML files are limited to 10 MB, 100 levels, and 100,000 values after expansion of aliases (nested aliases in a few
lines can expand to a billion values). Repeated keys are refused. Dates are read as text.
"""

import dataclasses
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    ClassVar,
    Literal,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

import yaml

from gnnpot.errors import ConfigError, suggest

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T", bound="DataclassInstance")


#: limits of a YAML document: size in bytes, number of values after expansion of aliases, nesting depth
MAX_YAML_BYTES, MAX_YAML_VALUES, MAX_YAML_DEPTH = 10_000_000, 100_000, 100


@dataclass(frozen=True, slots=True)
class ChosenBy:
    """Annotation of a field whose dataclass is selected by the value of one of its options.

        shape: Annotated[Shape, ChosenBy("kind", names, find)]

    If all classes are known, a union of dataclasses with one `Literal` field each has the same effect.
    """

    option: str  #: name of the option that selects the class
    names: Callable[[], list[str]]  #: allowed values of the option
    find: Callable[[str], type]  #: value of the option -> dataclass
    #: converts options of earlier versions to the current ones; raises `ValueError`
    current: Callable[[Mapping[str, Any]], Mapping[str, Any]] = lambda options: options


#: options whose value selects the class that a mapping describes
TAGS = ("architecture", "kind")


class _Loader(yaml.SafeLoader):
    """Loader of plain values; dates are kept as text, because no option is a date."""

    yaml_implicit_resolvers: ClassVar[dict] = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


def read_yaml(path: Path | str, *, _below: tuple[Path, ...] = ()) -> Any:
    """Read a YAML file, merged over the file that it `extends`; an empty file gives `{}`.

    Raises:
        ConfigError: The file can't be read.
    """
    path = Path(path)
    try:
        if path.exists() and not path.is_file():
            raise ConfigError(f"{path}: is no ordinary file; give the path of a YAML file")
        with path.open("rb") as file:
            data = file.read(MAX_YAML_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{path}: can't be read ({error.strerror}); give the path of a YAML file") from None
    if len(data) > MAX_YAML_BYTES:
        raise ConfigError(f"{path}: is larger than {MAX_YAML_BYTES // 10**6} MB; give a YAML file of options")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not valid YAML: it is not encoded in UTF-8 ({error.reason})") from None
    content = parse_yaml(text, str(path))
    if isinstance(content, dict) and "extends" in content:
        return _extended(content, path, _below)
    return {} if content is None else content


def presets() -> dict[str, Path]:
    """Paths of the training configurations that come with gnnpot, by name; in a checkout they are in `configs/`."""
    package = Path(__file__).parent
    folder = next((f for f in (package / "presets", package.parent / "configs") if f.is_dir()), None)
    found = [] if folder is None else sorted(folder.glob("*.yaml"))
    return {path.stem: path for path in found}


def _extended(content: dict[str, Any], path: Path, below: tuple[Path, ...]) -> dict[str, Any]:
    """Merge the options of a file over those of the file that its `extends` names, relative to its own path.

    Mappings are merged key by key. Other values replace those of the extended file, and so do mappings with another
    `architecture` or `kind`, whose options have different meanings.
    """
    name = content["extends"]
    if not isinstance(name, str):
        raise ConfigError(f"{path}: extends: expected the path of a YAML file, got {_kind(name)}")
    base_path = (path.parent / name).resolve()
    if base_path in (*below, path.resolve()):
        raise ConfigError(f"{path}: extends {name}, which extends it in turn; remove one of the two")
    base = read_yaml(base_path, _below=(*below, path.resolve()))
    if not isinstance(base, dict):
        raise ConfigError(f"{base_path}: expected a mapping of options, which {path} extends")
    return _merged(base, {key: value for key, value in content.items() if key != "extends"})


def _merged(base: dict[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    both = {k: _merged(base[k], v) for k, v in over.items() if isinstance(base.get(k), dict) and isinstance(v, Mapping)}
    if any(tag in over and tag in base and over[tag] != base[tag] for tag in TAGS):
        return dict(over)
    return {**base, **over, **both}


def parse_yaml(text: str, where: str) -> Any:
    """Parse a YAML text; raises `ConfigError`, naming `where`, for invalid YAML or exceeded limits."""
    try:
        node = yaml.compose(text, Loader=_Loader)
        if node is None:
            return None
        _count_values(node, where, {}, set())
        return yaml.load(text, Loader=_Loader)  # noqa: S506 - a subclass of SafeLoader
    except yaml.YAMLError as error:
        raise ConfigError(f"{where}: is not valid YAML: {' '.join(str(error).split())}") from None
    except (ValueError, OverflowError, KeyError, AttributeError) as error:
        # PyYAML raises the last two for values that do not match the type of their tag
        raise ConfigError(f"{where}: holds a value that can't be read: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise ConfigError(f"{where}: has more than {MAX_YAML_DEPTH} levels; make it flatter") from None


def _count_values(node: yaml.Node, where: str, known: dict[int, int], above: set[int]) -> int:
    """Number of values of a node after expansion of aliases; `above` has the ids of the nodes that contain it."""
    if id(node) in above:
        raise ConfigError(f"{where}: an alias names what it is within; write the values out")
    if len(above) > MAX_YAML_DEPTH:
        raise ConfigError(f"{where}: has more than {MAX_YAML_DEPTH} levels; make it flatter")
    if id(node) not in known:
        above.add(id(node))
        total = 1
        if isinstance(node, yaml.MappingNode):
            _refuse_repeated_keys(node, where)
            total += sum(_count_values(part, where, known, above) for pair in node.value for part in pair)
        elif isinstance(node, yaml.SequenceNode):
            total += sum(_count_values(part, where, known, above) for part in node.value)
        above.remove(id(node))
        if total > MAX_YAML_VALUES:
            raise ConfigError(f"{where}: stands for more than {MAX_YAML_VALUES:,} values; write fewer, or no aliases")
        known[id(node)] = total
    return known[id(node)]


def _refuse_repeated_keys(node: yaml.MappingNode, where: str) -> None:
    names = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode) and key.value != "<<"]
    twice = next((name for name in names if names.count(name) > 1), None) if len(names) > len(set(names)) else None
    if twice is not None:
        line = next(key.start_mark.line + 1 for key, _ in reversed(node.value) if key.value == twice)
        raise ConfigError(f"{where}: option '{twice}' is there twice, again in line {line}; leave one of them")


def from_mapping(cls: type[T], mapping: Any, where: str = "config") -> T:
    """Convert a mapping to the dataclass `cls`; raises `ConfigError` for unknown keys, wrong types, missing values."""
    if not isinstance(mapping, Mapping):
        raise ConfigError(f"{where}: expected a mapping of options, got {_kind(mapping)}")
    fields = {f.name: f for f in dataclasses.fields(cls) if f.init}
    mapping = _with_new_names(mapping, getattr(cls, "RENAMED", {}), where)
    for key in mapping:
        if key not in fields:
            raise ConfigError(f"{where}: unknown option {_shortened(key)}; {suggest(str(key)[:60], fields)}")
    hints = get_type_hints(cls, include_extras=True)
    values = {key: _convert(hints[key], value, _join(where, key)) for key, value in mapping.items()}
    missing = [n for n, f in fields.items() if n not in values and _is_required(f)]
    if missing:
        raise ConfigError(f"{where}: option '{missing[0]}' is missing; give it a value")
    try:
        return cls(**values)
    except ValueError as error:
        raise ConfigError(f"{where}: {error}") from None


def _with_new_names(mapping: Mapping[str, Any], renamed: Mapping[str, str], where: str) -> dict[str, Any]:
    """Rename options to their current names; `renamed` maps old names to new ones."""
    for old, new in renamed.items():
        if old in mapping and new in mapping:
            raise ConfigError(f"{where}: '{old}' and '{new}' are one option, which has the second name now; give one")
    return {renamed.get(key, key): value for key, value in mapping.items()}


def check_ranges(options: Any, **ranges: tuple[float, float]) -> None:
    """Raise `ValueError` for options outside their range, or NaN; all values of a list are checked.

    Args:
        options: Dataclass, from whose `__post_init__` this function is called.
        ranges: {name of an option: (minimum, maximum)}. `None` is accepted as a value.
    """
    for name, (least, most) in ranges.items():
        value = getattr(options, name)
        for number in value if isinstance(value, tuple | list) else (value,):
            if number is not None and not least <= number <= most:
                raise ValueError(f"{name}: must lie between {least:,g} and {most:,g}, got {_shortened(number)}")


def _shortened(value: Any) -> str:
    try:
        text = repr(value)
    except (ValueError, RecursionError):
        # an integer with thousands of digits, or deeply nested lists
        text = "a value that is too long to show"
    text = text.encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= 60 else f"{text[:57]}..."


def to_mapping(config: Any) -> Any:
    """Convert a dataclass to plain dicts, lists and scalars, which `from_mapping` converts back."""
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
    return f"{_shortened(value)} ({type(value).__name__})"


def _convert(hint: Any, value: Any, where: str) -> Any:
    origin, args = get_origin(hint), get_args(hint)
    if hint is Any:
        return value
    if origin is Annotated:
        chosen_by = next((extra for extra in hint.__metadata__ if isinstance(extra, ChosenBy)), None)
        return _convert(args[0], value, where) if chosen_by is None else _convert_chosen(chosen_by, value, where)
    if origin in (Union, types.UnionType):
        return _convert_union(args, value, where)
    if origin is Literal:
        if value in args and type(value) in {type(a) for a in args}:
            return value
        if isinstance(value, str):
            raise ConfigError(f"{where}: {_shortened(value)} is not a choice; {suggest(value[:60], map(str, args))}")
        raise ConfigError(f"{where}: {_kind(value)} is not one of {', '.join(map(str, args))}")
    if origin in (list, tuple, Sequence):
        return _convert_sequence(origin, args, value, where)
    if origin in (dict, Mapping):
        if not isinstance(value, Mapping):
            raise ConfigError(f"{where}: expected a mapping, got {_kind(value)}")
        return {_convert(args[0], k, where): _convert(args[1], v, f"{where}.{k}") for k, v in value.items()}
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return from_mapping(hint, value, where)
    return _convert_scalar(hint, value, where)


def _convert_scalar(hint: Any, value: Any, where: str) -> Any:
    if hint is Path and isinstance(value, str):
        return Path(value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            raise ConfigError(f"{where}: expected a number, got one with {value.bit_length()} bits") from None
    if hint is float and isinstance(value, str):
        # YAML 1.1 reads 1e-3 as a string, but a number is meant
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


def _convert_chosen(chosen_by: ChosenBy, value: Any, where: str) -> Any:
    option = chosen_by.option
    name = value.get(option) if isinstance(value, Mapping) else None
    if name is None:
        raise ConfigError(f"{where}: option '{option}' is missing; {suggest('', chosen_by.names())}")
    if name not in (names := chosen_by.names()):
        raise ConfigError(f"{where}: {option} {_shortened(name)} is not known; {suggest(str(name)[:60], names)}")
    try:
        current = chosen_by.current(value)
    except ValueError as error:
        raise ConfigError(f"{where}: {error}") from None
    return from_mapping(chosen_by.find(current[option]), current, where)


def _convert_union(args: tuple, value: Any, where: str) -> Any:
    """Convert to `X | None`, a union of scalars, or a union of dataclasses with a common `Literal` field."""
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
        if not isinstance(chosen, str) or chosen not in tags[tag]:
            raise ConfigError(
                f"{where}: {tag} {_shortened(chosen)} is not known; {suggest(str(chosen)[:60], tags[tag])}"
            )
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


def apply_overrides(mapping: Any, overrides: Iterable[str]) -> None:
    """Apply overrides of the form `key.key=value` to a mapping of options, in order; raises `ConfigError`."""
    for override in overrides:
        _apply_override(mapping, override)


def _apply_override(mapping: Any, override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise ConfigError(f"--set {override}: is not of the form key=value, as optimizer.lr=0.001")
    *folders, last = key.strip().split(".")
    for name in folders:
        if not isinstance(mapping, dict) or not isinstance(mapping.setdefault(name, {}), dict):
            raise ConfigError(f"--set {override}: '{name}' holds no further options")
        mapping = mapping[name]
    if not isinstance(mapping, dict):
        raise ConfigError(f"--set {override}: there are no options to set in")
    mapping[last] = parse_yaml(text, f"--set {override}")
