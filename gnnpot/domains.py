"""Domains of options, given as type annotations and checked for YAML, `--set`, the command line and Python alike.

    @dataclass(frozen=True)
    class Options:
        timestep: Annotated[float, POSITIVE] = 1.0

        def __post_init__(self) -> None:
            check_fields(self)

A float without a domain must be finite, an int must be a whole number, and a `Literal` must be one of its values.
`gnnpot.cli.domains` uses the same objects for the options of the command line.
"""

import dataclasses
import functools
import math
import types
from collections.abc import Callable
from numbers import Integral, Real
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from gnnpot.errors import suggest


@dataclasses.dataclass(frozen=True, slots=True)
class Domain:
    """Set of the allowed values of a numeric option.

    >>> POSITIVE.problem(-1.0)
    '-1.0 is not a number above 0'
    """

    words: str  #: description for messages, as "a number above 0"
    contains: Callable[[Any], bool]  #: whether a number, which may be NaN or infinite, is in the domain
    whole: bool = False  #: whether only integers are allowed

    def problem(self, value: Any) -> str | None:
        """Error message for a value that is not in the domain; `None` if it is."""
        kind = Integral if self.whole else Real
        if isinstance(value, kind) and not isinstance(value, bool) and self.contains(value):
            return None
        return f"{value if isinstance(value, Real) else repr(value)} is not {self.words}"


FINITE = Domain("a finite number", math.isfinite)
POSITIVE = Domain("a number above 0", lambda x: 0 < x < math.inf)
NOT_NEGATIVE = Domain("a number from 0 on", lambda x: 0 <= x < math.inf)
NOT_ZERO = Domain("a number other than 0", lambda x: math.isfinite(x) and x != 0)
FRACTION = Domain("a number from 0 to below 1", lambda x: 0 <= x < 1)
OPEN_FRACTION = Domain("a number between 0 and 1", lambda x: 0 < x < 1)
INTEGER = Domain("a whole number", lambda _: True, whole=True)
INTEGER_FROM_0 = Domain("a whole number from 0 on", lambda n: n >= 0, whole=True)
INTEGER_FROM_1 = Domain("a whole number from 1 on", lambda n: n >= 1, whole=True)
#: numbers of steps; more would not finish within a lifetime
STEPS = Domain("a whole number from 0 to 1e12", lambda n: 0 <= n <= 10**12, whole=True)
#: time steps, fs; smaller steps don't change positions in double precision
TIMESTEP = Domain("a number above 0, of at least 1e-6 fs", lambda x: 1e-6 <= x < math.inf)
INTEGER_FROM_2 = Domain("a whole number from 2 on", lambda n: n >= 2, whole=True)


def check_fields(config: Any) -> None:
    """Check the fields of a dataclass against their types and domains; call it in `__post_init__`.

    Args:
        config: Initialised instance. Fields are checked if their types are numbers, strings, `Literal`s, or tuples
            and unions of these.

    Raises:
        ValueError: A field is outside its domain, as "name: value is not a number above 0".
    """
    kind: Any = type(config)
    for name, check in _checks(kind):
        if problem := check(getattr(config, name)):
            raise ValueError(f"{name}: {problem}")


Check = Callable[[Any], str | None]


@functools.cache
def _checks(cls: type) -> tuple[tuple[str, Check], ...]:
    hints = _hints(cls)
    domains: dict[str, Domain] = {}
    # a field that a subclass redeclares with another default keeps its domain
    for base in reversed(cls.__mro__):
        for name, hint in _hints(base).items() if base is not object else ():
            found = next((part for part in getattr(hint, "__metadata__", ()) if isinstance(part, Domain)), None)
            domains |= {name: found} if found is not None else {}
    names = [field.name for field in dataclasses.fields(cls) if field.init]
    return tuple((name, _check_of(hints[name], domains.get(name))) for name in names)


def _hints(cls: type) -> dict[str, Any]:
    # `StructureLike` refers to classes of pymatgen for type checkers only; such fields are not checked
    return get_type_hints(cls, localns={"Structure": object, "Molecule": object}, include_extras=True)


def _check_of(hint: Any, domain: Domain | None) -> Check:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        found = next((part for part in hint.__metadata__ if isinstance(part, Domain)), domain)
        return _check_of(arguments[0], found)
    if hint is float:
        return (domain or FINITE).problem
    if hint is int:
        return (domain or INTEGER).problem
    if hint in (bool, str):
        words = "true or false" if hint is bool else "a text"
        return lambda value: None if isinstance(value, hint) else f"{value!r} is not {words}"
    if origin is Literal:
        return functools.partial(_choice, arguments)
    if origin in (Union, types.UnionType):
        return functools.partial(_any_of, _alternatives(arguments, domain), type(None) in arguments)
    if origin is tuple:
        return _tuple_of(arguments, domain)
    return lambda _: None


def _alternatives(arguments: tuple, domain: Domain | None) -> tuple[tuple[Any, Check], ...]:
    return tuple((hint, _check_of(hint, domain)) for hint in arguments if hint is not type(None))


def _any_of(alternatives: tuple[tuple[Any, Check], ...], may_be_none: bool, value: Any) -> str | None:
    if value is None and may_be_none:
        return None
    problems = [check(value) for _, check in alternatives]
    return None if None in problems else problems[0]


def _choice(choices: tuple, value: Any) -> str | None:
    if any(value == choice and type(value) is type(choice) for choice in choices):
        return None
    if isinstance(value, str):
        return f"'{value}' is not known; {suggest(value, map(str, choices))}"
    return f"{value!r} is not one of {', '.join(map(str, choices))}"


def _tuple_of(arguments: tuple, domain: Domain | None) -> Check:
    every = len(arguments) == 2 and arguments[1] is Ellipsis
    checks = [_check_of(hint, domain) for hint in arguments if hint is not Ellipsis]

    def check(value: Any) -> str | None:
        # in Python, a list is accepted in place of a tuple
        if not isinstance(value, (tuple, list)):
            return None
        if not every and len(value) != len(checks):
            return f"{len(value)} values are given, {len(checks)} are needed"
        found = (one(v) for one, v in zip(checks * len(value) if every else checks, value, strict=True))
        return next((problem for problem in found if problem), None)

    return check
